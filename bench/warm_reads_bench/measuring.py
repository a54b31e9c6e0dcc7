"""Rounds over places and cases, and what came out."""

from __future__ import annotations

import statistics

from warm_reads_bench import cases, places


def measure(case: cases.Case, where: list[places.Place], rounds: int) -> dict[str, list[float]]:
    """Seconds by way, round by round; every second round goes backwards."""
    files = {place.way: cases.largest_file(place.root) for place in where}
    if case.warm:
        for place in where:
            case.seconds(place.root, files[place.way])
    found: dict[str, list[float]] = {place.way: [] for place in where}
    for number in range(rounds):
        for place in where if number % 2 == 0 else where[::-1]:
            found[place.way].append(case.seconds(place.root, files[place.way]))
    return found


def rows(case: cases.Case, found: dict[str, list[float]]) -> list[dict]:
    """Ratios to the ordinary way are taken within a round."""
    ordinary = found[places.ORDINARY]
    rows = []
    for way, seconds in found.items():
        ratios = [mine / his for mine, his in zip(seconds, ordinary, strict=True)]
        ratio = statistics.median(ratios)
        rows.append({
            "case": case.name, "title": case.title, "way": way, "rounds": len(seconds),
            "seconds": round(statistics.median(seconds), 4), "ratio": round(ratio, 3),
            "ratio_min": round(min(ratios), 3), "ratio_max": round(max(ratios), 3),
            "bar": None if way == places.ORDINARY else case.bar,
            "met": None if way == places.ORDINARY else case.met(ratio)})
    return rows

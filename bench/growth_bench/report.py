"""Results as a file that programs read, tables and a plot that people read. What is lost is printed too."""

from __future__ import annotations

from pathlib import Path

import measured
from growth_bench import plot
from growth_bench.axes import AXES, PAGE_CACHE, Axis
from sandbox.cold_start import EAGER


def key(row: dict) -> tuple[str, int, str]:
    return row["axis"], row["point"], row["way"]


def merged(old: list[dict], new: list[dict]) -> list[dict]:
    """`new`, and of `old` the axes that were not measured again."""
    again = {row["axis"] for row in new}
    return sorted([row for row in old if row["axis"] not in again] + new, key=key)


def _of_eager(row: dict, ratio: str, lost: str) -> str:
    """The median and the spread of the row's `ratio`; `lost` says what more than the ordinary way means."""
    if row["way"] == EAGER:
        return ""
    text = f"{row[ratio]:.2f} ({row[ratio + '_min']:.2f}–{row[ratio + '_max']:.2f})"
    return f"**{text}, {lost}**" if row[ratio] > 1 else text


def _start_line(row: dict) -> str:
    return (f"| {row['point']:,} | {row['way']} | {row['seconds']:.2f} ({row['seconds_min']:.2f}–"
            f"{row['seconds_max']:.2f}) | {_of_eager(row, 'ratio', 'slower')} | {row['bytes'] / 1e6:.1f} | {row['requests']:,} |")


def _registry_line(row: dict) -> str:
    return (f"| {row['point']:,} | {row['way']} | {row['p50_ms']:.3f} ({row['p50_ms_min']:.3f}–"
            f"{row['p50_ms_max']:.3f}) | {row['p99_ms']:.3f} | {row['rate']:,} | "
            f"{row['first_answer_seconds']:.3f} | {row['database_bytes'] / 1e6:,.1f} |")


def _cache_line(row: dict) -> str:
    return (f"| {row['point']:,} | {row['way']} | {row['cached_bytes'] / 1e6:,.0f} ({row['cached_bytes_min'] / 1e6:,.0f}–"
            f"{row['cached_bytes_max'] / 1e6:,.0f}) | {_of_eager(row, 'cached_ratio', 'more')} | {row['read_bytes'] / 1e6:,.0f} |")


def grown(rows: list[dict], value: str) -> str:
    """How much the last point takes of the first one's time, for each way."""
    texts = []
    for way in dict.fromkeys(row["way"] for row in rows):
        mine = [row for row in rows if row["way"] == way]
        texts.append(f"{way} {mine[-1][value] / mine[0][value]:.2f}")
    return (f"From {rows[0]['point']:,} to {rows[-1]['point']:,}, the last as a multiple of the first: "
            + ", ".join(texts) + ".")


def _section(axis: Axis, rows: list[dict]) -> list[str]:
    """Empty where nothing was measured."""
    mine = [row for row in rows if row["axis"] == axis.name]
    if not mine:
        return []
    if axis.name == PAGE_CACHE:
        head = "| images | way | page cache MB | of eager | MB read |"
        lines = [_cache_line(row) for row in mine]
    elif axis.image is None:
        head = "| manifests | question | p50 ms | p99 ms | answers/s | start to first answer s | database MB |"
        lines = [_registry_line(row) for row in mine]
    else:
        head = f"| {axis.unit} | way | READY s | of eager | MB | requests |"
        lines = [_start_line(row) for row in mine]
    return ["", f"**{axis.title}.** {grown(mine, axis.value)}", "", head, "|" + "---|" * (head.count("|") - 1), *lines]


def markdown(results: dict) -> str:
    said = (f"{measured.opening(results, 'growth')}, load average {results['load']} before. Images made for it, started with no image, no "
            "cached byte and no page cache over 1 Gbit/s with 2 ms: containerd's ordinary pull (eager) beside a first "
            "streamed start. Medians of interleaved rounds, lowest to highest in parentheses; ratios are taken "
            "within a round. Page cache: what `/proc/meminfo` has more of after every file was read once. The registry is asked over loopback, server and load generator on a processor each.")
    lines = [said, "", f"![What grows, and what it costs]({results['plot']})"]
    for axis in AXES:
        lines += _section(axis, results["summary"])
    return "\n".join(lines) + "\n"


def panels(rows: list[dict]) -> list[plot.Panel]:
    found = []
    for axis in AXES:
        name = axis.value
        measure, unit = {"seconds": ("s", 1), "p50_ms": ("ms", 1), "cached_bytes": ("MB", 1e6)}[name]
        lines: dict[str, list[plot.Point]] = {}
        for row in rows:
            if row["axis"] == axis.name:
                lines.setdefault(row["way"], []).append(
                    plot.Point(row["point"], row[name] / unit, row[f"{name}_min"] / unit, row[f"{name}_max"] / unit))
        if lines:
            found.append(plot.Panel(axis.title, axis.unit, measure, lines))
    return found


def write(results: dict, path: Path) -> None:
    measured.write_with_plot(results, markdown, plot.svg(panels(results["summary"]), "What grows, and what it costs"), path)

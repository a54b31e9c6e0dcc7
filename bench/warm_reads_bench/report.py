"""Results as a file that programs read and a table that people read. What is lost is printed too."""

from __future__ import annotations

from pathlib import Path

import measured
from warm_reads_bench import cases, places


def _cell(row: dict) -> str:
    if row["bar"] is None:
        return f"{row['seconds']:.3f} s"
    text = f"{row['ratio']:.2f} ({row['ratio_min']:.2f}–{row['ratio_max']:.2f})"
    return text if row["met"] else f"**{text}, not met**"


def markdown(results: dict) -> str:
    rows = {(row["case"], row["way"]): row for row in results["summary"]}
    ways = [way for way in places.WAYS if any(key[1] == way for key in rows)]
    said = (f"{measured.opening(results, 'warm-reads')}, load average {results['load']} before: the {results['image']} "
            "image as a container's root file system. Seconds of containerd's own unpack on ext4, and for each "
            "way of mounting the time as a part of that: median of the rounds, lowest to highest in "
            f"parentheses. *{places.PLAIN}*: EROFS mounted after all layers were complete; *{places.DIRECT}*: the same with "
            f"`direct_io = true`. Bars: "
            f"{cases.WARM_MOST} with all in the page cache (a median up to {cases.WARM_MOST + cases.NOISE} is "
            f"called met: ways that are one and the same then differ by as much), {cases.COLD_MOST} without.")
    lines = [said, "", f"| what | {' | '.join(ways)} |", "|---|" + "---|" * len(ways)]
    for case in cases.CASES:
        cells = [_cell(rows[case.name, way]) if (case.name, way) in rows else "" for way in ways]
        if any(cells):
            lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write(results: dict, path: Path) -> None:
    measured.write(results, markdown(results), path)

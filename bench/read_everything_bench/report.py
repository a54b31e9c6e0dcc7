"""Results as a file that programs read, a table and a plot that people read."""

from __future__ import annotations

from pathlib import Path

import measured
from cold_start_bench import plot
from read_everything_bench import reading


def _line(row: dict) -> str:
    met = reading.is_met(row)
    ratio, verdict = "", ""
    if met is not None:
        ratio = f"**{row['ratio_to_eager']:.2f}** ({row['ratio_min']:.2f}–{row['ratio_max']:.2f})"
        verdict = f"{reading.MOST}, " + ("met" if met else "**not met**")
    cpu = sum(row["cpu"].get(name, 0) for name in ("containerd", "node"))
    return (f"| {row['image']}, {row['files']:,} files | {row['network']} | {row['engine']} | "
            f"{row['seconds']:.2f} ({row['seconds_min']:.2f}–{row['seconds_max']:.2f}) | {ratio} | "
            f"{row['pull_seconds']:.2f} | {row['requests'][1]:,} | {row['bytes'][1] / 1e6:.1f} | "
            f"{cpu:.2f} | {row['peak_memory'] / 1e6:.0f} | {verdict} |")


def markdown(results: dict) -> str:
    rows = results["summary"]
    said = (f"{measured.opening(results, 'read-everything')}, load average {results['load']} before: from asking for "
            "the image to the end of a container that hashes every file of its root file system, with no "
            "image, no cached byte and no page cache. Medians of "
            f"{min(row['runs'] for row in rows)} interleaved rounds or more, lowest to highest in "
            "parentheses; ratios are taken within a round. Registry and network on one processor, node, "
            "containerd and container on the other. All ways read the same bytes. CPU seconds are the "
            "node's and containerd's, MB of memory the node's.")
    return "\n".join([
        said, "", f"![Seconds to the last file]({results['plot']})", "",
        "| image | network | way | seconds | of eager | pull s | requests | MB | CPU s | memory MB | bar |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in rows)]) + "\n"


def write(results: dict, path: Path) -> None:
    measured.write_with_plot(results, markdown, plot.svg(results["summary"], "Seconds to the last file"), path)

"""Results as a file that programs read, a table and a plot that people read."""

from __future__ import annotations

from pathlib import Path

import measured
from cold_start_bench import bars, plot
from sandbox.cold_start import EAGER


def _spread(low: float, high: float, unit: float, digits: int) -> str:
    texts = [f"{each / unit:,.{digits}f}" for each in (low, high)]
    return texts[0] if texts[0] == texts[1] else "–".join(texts)


def _line(row: dict, rows: list[dict]) -> str:
    verdict = bars.verdict(row, rows)
    ratio = "" if row["ratio_to_eager"] is None else f"{row['ratio_to_eager']:.2f}"
    bar = "" if verdict is None else f"{verdict.bar}, " + ("met" if verdict.met else "**not met**")
    ratio_of_touched = bars.of_touched(row)
    came = "" if ratio_of_touched is None else f"{row['touched'] / 1e6:.1f}, {ratio_of_touched:.2f}"
    if (judged := bars.bytes_verdict(row)) is not None:
        came += f" ({judged.bar.split()[0]} " + ("met)" if judged.met else "**not met**)")
    again = f"{row['again_seconds']:.3f}"
    if (quartiles := row["again_of_eager"]) and row["engine"] != EAGER:
        again += ", {1:.2f} ({0:.2f}–{2:.2f})".format(*quartiles)
    if (judged := bars.again_verdict(row)) is not None and not judged.met:
        again += " (**not met**)"
    cpu = sum(row["cpu"].get(name, 0) for name in ("containerd", "node"))
    return (f"| {row['image']} | {row['network']} | {row['engine']} | **{row['seconds']:.2f}** "
            f"({row['seconds_min']:.2f}–{row['seconds_max']:.2f}) | {ratio} | "
            f"{again} | {bars.floor_seconds(row, rows):.2f} | {bars.transfer_seconds(row):.2f} | "
            f"{_spread(*row['requests'], 1, 0)} | {_spread(*row['bytes'], 1e6, 1)} | {came} | {cpu:.2f} | {bar} |")


def _older(results: dict) -> str:
    """Which rows were measured on another day, where a file has such."""
    days: dict[str, set[str]] = {}
    for row in results["summary"]:
        if row.get("date", results["date"]) != results["date"]:
            days.setdefault(row["date"], set()).add(f"{row['image']} at {row['network']}")
    return "".join(f" Of {day}: {', '.join(sorted(what))}." for day, what in sorted(days.items()))


def markdown(results: dict) -> str:
    rows = results["summary"]
    said = (f"{measured.opening(results, 'cold-start')}, load average {results['load']} before: from asking for "
            "the image to the container's READY line, with no image, no cached byte and no page cache. Medians of "
            f"{min(row['runs'] for row in rows)} interleaved rounds or more, and lowest to highest. Registry and "
            "network on one processor, node, containerd and container on the other. *Again*: the median of "
            "further containers straight after, and what they took of containerd's own in the same round, median and quartiles: "
            "the median may be 1. *Floor*: containerd's own pull of what is "
            "all here, and its second container. *Transfer*: the needed part of the bytes that came before READY, at the line's "
            "rate. *Touched*: MB of 4 KiB pages that the kernel asked of the layers' devices, and what came of the "
            "devices as a multiple of that, both uncompressed; where it is not given, all bytes count as needed. "
            "CPU seconds are the node's and containerd's. *stargz*, *soci* and *nydus*: other snapshotters that "
            f"stream, each with the image in its own format (docs/performance.md says how it was made).{_older(results)}")
    absent = [f"**Not measured**: {' '.join(why.split())}" for why in results.get("absent", {}).values()]
    return "\n".join([
        said, "", *(line for why in absent for line in (why, "")), f"![Seconds to READY]({results['plot']})", "",
        "| image | network | way | READY s | of eager | again s | floor s | transfer s | requests | MB | touched MB, came | CPU s | bar |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_line(row, rows) for row in rows)]) + "\n"


def write(results: dict, path: Path) -> None:
    measured.write_with_plot(results, markdown, plot.svg(results["summary"]), path)

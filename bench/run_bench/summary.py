"""One document of what the parts left: their tables, a picture, and all figures. Pure but for files."""

from __future__ import annotations

import json
from pathlib import Path

from cold_start_bench import plot
from run_bench import readme
from run_bench.parts import PARTS


def faults_text(report: dict) -> str:
    return (f"{report['reads']:,} verified reads in {report['minutes']} minutes, {report['faults']:,} faults, "
            f"{report['lies']:,} lies of the registry: **{report['wrong_reads']} wrong bytes**, slowest read "
            f"{report['slowest_read_seconds']} s.")


def hot_loops_text(report: dict) -> str:
    lines = ["| loop | time | MB/s | items/s |", "|---|---|---|---|"]
    for each in report["benchmarks"]:
        rate = f"{each['bytes_per_second'] / 1e6:,.0f}" if "bytes_per_second" in each else ""
        items = f"{each['items_per_second']:,.0f}" if "items_per_second" in each else ""
        lines.append(f"| {each['name']} | {each['cpu_time']:,.1f} {each['time_unit']} | {rate} | {items} |")
    return "\n".join(lines)


def text_of(name: str, results: Path) -> str:
    """The part's own table where it wrote one."""
    own = results.with_suffix(".md")
    if own.exists():
        return own.read_text().strip()
    report = json.loads(results.read_text())
    return {"faults": faults_text, "hot-loops": hot_loops_text}[name](report)


def left_before(document: Path) -> tuple[dict[str, int], dict[str, str]]:
    """How many seconds the parts took that an earlier run of the day measured, and what failed then."""
    at = document.with_suffix(".json")
    old = json.loads(at.read_text()) if at.exists() else {}
    return old.get("took", {}), old.get("failed", {})


def newest(directory: Path, date: str) -> dict[str, Path]:
    """Each part's latest results of `date` or before; a part that was never measured is not in it."""
    found = {}
    for part in PARTS:
        of_days = directory.glob(f"{part.name}-????-??-??.json")
        until = [path for path in of_days if measured(path) <= date]
        if until:
            found[part.name] = max(until, key=measured)
    return found


def measured(results: Path) -> str:
    """The day in the name of a part's results."""
    return results.stem[-len("2026-01-02"):]


def document(date: str, results: dict[str, Path], failed: dict[str, str], took: dict[str, int]) -> str:
    """A section for each part; what failed, was left out or is older is said."""
    lines = [f"# Measured {date} by `bench/run`"]
    for part in PARTS:
        lines += ["", f"## {part.title}", ""]
        if part.name in took:
            lines += [f"`bench/run {part.name}` took {took[part.name] / 60:.1f} minutes.", ""]
        if part.name in failed:
            lines += [f"**Failed**: {failed[part.name]}", ""]
        if part.name in results:
            if measured(results[part.name]) != date:
                lines += [f"Not measured again since {measured(results[part.name])}.", ""]
            lines.append(text_of(part.name, results[part.name]))
        elif part.name not in failed:
            lines.append("Not measured.")
    return "\n".join(lines) + "\n"


def write(directory: Path, date: str, results: dict[str, Path], failed: dict[str, str],
          took: dict[str, int]) -> Path:
    """DATE.json, DATE.md and, with cold starts, DATE.svg."""
    figures = {name: json.loads(path.read_text()) for name, path in results.items()}
    days = {name: measured(path) for name, path in results.items()}
    at = directory / f"{date}.json"
    at.write_text(json.dumps({"date": date, "measured": days, "failed": failed, "took": took,
                              "parts": figures}, indent=1, ensure_ascii=False) + "\n")
    at.with_suffix(".md").write_text(document(date, results, failed, took))
    if "cold-start" in figures:
        at.with_suffix(".svg").write_text(plot.svg(figures["cold-start"]["summary"]))
    return at.with_suffix(".md")


def show(page: Path, results: Path) -> None:
    """Puts what DATE.json has, and the parts' pictures beside it, into the README."""
    page.write_text(readme.replaced(page.read_text(), shown(results)))


def shown(results: Path) -> str:
    """Of DATE.json and the pictures beside it, what the README has."""
    report = json.loads(results.read_text())
    days = {name: report.get("measured", {}).get(name, report["date"]) for name in report["parts"]}
    named = {f"{part.name}-{days[part.name]}.svg": part.title for part in PARTS if part.name in days}
    pictures = {name: title for name, title in named.items() if (results.parent / name).exists()}
    older = {name: day for name, day in days.items() if day != report["date"]}
    return readme.block(report["date"], report["parts"], pictures, older)

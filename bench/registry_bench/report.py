"""Results as a file that programs read and a table that people read. What is lost is printed too."""

from __future__ import annotations

import measured
from registry_bench import matrix


def _bytes(count: float) -> str:
    return f"{count / (1 << 20):,.0f} MiB"


def _line(result: dict) -> tuple[str, str]:
    """What came out, and the ratio with its spread."""
    if "ratio" in result:
        sides = [name for name in result if isinstance(result[name], dict) and "rate" in result[name]]
        parts = []
        for name in sides:
            side = result[name]
            came = side.get("pushed_bytes_per_second", side["bytes_per_second"])
            rate = (f"{_bytes(came)}/s" if side["rate"] < 200 and came > 0 else f"{side['rate']:,.0f}/s")
            memory = f", {_bytes(side['peak_resident_bytes'])}" if "peak_resident_bytes" in side else ""
            parts.append(f"{name} {rate}, p50 {side['p50_us'] / 1e3:.2f} ms, p99 {side['p99_us'] / 1e3:.2f} ms, "
                         f"{side['cpu_us_per_request']:,.0f} µs CPU{memory}")
        ratio, cpu = result["ratio"], result["cpu_ratio"]
        shown = f"**{ratio['median']:.2f}** ({ratio['low']:.2f}–{ratio['high']:.2f})"
        if cpu:
            shown += f"; CPU {cpu['median']:.2f}"
        return "<br>".join(parts), shown
    if "milliseconds" in result:
        every = ", ".join(f"{name} {ms:,.0f} ms" for name, ms in result.get("all_milliseconds", {}).items())
        return (f"{result['entries']:,} entries in {result['pages']} pages of up to "
                f"{_bytes(result['page_bytes'])}, p99 {result['p99_milliseconds']:.1f} ms"
                + (f"<br>all of them: {every}" if every else ""), f"**{result['milliseconds']:.1f} ms**")
    if "rows" in result:
        return "below", f"{matrix.lost(result['rows'])} of {len(result['rows'])} slower"
    if "manifests" in result:
        warm, cold = result["seconds"]["warm"], result["seconds"]["page cache dropped"]
        return (f"{result['manifests']:,} manifests, database {_bytes(result['database_bytes'])}",
                f"**{warm:.2f} s**, page cache dropped {cold:.2f} s")
    return (f"{result['uploads']} uploads of {_bytes(result['bytes_each'])} in {result['seconds']:.1f} s, "
            f"{_bytes(result['bytes_per_second'])}/s", f"**{_bytes(result['peak_resident_bytes'])}**")


def table(results: dict, cases, line) -> list[str]:
    """A row for each case that was measured; line(name, result) says what, and the figure."""
    lines = ["| what | result | ratio, or the figure | bar | |", "|---|---|---|---|---|"]
    for case in cases:
        result = results["cases"].get(case.name)
        if result is None:
            continue
        if "error" in result:
            lines.append(f"| {case.title} | failed: {result['error']} | | {case.bar} | **no** |")
            continue
        what, figure = line(case.name, result)
        verdict = "" if case.bar == "none" else "met" if result["met"] else "**not met**"
        lines.append(f"| {case.title} | {what} | {figure} | {case.bar} | {verdict} |")
    return lines


def markdown(results: dict, cases) -> str:
    m = results["machine"]
    said = (f"{measured.opening(results, 'registry')}, beside docker-registry {m['docker-registry']} and "
            f"nginx {m['nginx-light']}. Each server on one processor, the load generator on the other; "
            "medians of interleaved rounds, in parentheses the lowest and the highest ratio; memory is the most "
            "that was resident.")
    rows = [row for name in ("connections", "tls-connections")
            for row in results["cases"].get(name, {}).get("rows", [])]
    return "\n".join([said, "", *table(results, cases, lambda _, result: _line(result)),
                      *(["", *matrix.table(rows)] if rows else [])]) + "\n"

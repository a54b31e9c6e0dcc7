"""The part of README.md that shows the newest results: tables made of the parts' figures. Pure."""

from __future__ import annotations

from cold_start_bench import bars
from growth_bench.axes import AXES
from growth_bench.report import grown
from sandbox import peers
from sandbox.cold_start import EAGER, PROFILED
from warm_reads_bench import places

BEGIN, END = "<!-- bench/run writes from here", "<!-- to here -->"


def _starts(rows: list[dict]) -> list[str]:
    """A line for each image and network."""
    cells: dict[tuple[str, str], dict[str, dict]] = {}
    for row in rows:
        cells.setdefault((row["image"], row["network"]), {})[row["engine"]] = row
    others = [name for name in peers.BY_NAME if any(row["engine"] == name for row in rows)]
    heads = ["image, network", "containerd's ordinary pull", "first start", "with a profile", *others]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for (image, network), ways in sorted(cells.items()):
        streamed = [row for name, row in ways.items() if name not in (EAGER, *peers.BY_NAME)
                    and not name.endswith(PROFILED)]
        profiled = [row for name, row in ways.items() if name.endswith(PROFILED)]
        eager = f"{ways[EAGER]['seconds']:.2f} s" if EAGER in ways else ""
        theirs = [_start([ways[name]] if name in ways else [], rows) for name in others]
        lines.append("| " + " | ".join([f"{image}, {network}", eager, _start(streamed, rows), _start(profiled, rows), *theirs]) + " |")
    return lines


def _start(mine: list[dict], rows: list[dict]) -> str:
    if not mine:
        return ""
    row = mine[0]
    ratio = "" if row["ratio_to_eager"] is None else f", {row['ratio_to_eager']:.2f} of it"
    verdict = bars.verdict(row, rows)
    return f"{row['seconds']:.2f} s{ratio}" + ("" if verdict is None or verdict.met else " (**bar not met**)")


def _reading(rows: list[dict]) -> list[str]:
    return [f"| reading all of {row['image']}, {row['network']} | {row['ratio_to_eager']:.2f} "
            f"({row['ratio_min']:.2f}–{row['ratio_max']:.2f}) of the ordinary pull and the same read |"
            for row in rows if row["engine"] != EAGER]


def _warm(rows: list[dict]) -> list[str]:
    lines = []
    for way in places.WAYS[1:]:
        mine = sorted((row["ratio"], row["title"]) for row in rows if row["way"] == way)
        if mine:
            (best, at_best), (worst, at_worst) = mine[0], mine[-1]
            lines.append(f"| reads of what is here, {way} | {best:.2f} ({at_best}) to {worst:.2f} ({at_worst}) of "
                         "overlayfs on ext4 |")
    return lines


def _registry(cases: dict) -> list[str]:
    lines = []
    for name, case in cases.items():
        if "ratio" in case and case["ratio"]:
            other = next(key for key, value in case.items()
                         if isinstance(value, dict) and "rate" in value and key != "runnel")
            ratio = case["ratio"]
            lines.append(f"| registry, {name} | {ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f}) of "
                         f"{other}'s answers a second |")
    return lines


def _conversion(cases: dict) -> list[str]:
    speed = cases.get("speed", {})
    if "ratio" not in speed:
        return []
    lines = []
    for side, ratio in (("conversion by the registry", speed["ratio"]), ("`runnel convert`", speed.get("command_ratio"))):
        if ratio:
            lines.append(f"| {side} | {ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f}) of the time of "
                         f"`gzip -dc` and `sha256sum`; {speed['size_ratio']:.3f} of the size |")
    return lines


def _growth(rows: list[dict]) -> list[str]:
    lines = []
    for axis in AXES:
        mine = [row for row in rows if row["axis"] == axis.name]
        if mine:
            lines.append(f"| {axis.title} | {grown(mine, axis.value)} |")
    return lines


def lost(parts: dict) -> list[str]:
    """What did not meet its bar, by name, and all that was slower than what it is beside."""
    found = []
    starts = parts.get("cold-start", {}).get("summary", [])
    for row in starts:
        where = f"{row['image']}, {row['network']}, {row['engine']}"
        judged = {"cold start": bars.verdict(row, starts), "bytes of a start": bars.bytes_verdict(row)}
        found += [f"{what} of {where}" for what, verdict in judged.items() if verdict is not None and not verdict.met]
        if row["engine"] not in (EAGER, *peers.BY_NAME) and (row["ratio_to_eager"] or 0) > 1:
            found.append(f"cold start of {where}, slower than an ordinary pull")
    found += _slower_again(starts)
    found += _faster_peers(starts)
    for row in parts.get("read-everything", {}).get("summary", []):
        if row["engine"] != EAGER and row["ratio_to_eager"] > 1:
            found.append(f"reading all of {row['image']}, {row['network']}")
    for row in parts.get("warm-reads", {}).get("summary", []):
        if row["met"] is False:
            found.append(f"{row['title']}, {row['way']}")
    for part in ("registry", "conversion"):
        for name, case in parts.get(part, {}).get("cases", {}).items():
            if not case.get("met", True):
                found.append(f"{part}, {name}")
    found += _slower_answers(parts.get("registry", {}).get("cases", {}))
    for row in parts.get("growth", {}).get("summary", []):
        if row.get("ratio", 0) > 1:
            found.append(f"a start with {row['axis']} {row['point']:,}")
        if row.get("cached_ratio", 0) > 1:
            found.append(f"page cache of {row['point']:,} image{'s on one base' if row['point'] > 1 else ''}, {row['way']}")
    return found


def _slower_answers(cases: dict) -> list[str]:
    """Where the other server gave more answers a second, but no bar says so."""
    found = []
    for name, case in cases.items():
        if case.get("met", True) and (case.get("ratio") or {}).get("median", 1) < 1:
            found.append(f"registry, {name}, {case['ratio']['median']:.2f} of the other server's answers a second")
        slower = [row for row in case.get("rows", []) if row["ratio"]["median"] < 1]
        if slower:
            lowest = min(slower, key=lambda row: row["ratio"]["median"])
            found.append(f"registry, {name}, {len(slower)} of {len(case['rows'])} slower than the other server, at most to "
                         f"{lowest['ratio']['median']:.2f} ({lowest['question']}, {lowest['connections']} connection{'s' if lowest['connections'] > 1 else ''})")
    return found


def _slower_again(rows: list[dict]) -> list[str]:
    """The images of which a second container took longer than containerd's own, and how much at most."""
    worst: dict[str, float] = {}
    for row in rows:
        verdict = bars.again_verdict(row)
        if verdict is not None and not verdict.met:
            worst[row["image"]] = max(row["again_of_eager"][1], worst.get(row["image"], 0))
    return [f"second container of {image}, up to {ratio:.2f} of containerd's own" for image, ratio in sorted(worst.items())]


def _faster_peers(rows: list[dict]) -> list[str]:
    """Where another's snapshotter started sooner than the node without a profile."""
    found = []
    for theirs in rows:
        for ours in rows if theirs["engine"] in peers.BY_NAME else []:
            same = (ours["image"], ours["network"]) == (theirs["image"], theirs["network"])
            if same and ours["engine"] == "erofs-file" and theirs["seconds"] < ours["seconds"]:
                found.append(f"{theirs['engine']} is faster at {theirs['image']}, {theirs['network']}")
    return found


def block(date: str, parts: dict, pictures: dict[str, str], older: dict[str, str]) -> str:
    """Between the marks, without them; `pictures` are names of SVG files beside the document, and what they show,
    `older` the days of parts that were not measured again on that date."""
    at = f"bench/results/{date}"
    but = "".join(f", {name} {day}" for name, day in sorted(older.items()))
    for name, part in sorted(parts.items()):
        days = {row["date"] for row in part.get("summary", []) if "date" in row} - {older.get(name, date)}
        but += "".join(f", some of {name} {day}" for day in sorted(days))
    lines = [f"Measured {date}{but}; every table, with spreads, processor time and memory: [{at}.md]({at}.md), figures "
             f"[{at}.json]({at}.json).", ""]
    lines += [f"![{title}](bench/results/{name})" for name, title in pictures.items()]
    if starts := parts.get("cold-start", {}).get("summary"):
        lines += ["", "Seconds from nothing to the container's READY line:", "", *_starts(starts)]
    rest = [*_reading(parts.get("read-everything", {}).get("summary", [])),
            *_warm(parts.get("warm-reads", {}).get("summary", [])),
            *_registry(parts.get("registry", {}).get("cases", {})),
            *_conversion(parts.get("conversion", {}).get("cases", {})),
            *_growth(parts.get("growth", {}).get("summary", []))]
    if rest:
        lines += ["", "| what | median, lowest to highest |", "|---|---|", *rest]
    if missed := lost(parts):
        lines += ["", "Lost, or a bar not met: " + "; ".join(missed) + "."]
    return "\n".join(lines) + "\n"


def replaced(readme: str, text: str) -> str:
    """The README with `text` between the marks. ValueError where they are not there once each, in order."""
    begin, end = readme.find(BEGIN), readme.find(END)
    if begin < 0 or end < begin or readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"README.md has not one line that starts with {BEGIN!r} and one {END!r} below it")
    after_mark = readme.index("\n", begin) + 1
    return readme[:after_mark] + "\n" + text + "\n" + readme[end:]

"""Results as a file that programs read and a table that people read. What is lost is printed too."""

from __future__ import annotations

from pathlib import Path

import measured
from registry_bench import report

PACKAGES = ("gzip", "coreutils", "erofs-utils", "stargz-snapshotter", "libisal2", "libzstd1", "libssl3")


def _mib(count: float) -> str:
    return f"{count / (1 << 20):,.0f} MiB"


def _cost(side: dict) -> str:
    return (f"{side['seconds']:.2f} s, {side['cpu_seconds']:.2f} s CPU, "
            f"{_mib(side['peak_anonymous_bytes'])} of memory")


def _spread(ratio: dict) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})"


def _speed(r: dict) -> tuple[str, str]:
    return (f"{_mib(r['source_bytes'])} of layers. `gzip -dc \\| sha256sum` {_cost(r['gzip'])}<br>"
            f"service {_cost(r['service'])}<br>command {_cost(r['command'])}<br>"
            f"layer blobs {_mib(r['layer_blob_bytes'])}, boot blob {r['boot_blob_bytes'] / 1e6:.1f} MB",
            f"**{_spread(r['ratio'])}**; CPU {_spread(r['cpu_ratio'])}; command "
            f"{_spread(r['command_ratio'])}; size {r['size_ratio']:.4f}")


def _stages(r: dict) -> tuple[str, str]:
    return (f"{_mib(r['plain_bytes'])} of tar; CPU seconds, MB/s of what goes in (of inflate: out)",
            "<br>".join(f"{name} {stage['cpu_seconds']:.2f} s, {stage['mb_per_second']:,} MB/s"
                        for name, stage in r["stages"].items()))


def _second(r: dict) -> tuple[str, str]:
    return (f"first {_cost(r['first'])}<br>second {_cost(r['second'])}<br>"
            f"{r['converted']} layer converted, {r['reused']} reused",
            f"**{_spread(r['ratio'])}**; CPU {_spread(r['cpu_ratio'])}; bytes "
            f"{r['second_own_bytes'] / r['first_bytes']:.2f}")


def _memory(r: dict) -> tuple[str, str]:
    return (f"{_mib(r['plain_bytes'])} of tar, {_mib(r['source_bytes'])} of gzip. service "
            f"{_cost(r['service'])}<br>command {_cost(r['command'])}",
            f"**{_mib(r['service']['peak_anonymous_bytes'])}**; command "
            f"**{_mib(r['command']['peak_anonymous_bytes'])}**")


def _peers(r: dict) -> tuple[str, str]:
    said = [f"{name} {_cost(side)}" for name, side in r["sides"].items()]
    said += [f"**{name}**: {why}" for name, why in r["absent"].items()]
    return ("<br>".join(said),
            "<br>".join(f"{name} {_mib(side['size_bytes'])}" for name, side in r["sides"].items()))


_LINES = {"speed": _speed, "stages": _stages, "second": _second, "huge": _memory, "small": _memory,
          "peers": _peers}


def markdown(results: dict, cases) -> str:
    said = (f"{measured.opening(results, 'conversion')}, image `{results['image']}`, load average "
            f"{results['load']} before. Medians of interleaved rounds, in parentheses the lowest and the "
            "highest ratio; CPU seconds are those of all processes of a side; memory is anonymous memory "
            "of all of them together, the most that it ever was.")
    rows = report.table(results, cases, lambda name, result: _LINES[name](result))
    return "\n".join([said, "", *rows]) + "\n"


def write(results: dict, cases, path: Path) -> None:
    measured.write(results, markdown(results, cases), path)

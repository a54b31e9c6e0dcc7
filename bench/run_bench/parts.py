"""What there is to measure: a command each, the short form of it, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    name: str
    title: str
    command: Callable[[Path, bool, int], list[str]]  # of the file for results, quick, seed
    minutes: int = 30  # after which it has hung, three times what it took on two processors; what it measured stays
    quick_minutes: int = 5


def _bench(name: str, quick: list[str]) -> Callable[[Path, bool, int], list[str]]:
    def command(results: Path, is_quick: bool, _: int) -> list[str]:
        return [f"bench/{name}", "--json", str(results), *(quick if is_quick else [])]
    return command


def _faults(results: Path, quick: bool, seed: int) -> list[str]:
    return ["tests/e2e/fault_run.py", "--minutes", "1" if quick else "15", "--seed", str(seed),
            "--report", str(results)]


def _hot_loops(results: Path, quick: bool, _: int) -> list[str]:
    return ["build/release/bench/runnel-hot-loops", f"--benchmark_out={results}",
            "--benchmark_out_format=json", f"--benchmark_min_time={0.05 if quick else 1}"]


PARTS = [
    Part("cold-start", "Cold start",
         _bench("cold-start", ["--image", "python", "--network", "1g-2ms", "--runs", "1"]), minutes=540, quick_minutes=10),
    Part("read-everything", "Reading everything",
         _bench("read-everything", ["--image", "python", "--network", "1g-2ms", "--runs", "1"]), minutes=120),
    Part("warm-reads", "Reads of what is here", _bench("warm-reads", ["--image", "python", "--rounds", "1"])),
    Part("registry", "The registry",
         _bench("registry", ["--rounds", "1", "--seconds", "0.3", "--uploads", "16", "--upload-mib", "8",
                             "--manifests", "10000"]), minutes=60),
    Part("conversion", "Conversion",
         _bench("conversion", ["--image", "python", "--rounds", "1", "--huge-mib", "64",
                               "--small-files", "10000"]), minutes=60),
    Part("growth", "What grows, and what it costs", _bench("growth", ["--quick"])),
    Part("hot-loops", "Hot loops", _hot_loops),
    Part("faults", "Faults", _faults),
]
BY_NAME = {part.name: part for part in PARTS}
# What the parts start, of what is built here.
TARGETS = ("runnel", "netsim", "runnel-load", "runnel-fill-store", "runnel-conversion-stages", "runnel-warm-reader",
           "runnel-hot-loops")

"""A bench that starts containers, as a command: images x networks x ways, in rounds, results kept in
one file a day. bench/cold-start and bench/read-everything differ in what the container does."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import measured
from sandbox import cold_start, peers, services
from sandbox.netsim import NETWORKS

ROOT = services.project_root()


@dataclass(frozen=True)
class Command:
    name: str  # also that of its results
    description: str
    images: list[str]
    networks: list[str]
    ways: list[str]
    runs: int
    workload: cold_start.Workload
    summaries: Callable[[list[cold_start.Run]], list[dict]]
    markdown: Callable[[dict], str]
    write: Callable[[dict, Path], None]


def arguments(command: Command) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=command.description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=cold_start.recipes, default=command.images,
                        help="recipes in images/, or paths of others")
    parser.add_argument("--network", type=cold_start.choices(tuple(NETWORKS)), default=command.networks)
    parser.add_argument("--engine", type=cold_start.choices(cold_start.ENGINES), default=command.ways)
    parser.add_argument("--runs", type=int, default=command.runs)
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"), help="a directory on a disk")
    return parser.parse_args()


def key(row: dict) -> tuple[str, str, str]:
    return row["image"], row["network"], row["engine"]


def merged(old: list[dict], new: list[dict]) -> list[dict]:
    """`new`, and of `old` what was not measured again."""
    again = {key(row) for row in new}
    return sorted([row for row in old if key(row) not in again] + new, key=key)


def run(command: Command) -> int:
    options = arguments(command)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and remove what was started and made
    subprocess.run([str(ROOT / "tools/packages"), "install", "run"], check=True)
    absent = peers.absent(options.engine)
    for why in absent.values():
        print(f"not measured: {why}", flush=True)
    engines = [engine for engine in options.engine if engine not in absent]
    results = {**measured.begun(), "load": measured.load(), "absent": absent, "summary": [], "runs": []}
    path = options.json or ROOT / f"bench/results/{command.name}-{results['date']}.json"
    measured.keep(results, path, "summary", "runs")
    directory = Path(tempfile.mkdtemp(prefix="runnel-bench-", dir=options.scratch))
    with cold_start.Bench(directory, engines, options.network,
                          workload=command.workload) as bench:
        for recipe in options.image:
            print(f"== {recipe}: pushing and converting", flush=True)
            image = bench.add_image(recipe)
            runs = cold_start.rounds(bench, image, options.runs, lambda text: print(text, flush=True))
            results["absent"] |= {f"{of}, {engine}": why for (of, engine), why in bench.given_up.items()}
            rows = [row | {"date": results["date"]} for row in command.summaries(runs)]
            results["summary"] = merged(results["summary"], rows)
            results["runs"] = merged(results["runs"], [asdict(each) for each in runs])
            command.write(results, path)
    print("\n" + command.markdown(results))
    return 0

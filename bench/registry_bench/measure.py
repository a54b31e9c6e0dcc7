"""Runs of the load generator, taken in turns over the servers."""

from __future__ import annotations

import json
import statistics
import subprocess
from dataclasses import dataclass, field

from registry_bench import servers
from sandbox import services


def load(arguments: list[str]) -> dict:
    """One run of runnel-load; an error when an answer was not the right one."""
    program = services.project_root() / "build/release/bench/runnel-load"
    done = subprocess.run(servers.pinned([str(program), *arguments], servers.LOAD_CPU),
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


@dataclass
class Side:
    """One server in a comparison, and what came out for it, round by round."""

    server: services.Registry
    arguments: list[str]
    runs: list[dict] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.server.name

    def measure(self, number: int) -> None:
        pid = servers.pid_of(self.server)
        servers.begin_peak(pid)
        before = servers.cpu_seconds(pid)
        arguments = [a.replace("{round}", str(number)) for a in self.arguments]
        run = load([*arguments, "--port", str(self.server.port)])
        # With the warm-up, whose requests are not counted: the same share on all sides.
        run["server_cpu_seconds"] = servers.cpu_seconds(pid) - before
        run["peak_resident_bytes"] = servers.peak_resident(pid)
        run["rate"] = run["done"] / run["seconds"]
        run["bytes_per_second"] = run["bytes"] / run["seconds"]
        run["cpu_us_per_request"] = run["server_cpu_seconds"] * 1e6 / max(run["done"], 1)
        run["generator_busy"] = run["generator_cpu_seconds"] / run["seconds"]
        self.runs.append(run)

    def summary(self) -> dict:
        names = ("rate", "bytes_per_second", "p50_us", "p99_us", "cpu_us_per_request", "generator_busy")
        return {"peak_resident_bytes": max(run["peak_resident_bytes"] for run in self.runs)} | {
            name: round(statistics.median(run[name] for run in self.runs), 4) for name in names}


def ratio_of(ours: Side, other: Side, what: str) -> dict:
    """Round by round, so that what disturbs the machine for a while disturbs both."""
    ratios = [a[what] / b[what] for a, b in zip(ours.runs, other.runs, strict=True) if b[what] > 0]
    if not ratios:
        return {}
    return {"median": round(statistics.median(ratios), 3), "low": round(min(ratios), 3),
            "high": round(max(ratios), 3)}


def compare(ours: Side, other: Side, rounds: int) -> dict:
    for number in range(rounds):
        for side in (ours, other) if number % 2 == 0 else (other, ours):
            side.measure(number)
    return {ours.name: ours.summary(), other.name: other.summary(), "rounds": rounds,
            "ratio": ratio_of(ours, other, "rate"),
            "cpu_ratio": ratio_of(ours, other, "cpu_us_per_request")}

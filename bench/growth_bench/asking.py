"""The registry's answers with ever more manifests in its store."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from registry_bench import cases
from registry_bench.content import MANIFEST, Client
from registry_bench.measure import load

MANIFESTS_A_REPOSITORY = 1000
SECONDS = 1
# What is asked for, and how: one connection shows the latency, sixteen what a busy server gives.
QUESTIONS = (("HEAD by tag", "HEAD", "manifests/m0", 1),
             ("GET by tag, 16 connections", "GET", "manifests/m0", 16),
             ("page of tags", "GET", "tags/list", 1))


def measure(points: tuple[int, ...], rounds: int, directory: Path, say=print) -> list[dict]:
    """A row for each number of manifests and question."""
    rows = []
    for point in points:
        settings = cases.Settings(directory, rounds, SECONDS, 16, 0, 0, point)
        bench = cases.Bench(settings)
        try:
            rows += _at(bench, point, rounds)
        finally:
            bench.close()
        for row in rows[-len(QUESTIONS):]:
            say(f"manifests {point:,}, {row['way']}: p50 {row['p50_ms']:.3f} ms, p99 {row['p99_ms']:.3f} ms")
    return rows


def _at(bench: cases.Bench, point: int, rounds: int) -> list[dict]:
    repositories = max(1, point // MANIFESTS_A_REPOSITORY)
    server, _ = cases.fill(bench, f"store-{point}", "--manifests", str(point), "--repositories", str(repositories))
    repository = cases.REPOSITORY + ("-0" if repositories > 1 else "")
    begin = time.monotonic()
    bench.start(server)
    client = Client(server.host)
    client.ask("GET", f"/v2/{repository}/manifests/m0", 200, headers={"Accept": MANIFEST})
    first = time.monotonic() - begin
    client.close()
    found: dict[str, list[dict]] = {}
    for _ in range(rounds):
        for title, method, path, connections in QUESTIONS:
            found.setdefault(title, []).append(load(
                ["read", "--method", method, "--target", f"/v2/{repository}/{path}", "--header",
                 f"Accept: {MANIFEST}", "--connections", str(connections), "--seconds",
                 str(bench.settings.seconds), "--port", str(server.port)]))
    size = (server.data / "metadata.sqlite").stat().st_size
    return [{"axis": "manifests", "point": point, "way": title, "runs": rounds, "database_bytes": size,
             "first_answer_seconds": round(first, 3), **_latencies(runs)} for title, runs in found.items()]


def _latencies(runs: list[dict]) -> dict:
    row = {}
    for name in ("p50", "p99"):
        values = [run[f"{name}_us"] / 1e3 for run in runs]
        row |= {f"{name}_ms": round(statistics.median(values), 4), f"{name}_ms_min": round(min(values), 4),
                f"{name}_ms_max": round(max(values), 4)}
    row["rate"] = round(statistics.median(run["done"] / run["seconds"] for run in runs))
    return row

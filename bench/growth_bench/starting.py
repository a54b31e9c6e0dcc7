"""Cold starts of images that grow, containerd's ordinary pull beside a first streamed start."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from growth_bench.axes import Axis
from sandbox import cold_start, images, services

WAYS = ("erofs-file", cold_start.EAGER)
NETWORK = "1g-2ms"


@dataclass(frozen=True)
class Start:
    axis: str
    point: int
    way: str
    round: int
    seconds: float
    bytes: int  # from the registry, by READY
    requests: int


def measure(axis: Axis, points: tuple[int, ...], rounds: int, directory: Path, say=print) -> list[Start]:
    """Rounds over points and ways, every second one backwards; a start of each way before warms programs."""
    with cold_start.Bench(directory / "b", list(WAYS), [NETWORK],
                          workload=cold_start.Workload(again=False)) as bench:
        for point in points:
            at = directory / f"image-{point}"
            at.mkdir()
            reference = f"{bench.registry.host}/{_repository(axis, point)}:1"
            images.push(axis.image(at, point), reference)
            services.convert(reference)
        found = []
        for way in WAYS:
            _start(bench, axis, points[0], way, 0)
        for number in range(1, rounds + 1):
            order = [(point, way) for point in points for way in WAYS]
            for point, way in order if number % 2 else reversed(order):
                start = _start(bench, axis, point, way, number)
                say(f"{axis.name} {point:,} {way}: {start.seconds:.2f} s, {start.bytes / 1e6:.1f} MB")
                found.append(start)
        return found


def _repository(axis: Axis, point: int) -> str:
    return f"growth/{axis.name}" if axis.containers else f"growth/{axis.name}-{point}"


def _start(bench: cold_start.Bench, axis: Axis, point: int, way: str, number: int) -> Start:
    if axis.containers:
        return _many(bench, axis, point, way, number)
    run = bench.measure(_repository(axis, point), NETWORK, way, number)
    return Start(axis.name, point, way, number, run.seconds, run.bytes, run.requests)


def _many(bench: cold_start.Bench, axis: Axis, count: int, way: str, number: int) -> Start:
    """One pull, and then as many containers at once; it is over with the last one's READY."""
    side, sim = bench.sides[way], bench.sims[NETWORK]
    reference = f"{sim.host}/{_repository(axis, count)}:1"
    bench.make_cold(NETWORK, way)
    before, begin, ready = sim.traffic(), time.monotonic(), []

    def one(which: int) -> str:
        return side.containerd.run(reference, f"start-{which}",
                                   on_ready=lambda: ready.append(time.monotonic())).output
    side.pull(reference)
    with ThreadPoolExecutor(count) as pool:
        said = list(pool.map(one, range(count)))
    if len(ready) != count:
        raise RuntimeError(f"{way}: {len(ready)} of {count} containers were READY: {said}")
    after = sim.traffic()
    return Start(axis.name, count, way, number, max(ready) - begin, after.bytes_down - before.bytes_down,
                 after.requests - before.requests)


def summaries(starts: list[Start]) -> list[dict]:
    """A row for each axis, point and way; ratios are taken within a round."""
    eager = {(s.axis, s.point, s.round): s.seconds for s in starts if s.way == cold_start.EAGER}
    cells: dict[tuple[str, int, str], list[Start]] = {}
    for start in starts:
        cells.setdefault((start.axis, start.point, start.way), []).append(start)
    rows = []
    for (axis, point, way), cell in sorted(cells.items()):
        row = {"axis": axis, "point": point, "way": way, "runs": len(cell),
               **_spread("seconds", [start.seconds for start in cell]),
               "bytes": round(statistics.median(start.bytes for start in cell)),
               "requests": round(statistics.median(start.requests for start in cell))}
        if way != cold_start.EAGER:
            row |= _spread("ratio", [start.seconds / eager[start.axis, start.point, start.round]
                                     for start in cell])
        rows.append(row)
    return rows


def _spread(name: str, values: list[float]) -> dict:
    return {name: round(statistics.median(values), 3), f"{name}_min": round(min(values), 3),
            f"{name}_max": round(max(values), 3)}

"""What is measured of a conversion. Each case says its bar, and returns what came out."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conversion_bench import content, peers
from conversion_bench.account import Account, Cost
from conversion_bench.converting import Store, convert_with_command
from sandbox import images, services
from sandbox.containerd import run

MIB = 1 << 20
REPOSITORY = "bench/image"


@dataclass
class Settings:
    directory: Path
    layout: Path
    rounds: int
    peer_rounds: int
    huge_mib: int
    small_files: int

    @property
    def layers(self) -> list[Path]:
        found = {layer["digest"]: images.blob_path(self.layout, layer["digest"])
                 for layer in images.read_layout(self.layout)["layers"]}
        return list(found.values())

    @property
    def layer_bytes(self) -> int:
        return sum(layer.stat().st_size for layer in self.layers)


def gunzip_and_hash(layers: list[Path], sampled: bool) -> Cost:
    """What whoever checks an image does: one layer after the other, two processes each."""
    with Account(sampled) as account:
        account.begin()
        for layer in layers:
            run(account.argv(["/bin/sh", "-c", 'gzip -dc "$1" | sha256sum', "sh", str(layer)]))
        return account.cost()


def in_turns(sides: dict[str, Callable[[bool], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Round by round, every second one backwards, so that what disturbs the machine disturbs all. Not
    sampled; then each side once more, sampled, for its memory, which goes into all of its costs."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in names:
            run(["sync"])  # what the run before left to write is not this one's
            costs[name].append(sides[name](False))
            print(f"   round {number + 1}/{rounds}: {name} {costs[name][-1]}", flush=True)
    for name, side in sides.items():
        sampled = side(True)
        print(f"   sampled: {name} {sampled}", flush=True)
        for cost in costs[name]:
            cost.peak_anonymous_bytes = sampled.peak_anonymous_bytes
            cost.peak_resident_bytes = sampled.peak_resident_bytes
    return costs


def summary(costs: list[Cost]) -> dict:
    return {"runs": [dataclasses.asdict(cost) for cost in costs],
            "seconds": round(statistics.median(cost.seconds for cost in costs), 3),
            "cpu_seconds": round(statistics.median(cost.cpu_seconds for cost in costs), 3),
            "peak_anonymous_bytes": max(cost.peak_anonymous_bytes for cost in costs),
            "peak_resident_bytes": max(cost.peak_resident_bytes for cost in costs)}


def ratio(ours: list[Cost], other: list[Cost], what: str = "seconds") -> dict:
    ratios = [getattr(a, what) / getattr(b, what) for a, b in zip(ours, other, strict=True)]
    return {"median": round(statistics.median(ratios), 3), "low": round(min(ratios), 3),
            "high": round(max(ratios), 3)}


def speed(settings: Settings) -> dict:
    """The service and the command, in turns with gzip and sha256sum over the same layers."""
    store = Store(settings.directory / "speed")
    digest = store.push(settings.layout, f"{REPOSITORY}:latest")
    sizes = {}

    def service(sampled: bool) -> Cost:
        registry = store.fresh(sampled)
        try:
            cost = registry.convert(REPOSITORY, digest)
            sizes["layers"], sizes["boot"] = registry.artifact_sizes(REPOSITORY, digest)
            return cost
        finally:
            store.drop(registry)

    def command(sampled: bool) -> Cost:
        registry = store.fresh(sampled)
        try:
            return convert_with_command(registry, f"{REPOSITORY}:latest")
        finally:
            store.drop(registry)

    costs = in_turns({"gzip": lambda sampled: gunzip_and_hash(settings.layers, sampled),
                      "service": service, "command": command}, settings.rounds)
    return {name: summary(cost) for name, cost in costs.items()} | {
        "source_bytes": settings.layer_bytes, "layer_blob_bytes": sizes["layers"],
        "boot_blob_bytes": sizes["boot"], "rounds": settings.rounds,
        "ratio": ratio(costs["service"], costs["gzip"]),
        "cpu_ratio": ratio(costs["service"], costs["gzip"], "cpu_seconds"),
        "command_ratio": ratio(costs["command"], costs["gzip"]),
        "size_ratio": round(sizes["layers"] / settings.layer_bytes, 4)}


def stages(settings: Settings) -> dict:
    """One thread, one stage after the other, of the largest layer; processor seconds."""
    largest = max(settings.layers, key=lambda layer: layer.stat().st_size)
    program = services.project_root() / "build/release/bench/runnel-conversion-stages"
    runs = [json.loads(run([str(program), "--layer", str(largest), "--scratch", str(settings.directory)]))
            for _ in range(settings.rounds)]
    found = {}
    for name, stage in runs[0]["stages"].items():
        seconds = min(each["stages"][name]["seconds"] for each in runs)
        cpu = min(each["stages"][name]["cpu_seconds"] for each in runs)
        found[name] = {"seconds": round(seconds, 4), "cpu_seconds": round(cpu, 4), "bytes": stage["bytes"],
                       "mb_per_second": round(stage["bytes"] / 1e6 / max(seconds, 1e-9))}
    return {"layer_bytes": largest.stat().st_size, "plain_bytes": runs[0]["plain_bytes"],
            "stages": found, "rounds": settings.rounds}


def second_image(settings: Settings) -> dict:
    """A new version of an image that was converted: the same layers, and one of 16 MiB on top."""
    store = Store(settings.directory / "second")
    first = store.push(settings.layout, f"{REPOSITORY}:1")
    grown = content.image_on(settings.directory / "grown", settings.layout,
                            content.noise_tar(settings.directory / "top.tar", 16 * MIB))
    second = store.push(grown.layout, f"{REPOSITORY}:2")
    own = grown.layers[-1].blob.stat().st_size
    runs: dict[str, list[Cost]] = {"first": [], "second": []}
    layers = []
    for _ in range(settings.rounds):
        registry = store.fresh()
        try:
            runs["first"].append(registry.convert(REPOSITORY, first))
            runs["second"].append(registry.convert(REPOSITORY, second))
            layers.append(registry.layers_of_last_conversion())
        finally:
            store.drop(registry)
    return {name: summary(cost) for name, cost in runs.items()} | {
        "first_bytes": settings.layer_bytes, "second_own_bytes": own,
        "converted": layers[-1][0], "reused": layers[-1][1], "rounds": settings.rounds,
        "ratio": ratio(runs["second"], runs["first"]),
        "cpu_ratio": ratio(runs["second"], runs["first"], "cpu_seconds")}


def huge_layer(settings: Settings) -> dict:
    """One sparse file of 20 GiB, of which some are there."""
    at = settings.directory / "huge"
    at.mkdir()
    with open(at / "file", "wb") as file:
        for number in range(settings.huge_mib // 8):
            file.seek(number * (20 << 30) // (settings.huge_mib // 8) // 4096 * 4096)
            file.write(content.text(number, 8 * MIB))
        file.truncate(20 << 30)
    run(["tar", "--sparse", "--format=posix", "-C", str(at), "-cf", str(at / "layer.tar"), "file"])
    (at / "file").unlink()
    return _memory(settings, at)


def small_files(settings: Settings) -> dict:
    """So many files of some hundred bytes, in directories of a thousand."""
    at = settings.directory / "small"
    at.mkdir()
    with content.tar_writer(at / "layer.tar") as add:
        for number in range(settings.small_files):
            add(f"usr/share/directory-{number // 1000}/a-name-of-usual-length-{number}.txt",
                content.text(number, 100 + number % 400))
    return _memory(settings, at)


def _memory(settings: Settings, at: Path) -> dict:
    plain = (at / "layer.tar").stat().st_size
    image = images.image_of(at / "layout", [at / "layer.tar"])
    (at / "layer.tar").unlink()
    store = Store(at / "store")
    digest = store.push(image.layout, f"{REPOSITORY}:latest")
    registry = store.fresh()
    try:
        service = registry.convert(REPOSITORY, digest)
    finally:
        store.drop(registry)
    registry = store.fresh()
    try:
        command = convert_with_command(registry, f"{REPOSITORY}:latest")
    finally:
        store.drop(registry)
    return {"plain_bytes": plain, "source_bytes": image.layers[0].blob.stat().st_size,
            "service": summary([service]), "command": summary([command])}


def beside_peers(settings: Settings) -> dict:
    """mkfs.erofs makes no layers and takes no tar: unpacking is a part of it."""
    measured = peers.measure(settings.layout, settings.directory / "peers", settings.peer_rounds)
    return {"sides": {name: {"size_bytes": sizes[-1], **summary(costs)} for name, (costs, sizes) in measured.items()},
            "absent": peers.absent()}


@dataclass
class Case:
    name: str
    title: str
    bar: str
    run: Callable[[Settings], dict]
    met: Callable[[dict], bool]


def _memory_met(result: dict) -> bool:
    return all(MIB < result[side]["peak_anonymous_bytes"] < 300 * MIB for side in ("service", "command"))


CASES = [
    Case("speed", "conversion beside `gzip -dc \\| sha256sum` of its layers",
         "time ≤ 1.0, aim 0.7; size ≤ 1.03; memory < 300 MiB", speed,
         lambda r: max(r["ratio"]["median"], r["command_ratio"]["median"]) <= 1.0
         and r["size_ratio"] <= 1.03 and _memory_met(r)),
    Case("stages", "each stage alone, on one thread", "none", stages, lambda _: True),
    Case("second", "a new version: the same layers and 16 MiB on top",
         "in proportion to its own layers", second_image,
         lambda r: r["converted"] == 1 and r["cpu_ratio"]["median"]
         <= 2 * r["second_own_bytes"] / r["first_bytes"] + 0.1),
    Case("huge", "a layer with a sparse file of 20 GiB", "memory < 300 MiB", huge_layer, _memory_met),
    Case("small", "a layer of many small files", "memory < 300 MiB", small_files, _memory_met),
    Case("peers", "what others make of the image", "none", beside_peers, lambda _: True),
]

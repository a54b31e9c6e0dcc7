"""How long a container takes from nothing to READY, and what that costs.

    tools/cold-start --image python,jupyter --network loopback,1g-2ms,100m-20ms
                     --engine erofs-file,erofs-loop,eager --runs 7 --json FILE

One measurement is: no image, an empty cache, no open connection and no page cache; pull, create,
start, until the container prints READY. The registry and the network are on processor 0, the node,
containerd and the container on processor 1, so that neither takes the other's time. Runs of all
engines alternate, and ratios are taken within a round, so that whatever else the machine does hits
all of them alike. Requests and bytes are counted on the network between, up to READY.

Engines: the node's ways of mounting; with "+profile", of an image that was converted with the profile
of an earlier start; "eager" is containerd's overlayfs, which pulls all first; "stargz", "soci" and "nydus" are
other snapshotters that stream, of the same image in their own format (sandbox/peers.py).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbox import images, peers, processes, services
from sandbox.containerd import Containerd, drop_page_cache
from sandbox.daemons import wait_until
from sandbox.netsim import NETWORKS, NetSim, Traffic
from sandbox.scratch import Scratch

ROOT = Path(__file__).resolve().parents[2]
EAGER = "eager"
AGAIN = 3  # further containers after a start
PROFILED = "+profile"
ENGINES = ("erofs-file", "erofs-loop", "fuse", "erofs-file" + PROFILED, "erofs-loop" + PROFILED, EAGER,
           *peers.BY_NAME)
REGISTRY_PROCESSOR = 0
NODE_PROCESSOR = 1


@dataclass(frozen=True)
class Run:
    """One cold start. Seconds are from asking for the image; the rest is what had happened by READY."""

    image: str
    network: str
    engine: str
    round: int
    seconds: float
    pull_seconds: float
    again_seconds: float  # the median of AGAIN further containers of the image, straight after
    repull_seconds: float  # a pull of what is all here, after that
    requests: int
    bytes: int  # from the registry
    connections: int
    cpu: dict[str, float] = field(default_factory=dict)  # by process
    peak_memory: int = 0  # of the node's worker
    ready_line: str = ""  # what the container printed
    touched: int = 0  # bytes that the kernel asked of the layers' devices: 4 KiB pages, each once
    present: int = 0  # bytes of the devices that had come; `bytes` are these compressed, and the rest


@dataclass(frozen=True)
class Workload:
    """What the container does until it prints a line that starts with READY."""

    command: tuple[str, ...] = ()  # the image's own when empty
    background_fill: bool = False  # of the node: off, so that a start's bytes are its own
    again: bool = True  # a second container, and a pull of what is here: the floor of a start


class Side:
    """One containerd, and for a streaming engine its node, or another's snapshotter."""

    def __init__(self, directory: Path, engine: str, background_fill: bool = False,
                 more_arguments: tuple[str, ...] = ()):
        self.engine = engine
        self.node = None
        self.peer: peers.Peer | None = None
        if engine in peers.BY_NAME:
            self.peer = peers.BY_NAME[engine](directory / "p", directory / "c/containerd.sock")
            self.containerd = Containerd(directory / "c", engine, self.peer.socket)
        elif engine == EAGER:
            self.containerd = Containerd(directory / "c")
        else:
            self.node = services.Node(directory / "n", engine.removesuffix(PROFILED),
                                      background_fill=background_fill, more_arguments=more_arguments)
            self.containerd = Containerd(directory / "c", "runnel", self.node.socket)

    def start(self) -> "Side":
        for each in (self.node, self.peer):
            if each:
                each.start()
        self.containerd.start()
        return self

    def use(self, registry: str) -> None:
        self.containerd.use_mirror(registry, self.node.mirror if self.node else None)

    def pull(self, reference: str) -> None:
        services.pull(reference, self.containerd.socket)

    def forget(self) -> None:
        """No image, no snapshot, no cached byte."""
        for reference in self.containerd.images():
            self.containerd.remove_image(reference)
        if self.node:
            self.node.clear()
        if self.peer:
            self.peer.forget(self.containerd)

    def cpu(self) -> dict[str, float]:
        used = {"containerd": processes.cpu_seconds(self.containerd.daemon.pid)}
        if self.node:
            used["node"] = (processes.cpu_seconds(self.node.daemon.pid)
                            + processes.cpu_seconds(self.node.worker))
        if self.peer:
            used["node"] = sum(map(processes.cpu_seconds, self.peer.pids()))
        return used

    def touched(self) -> int:
        """Since the node's start: what readers of devices that are not complete were given."""
        return self._metric("runnel_node_read_bytes_total") if self.node else 0

    def _metric(self, name: str) -> int:
        address = self.node.status()["metrics"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        return int(float(found[1]))

    def rest(self) -> None:
        """What a start left to be written is on disk, so that it is no part of the next measurement."""
        if self.node:
            wait_until(lambda: self._metric("runnel_node_cache_unsynced_bytes") == 0, 60,
                       f"the node of {self.engine} to write what it has")

    def present(self) -> int:
        return sum(image["bytes_present"] for image in self.node.status()["images"]) if self.node else 0

    def stop(self) -> None:
        if self.containerd.daemon.pid:
            self.forget()
        self.containerd.stop()
        for each in (self.node, self.peer):
            if each:
                each.stop()


class Bench:
    """A registry with images, networks in front of it, and the sides that pull through them."""

    def __init__(self, directory: Path, engines: list[str], networks: list[str],
                 why: Path | None = None, workload: Workload = Workload()):
        self.why = why  # where timelines go
        self.workload = workload
        self.scratch = Scratch(directory)
        self.registry = services.Registry(directory / "registry")
        self.engines, self.networks = engines, networks
        self.sides: dict[str, Side] = {}
        self.sims: dict[str, NetSim] = {}
        self.given_up: dict[tuple[str, str], str] = {}  # a peer with an image, and why

    def __enter__(self) -> "Bench":
        try:
            return self._start_all()
        except BaseException:
            self.__exit__()  # nobody else would end what has come up
            raise

    def _start_all(self) -> "Bench":
        self.scratch.create()
        everywhere = os.sched_getaffinity(0)
        pinned = len(everywhere) > 1
        if pinned:
            os.sched_setaffinity(0, {REGISTRY_PROCESSOR})
        self.registry.start()
        prefix = ("taskset", "-c", str(REGISTRY_PROCESSOR)) if pinned else ()
        if pinned:
            os.sched_setaffinity(0, {NODE_PROCESSOR})
        for name in self.networks:
            self.sims[name] = NetSim(self.scratch / f"net-{name}", name, self.registry.port, prefix)
        for engine in self.engines:
            side = self.sides[engine] = Side(self.scratch / engine, engine, self.workload.background_fill)
            side.start()
            for sim in self.sims.values():
                side.use(sim.host)
        return self

    def __exit__(self, *_) -> None:
        for side in self.sides.values():
            side.stop()
        for sim in self.sims.values():
            sim.stop()
        self.registry.stop()
        self.scratch.teardown()

    def add_image(self, recipe: str) -> str:
        """Builds (or finds) the recipe's image, pushes and converts it. Returns its name."""
        layout = subprocess.run([ROOT / "tools/build-image", recipe], check=True, text=True,
                                stdout=subprocess.PIPE).stdout.strip()
        name = Path(recipe).name
        for repository in [name] + [name + PROFILED.replace("+", "-")] * self._profiled:
            images.push(Path(layout), f"{self.registry.host}/{repository}:1")
        services.convert(f"{self.registry.host}/{name}:1")
        for engine in self.engines:
            if peer := self.sides[engine].peer:
                with self._giving_up(name, engine):
                    peer.push_converted(Path(layout), f"{self.registry.host}/{repository_of(name, engine)}:1",
                                        self.scratch / engine)
        if self._profiled:
            self._convert_with_profile(name)
        return name

    @contextmanager
    def _giving_up(self, image: str, engine: str) -> Iterator[None]:
        """What a peer cannot do with an image costs its own figures, and not everybody's."""
        try:
            yield
        except Exception as failure:
            if engine not in peers.BY_NAME:
                raise
            self.given_up[image, engine] = f"{engine} with {image}: {type(failure).__name__}: {failure}"[:600]

    @property
    def _profiled(self) -> bool:
        return any(engine.endswith(PROFILED) for engine in self.engines)

    def _convert_with_profile(self, name: str) -> None:
        """Starts the image once, and converts its twin with what that start read."""
        engine = next(each for each in self.engines if each.endswith(PROFILED))
        side, sim = self.sides[engine], next(iter(self.sims.values()))
        sim.stop()
        sim.start()
        reference = f"{sim.host}/{name}:1"
        side.forget()
        drop_page_cache()  # reads that the kernel answers are in no profile
        side.pull(reference)
        side.containerd.run(reference, "recorded")
        profile = self.scratch / f"{name}.profile"
        profile.write_text(side.node.profile(reference))
        services.convert(f"{self.registry.host}/{name}-profile:1", profile)

    def measure_or_give_up(self, image: str, network: str, engine: str, number: int) -> Run | None:
        """None for a peer that failed with this image, now or before."""
        run = None
        if (image, engine) not in self.given_up:
            with self._giving_up(image, engine):
                run = self.measure(image, network, engine, number)
        return run

    def measure(self, image: str, network: str, engine: str, number: int) -> Run:
        reference = f"{self.sims[network].host}/{repository_of(image, engine)}:1"
        self.make_cold(network, engine)
        return self._start(reference, Run(image, network, engine, number, 0, 0, 0, 0, 0, 0, 0))

    def make_cold(self, network: str, engine: str) -> None:
        """No image, no cached byte, no open connection, no page cache; and the registry warm."""
        side, sim = self.sides[engine], self.sims[network]
        for each in self.sides.values():
            each.rest()
        side.forget()
        sim.stop()
        sim.start()
        drop_page_cache()
        self._warm_registry()
        if side.node:
            processes.forget_peak_memory(side.node.worker)

    def _start(self, reference: str, run: Run) -> Run:
        side, sim = self.sides[run.engine], self.sims[run.network]
        found: dict = {}
        touched_before = side.touched()
        before, cpu_before = sim.traffic(), self._cpu(side, sim)
        begin = time.monotonic()

        def at_ready() -> None:
            found["at"] = time.monotonic()
            found["seconds"] = found["at"] - begin
            found["traffic"] = sim.traffic()
            found["cpu"] = self._cpu(side, sim)
            found["peak_memory"] = processes.peak_memory(side.node.worker) if side.node else 0
            found["touched"], found["present"] = side.touched() - touched_before, side.present()

        side.pull(reference)
        pulled = time.monotonic() - begin
        started = side.containerd.run(reference, "cold", *self.workload.command, on_ready=at_ready)
        if not found:
            raise RuntimeError(f"{reference} printed no READY line, exit code {started.exit_code}:\n{started.output}")
        self._check_streams(side, reference)
        if self.why and side.node:
            self._tell_why(reference, run, found["at"])
        again, repulled = self._again(side, reference) if self.workload.again else (0.0, 0.0)
        after: Traffic = found["traffic"]
        return Run(run.image, run.network, run.engine, run.round,
                   seconds=found["seconds"], pull_seconds=pulled, again_seconds=again,
                   repull_seconds=repulled,
                   requests=after.requests - before.requests,
                   bytes=after.bytes_down - before.bytes_down,
                   connections=after.connections - before.connections,
                   cpu={name: round(used - cpu_before[name], 2)
                        for name, used in found["cpu"].items()},
                   peak_memory=found["peak_memory"], ready_line=ready_line(started.output),
                   touched=found["touched"], present=found["present"])

    def _again(self, side: Side, reference: str) -> tuple[float, float]:
        """The floor: seconds of a second container, and of a pull of what is all here."""
        again = median(side.containerd.run(reference, "again", *self.workload.command).seconds_to_ready or 0.0
                       for _ in range(AGAIN))
        begin = time.monotonic()
        side.pull(reference)
        return again, time.monotonic() - begin

    def _tell_why(self, reference: str, run: Run, ready: float) -> None:
        """The start's timeline, cut at READY: time.monotonic() is the node's clock too."""
        node = self.sides[run.engine].node
        begin = json.loads(node.why(reference, "--output", "json"))["begin_us"] / 1e6
        name = f"{run.image}-{run.network}-{run.engine}-{run.round}"
        until = ("--until", f"{ready - begin:.6f}")
        (self.why / f"{name}.txt").write_text(node.why(reference, *until))
        for ending in ("json", "html"):
            node.why(reference, *until, "--output-file", str(self.why / f"{name}.{ending}"))

    def _cpu(self, side: Side, sim: NetSim) -> dict[str, float]:
        return {**side.cpu(), "network": processes.cpu_seconds(sim.daemon.pid),
                "registry": processes.cpu_seconds(self.registry.daemon.pid)}

    def _check_streams(self, side: Side, reference: str) -> None:
        """A streaming side that fell back to an ordinary pull would measure something else."""
        if side.peer:
            side.peer.check_streams(reference)
        if side.node is None:
            return
        repository = reference.rpartition(":")[0]
        for image in side.node.status()["images"]:
            if image["image"].startswith(repository + "@"):
                if image["reason"] != "Streaming":
                    raise RuntimeError(f"{reference} did not stream: {image['reason']}: "
                                       f"{image['detail']}")
                return
        raise RuntimeError(f"the node does not know {reference}")

    def _warm_registry(self) -> None:
        """The registry stands for another machine: it keeps its page cache."""
        for path in (self.registry.directory / "data").rglob("*"):
            if path.is_file():
                with open(path, "rb") as file:
                    while file.read(1 << 20):
                        pass


def repository_of(image: str, engine: str) -> str:
    """Where the image is that this engine starts."""
    if engine in peers.BY_NAME:
        return f"{image}-{engine}"
    return image + ("-profile" if engine.endswith(PROFILED) else "")


def ready_line(output: str) -> str:
    return next((line.strip() for line in output.splitlines() if line.startswith("READY")), "")


# What many runs say ---------------------------------------------------------------------------


def rounds(bench: Bench, image: str, count: int, say=print) -> list[Run]:
    """`count` rounds over every network and engine, every second one in the opposite order; a first one
    that is not kept warms programs."""
    runs = []
    for number in range(count + 1):
        engines = bench.engines[::-1] if number % 2 else bench.engines
        for network in bench.networks:
            for engine in engines:
                run = bench.measure_or_give_up(image, network, engine, number)
                if run is None:
                    continue
                kept = "" if number else " (not kept)"
                say(f"{image} {network} {engine}: {run.seconds:.2f} s, {run.requests} requests, "
                    f"{run.bytes / 1e6:.1f} MB{kept}")
                if number:
                    runs.append(run)
    return runs


def median(values) -> float:
    return statistics.median(list(values))


def ratio_to_eager(runs: list[Run], cell: list[Run]) -> float | None:
    """The median over rounds of this engine's time over eager's in the same round."""
    eager = {(r.image, r.network, r.round): r.seconds for r in runs if r.engine == EAGER}
    ratios = [r.seconds / eager[r.image, r.network, r.round] for r in cell
              if (r.image, r.network, r.round) in eager]
    return median(ratios) if ratios else None


def again_of_eager(runs: list[Run], cell: list[Run]) -> list[float] | None:
    """Quartiles, over rounds, of this engine's further containers over eager's in the same round."""
    eager = {(r.image, r.network, r.round): r.again_seconds for r in runs if r.engine == EAGER}
    ratios = [r.again_seconds / eager[key] for r in cell if eager.get(key := (r.image, r.network, r.round))]
    if len(ratios) < 2:
        return ratios * 3 or None
    return [round(each, 3) for each in statistics.quantiles(ratios, n=4, method="inclusive")]


def summaries(runs: list[Run]) -> list[dict]:
    cells: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        cells.setdefault((run.image, run.network, run.engine), []).append(run)
    found = []
    for (image, network, engine), cell in cells.items():
        ratio = ratio_to_eager(runs, cell)
        found.append({
            "image": image, "network": network, "engine": engine, "runs": len(cell),
            "seconds": round(median(r.seconds for r in cell), 3),
            "seconds_min": round(min(r.seconds for r in cell), 3),
            "seconds_max": round(max(r.seconds for r in cell), 3),
            "ratio_to_eager": None if ratio is None else round(ratio, 3),
            "pull_seconds": round(median(r.pull_seconds for r in cell), 3),
            "again_seconds": round(median(r.again_seconds for r in cell), 3),
            "again_of_eager": again_of_eager(runs, cell),
            "repull_seconds": round(median(r.repull_seconds for r in cell), 3),
            "requests": [min(r.requests for r in cell), max(r.requests for r in cell)],
            "bytes": [min(r.bytes for r in cell), max(r.bytes for r in cell)],
            "bytes_median": round(median(r.bytes for r in cell)),
            "connections": max(r.connections for r in cell),
            "cpu": {name: round(median(r.cpu[name] for r in cell), 2) for name in cell[0].cpu},
            "peak_memory": max(r.peak_memory for r in cell),
            "touched": round(median(r.touched for r in cell)),
            "present": round(median(r.present for r in cell)),
        })
    return found


def spread(low: float, high: float, scale: float = 1, digits: int = 0) -> str:
    texts = [f"{value / scale:.{digits}f}" for value in (low, high)]
    return texts[0] if texts[0] == texts[1] else "-".join(texts)


def print_table(rows: list[dict]) -> None:
    head = (f"{'image':<9}{'network':<12}{'engine':<20}{'READY s':>8}{'(spread)':>13}{'/eager':>8}"
            f"{'pull s':>8}{'again s':>9}{'requests':>10}{'MB':>12}  cpu s; memory")
    print("\n" + head)
    for row in rows:
        ratio = row["ratio_to_eager"]
        cpu = " ".join(f"{name} {used:.2f}" for name, used in row["cpu"].items())
        memory = f"; {row['peak_memory'] / 1e6:.0f} MB" if row["peak_memory"] else ""
        seconds = spread(row["seconds_min"], row["seconds_max"], digits=2)
        print(f"{row['image']:<9}{row['network']:<12}{row['engine']:<20}{row['seconds']:>8.2f}"
              f"{seconds:>13}{'' if ratio is None else f'{ratio:.2f}':>8}"
              f"{row['pull_seconds']:>8.2f}{row['again_seconds']:>9.2f}"
              f"{spread(*row['requests']):>10}{spread(*row['bytes'], 1e6, 1):>12}  {cpu}{memory}")


# The command ------------------------------------------------------------------------------------


def choices(known: tuple[str, ...]):
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for one in chosen:
            if one not in known:
                raise argparse.ArgumentTypeError(f"no {one!r}; there are {', '.join(known)}")
        return chosen
    return parse


def recipes(text: str) -> list[str]:
    """Names in images/, or paths of recipe files (tools/build-image says what is in one)."""
    known = sorted(path.name for path in (ROOT / "images").iterdir())
    chosen = text.split(",")
    for one in chosen:
        if one not in known and not Path(one).is_file():
            raise argparse.ArgumentTypeError(
                f"no {one!r}; there are {', '.join(known)}, and the path of a recipe of your own would do")
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tools/cold-start", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=recipes, default=["python"], help="recipes in images/, or paths of others")
    parser.add_argument("--network", type=choices(tuple(NETWORKS)), default=list(NETWORKS))
    parser.add_argument("--engine", type=choices(ENGINES), default=["erofs-file", EAGER])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path, help="every run, and the summary")
    parser.add_argument("--why", type=Path,
                        help="a directory for the timeline of each start of a node, cut at READY")
    options = parser.parse_args()
    if options.why:
        options.why.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="runnel-cold-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    runs: list[Run] = []
    with Bench(directory, options.engine, options.network, options.why) as bench:
        for recipe in options.image:
            print(f"== {recipe}: pushing and converting", flush=True)
            image = bench.add_image(recipe)
            runs += rounds(bench, image, options.runs, lambda text: print(text, flush=True))
        for why in bench.given_up.values():
            print(f"not measured: {why}")
    rows = summaries(runs)
    print_table(rows)
    if options.json:
        options.json.write_text(json.dumps({"summary": rows, "runs": [asdict(r) for r in runs]},
                                           indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

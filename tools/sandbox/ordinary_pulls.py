"""What Runnel costs an image that it cannot stream: the same pull with it and without.

    tools/ordinary-pulls --image small,python --network far,1g-2ms,100m-20ms --runs 9 --json FILE

Each round pulls the image once on every side, one after the other, with an empty containerd and no
page cache; the ratio is the median over the rounds of a side's time over "without"'s in the same
round. No side has seen the image in that repository before, so the node asks for an artifact each
time. Requests are counted on the network between containerd, or the node, and the registry.

Sides: "without" is containerd with overlayfs; "with" is Runnel as it is installed; "mirror" has only
the pulls go through Runnel, "snapshotter" only the layers. "small" is two layers of one file:
nothing but round trips. "far" is 500 ms away, so that round trips can be counted in the time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path

from sandbox import images, processes, services
from sandbox.containerd import Containerd, drop_page_cache
from sandbox.netsim import NETWORKS, NetSim
from sandbox.scratch import Scratch

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("without", "with", "mirror", "snapshotter")
FAR = "far"
FAR_DELAY_MS = 250.0
SMALL = "small"
CALL = re.compile(r'runnel_node_snapshotter_call_seconds_sum\{call="(\w+)"\} (\S+)')


@dataclass(frozen=True)
class Pull:
    image: str
    network: str
    side: str
    round: int
    seconds: float
    requests: int
    calls: dict[str, float] = field(default_factory=dict)  # seconds in the snapshotter, by call
    node_cpu: float = 0.0


class Side:
    """A containerd of its own, and unless it is "without" a node."""

    def __init__(self, directory: Path, name: str):
        self.name = name
        self.node = None if name == "without" else services.Node(directory / "n")
        own = self.node is not None and name != "mirror"
        self.containerd = (Containerd(directory / "c", "runnel", self.node.socket) if own
                           else Containerd(directory / "c"))

    def start(self) -> "Side":
        if self.node:
            self.node.start()
        self.containerd.start()
        return self

    def use(self, registry: str) -> None:
        through = self.node is not None and self.name != "snapshotter"
        self.containerd.use_mirror(registry, self.node.mirror if through else None)

    def calls(self) -> dict[str, float]:
        if self.node is None:
            return {}
        address = self.node.status()["metrics"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            return {call: float(sum) for call, sum in CALL.findall(answer.read().decode())}

    def cpu(self) -> float:
        return processes.cpu_seconds(self.node.worker) if self.node else 0.0

    def stop(self) -> None:
        self.containerd.stop()
        if self.node:
            self.node.stop()


def small_image(directory: Path) -> Path:
    tars = []
    for name in ("a", "b"):
        tar = directory / f"{name}.tar"
        with tarfile.open(tar, "w") as file:
            member = tarfile.TarInfo(name)
            member.size = 1
            file.addfile(member, BytesIO(name.encode()))
        tars.append(tar)
    return images.image_of(directory / "layout", tars).layout


class Bench:
    def __init__(self, directory: Path, sides: list[str]):
        self.scratch = Scratch(directory)
        self.registry = services.Registry(directory / "registry")
        self.names = sides
        self.sides: list[Side] = []
        self.layouts: dict[str, Path] = {}
        self.pulled = 0

    def __enter__(self) -> "Bench":
        self.scratch.create()
        self.registry.start()
        self.sides = [Side(self.scratch / name, name).start() for name in self.names]
        return self

    def __exit__(self, *_) -> None:
        for side in self.sides:
            side.stop()
        self.registry.stop()
        self.scratch.teardown()

    def layout(self, image: str) -> Path:
        if image not in self.layouts:
            if image == SMALL:
                directory = self.scratch / "small"
                directory.mkdir()
                self.layouts[image] = small_image(directory)
            else:
                built = subprocess.run([ROOT / "tools/build-image", image], check=True, text=True,
                                       stdout=subprocess.PIPE).stdout
                self.layouts[image] = Path(built.strip())
        return self.layouts[image]

    def rounds(self, image: str, network: str, count: int, say=print) -> list[Pull]:
        """A first round that is not kept warms programs and the registry's page cache."""
        sim = NetSim(self.scratch / f"net-{network}-{image}",
                     "loopback" if network == FAR else network, self.registry.port)
        if network == FAR:
            sim.delay_ms = FAR_DELAY_MS
        sim.start()
        for side in self.sides:
            side.use(sim.host)
        found = []
        try:
            for number in range(count + 1):
                repository = f"{image}-{network}-{number}"
                images.push(self.layout(image), f"{self.registry.host}/{repository}:1")
                turn = number % len(self.sides)
                for side in self.sides[turn:] + self.sides[:turn]:
                    pull = self.measure(side, sim, f"{sim.host}/{repository}:1",
                                        (image, network, side.name, number))
                    say(f"{image} {network} {side.name}: {pull.seconds:.3f} s, {pull.requests} "
                        f"requests{'' if number else ' (not kept)'}")
                    found += [pull] if number else []
        finally:
            sim.stop()
        return found

    def measure(self, side: Side, sim: NetSim, reference: str, which: tuple) -> Pull:
        drop_page_cache()
        for path in (self.registry.directory / "data").rglob("*"):  # stands for another machine
            if path.is_file():
                with open(path, "rb") as file:
                    while file.read(1 << 20):
                        pass
        calls, cpu, requests = side.calls(), side.cpu(), sim.traffic().requests
        begin = time.monotonic()
        services.pull(reference, side.containerd.socket)
        seconds = time.monotonic() - begin
        spent = {call: round(sum - calls.get(call, 0), 4) for call, sum in side.calls().items()}
        pull = Pull(*which, seconds, sim.traffic().requests - requests, spent,
                    round(side.cpu() - cpu, 3))
        side.containerd.remove_image(reference)
        return pull


def summaries(pulls: list[Pull]) -> list[dict]:
    base = {(p.image, p.network, p.round): p.seconds for p in pulls if p.side == "without"}
    cells: dict[tuple[str, str, str], list[Pull]] = {}
    for pull in pulls:
        cells.setdefault((pull.image, pull.network, pull.side), []).append(pull)
    rows = []
    for (image, network, side), cell in cells.items():
        ratios = [p.seconds / base[p.image, p.network, p.round] for p in cell
                  if (p.image, p.network, p.round) in base]
        trip = 2 * (FAR_DELAY_MS if network == FAR else NETWORKS[network][1]) / 1000
        # What is left when one round trip is taken off, which an absent artifact may cost.
        less = [(p.seconds - trip) / base[p.image, p.network, p.round] for p in cell
                if (p.image, p.network, p.round) in base]
        rows.append({
            "image": image, "network": network, "side": side, "runs": len(cell),
            "seconds": round(statistics.median(p.seconds for p in cell), 3),
            "ratio": round(statistics.median(ratios), 3) if ratios else None,
            "ratio_less_round_trip": round(statistics.median(less), 3) if less else None,
            "requests": sorted({p.requests for p in cell}),
            "calls": {call: round(statistics.median(p.calls.get(call, 0) for p in cell), 4)
                      for call in cell[0].calls},
            "node_cpu": round(statistics.median(p.node_cpu for p in cell), 3)})
    return rows


def print_table(rows: list[dict]) -> None:
    print(f"\n{'image':<9}{'network':<12}{'side':<13}{'seconds':>8}{'/without':>9}"
          f"{'less 1 rtt':>11}{'requests':>10}{'node cpu':>9}  in the snapshotter")
    for row in rows:
        calls = " ".join(f"{call} {spent:.3f}" for call, spent in row["calls"].items()
                         if spent >= 0.001)
        print(f"{row['image']:<9}{row['network']:<12}{row['side']:<13}{row['seconds']:>8.3f}"
              f"{row['ratio'] or 0:>9.3f}{row['ratio_less_round_trip'] or 0:>11.3f}"
              f"{','.join(map(str, row['requests'])):>10}{row['node_cpu']:>9.3f}  {calls}")


def listed(text: str, known: tuple[str, ...]) -> list[str]:
    for one in text.split(","):
        if one not in known:
            raise argparse.ArgumentTypeError(f"no {one!r}; there are {', '.join(known)}")
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/ordinary-pulls", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    known = (SMALL, *sorted(path.name for path in (ROOT / "images").iterdir()))
    networks = (FAR, *NETWORKS)
    parser.add_argument("--image", type=lambda text: listed(text, known), default=["python"])
    parser.add_argument("--network", type=lambda text: listed(text, networks),
                        default=["1g-2ms"])
    parser.add_argument("--side", type=lambda text: listed(text, SIDES),
                        default=["without", "with"])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", type=Path, help="every pull, and the summary")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all daemons are stopped
    directory = Path(tempfile.mkdtemp(prefix="runnel-ordinary-",
                                      dir=os.environ.get("TMPDIR", "/var/tmp")))
    pulls: list[Pull] = []
    with Bench(directory, options.side) as bench:
        for image in options.image:
            for network in options.network:
                pulls += bench.rounds(image, network, options.runs,
                                      lambda text: print(text, flush=True))
    rows = summaries(pulls)
    print_table(rows)
    if options.json:
        options.json.write_text(json.dumps({"summary": rows, "pulls": [asdict(p) for p in pulls]},
                                           indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

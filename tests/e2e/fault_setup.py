"""What the fault tests are made of: an image of known files behind a lying registry, a node with
injected faults, readers; shared with the long run (fault_run.py)."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import known_files
import pytest
from fault_report import Entry
from liar import Liar
from readers import Evictor, Readers, device_names
from runnel_env import STAYS_SERVED, Lab, Pushed, Streaming, all_engines
from sandbox import daemons, images, services

# Where a worker is killed; see src/cache/fault.h.
POINTS = ["request-read", "mid-fetch", "arrived", "before-write", "before-sync",
          "between-sync-and-bitmap", "between-bitmap-and-sync"]

LAYER = "application/vnd.runnel.layer.v1"

LIES = [{"kind": "cut"}, {"kind": "cut", "reset": True}, {"kind": "flip"}, {"kind": "garbage"},
        {"kind": "zeros"}, {"kind": "swap"}, {"kind": "other_range"}, {"kind": "wrong_range"},
        {"kind": "whole"}, {"kind": "part_as_whole"}, {"kind": "long"}, {"kind": "drop"},
        {"kind": "stall", "seconds": 0.5}, {"kind": "slow", "rate": 2_000_000},
        {"kind": "status", "status": 500}, {"kind": "status", "status": 503},
        {"kind": "status", "status": 416}, {"kind": "status", "status": 401},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
        {"kind": "redirect"}]


def on(*ways: str):
    """The ways of mounting that a test tries by default; the others are for the heavy run."""
    return pytest.mark.parametrize("engine", [way if way in ways else pytest.param(
        way, marks=pytest.mark.heavy) for way in all_engines()])


def lie_at_random(probability: float) -> dict:
    """About parts of blobs only: manifests and boot blobs are the pull's, which may be refused."""
    return {"name": "random", "method": "GET", "path": "/blobs/", "ranged": True,
            "probability": probability, "lie": LIES}


def push_known_files(lab: Lab, name: str, files: int = known_files.FILES) -> Pushed:
    tar = known_files.write_tar(lab.directory(name) / "layer.tar", files=files)
    pushed = lab.push(name, [tar])
    services.convert(pushed.reference)
    return pushed


def layer_blob(reference: str) -> dict:
    """The descriptor of the topmost layer's blob in the artifact."""
    (entry,) = images.referrers(reference)
    _, artifact = images.manifest_of(f"{reference.rpartition(':')[0]}@{entry['digest']}")
    return [blob for blob in artifact["layers"] if blob["mediaType"] == LAYER][-1]


def set_faults(file: Path, faults: str, *, stays_served: bool = True) -> None:
    """What a node with RUNNEL_FAULT=@`file` meets from now on: at no moment is there half of it."""
    unfinished = file.with_suffix(".new")
    unfinished.write_text(",".join(filter(None, [STAYS_SERVED if stays_served else "", faults])))
    unfinished.replace(file)


@dataclass
class Scene:
    """A node behind a liar, with the image pulled and its snapshot mounted at `root`."""

    side: Streaming
    liar: Liar
    root: Path
    fault_file: Path
    entry: Entry

    @property
    def node(self) -> services.Node:
        return self.side.node

    def inject(self, faults: str) -> None:
        """For the worker that runs, and for those after it until one has died of it; see
        src/cache/fault.h. "" for none."""
        set_faults(self.fault_file, faults)

    @contextmanager
    def readers(self, *groups: str, evict: bool = True, **options):
        """Readers whose counts go to the report, however the block ends."""
        groups = groups or ("read,pread", "mmap")
        readers = Readers(self.root, groups, **options)
        try:
            with readers:
                if evict:
                    with Evictor(self.node.root):
                        yield readers
                else:
                    yield readers
        finally:
            self.entry.take(readers)
            self.entry.lies.update(self.liar.counters()["lies"])
            self.liar.forget()
        assert readers.wrong == [], readers.describe()

    def kill_worker(self) -> None:
        self.side.kill_worker()

    def worker(self) -> int:
        return self.node.running_worker()

    def wait_for_another(self, than: int) -> int:
        return self.side.wait_for_another_worker(than)

    def forget_cache(self) -> None:
        """Kills the worker and deletes what it had cached before the holder starts another."""
        worker = self.worker()
        holder = self.node.daemon.pid
        os.kill(holder, signal.SIGSTOP)
        try:
            daemons.end([worker], signal.SIGKILL)
            for name in device_names(self.node.root):
                shutil.rmtree(self.node.root / "cache" / name)
        finally:
            os.kill(holder, signal.SIGCONT)
        self.wait_for_another(worker)


@contextmanager
def scene(lab: Lab, pushed: Pushed, engine: str, entry: Entry, seed: int = 1,
          read_timeout: int = 60, root: Path | None = None, background_fill: bool = False):
    """Set up, pulled honestly, mounted; taken down again whatever happened in between."""
    repository = pushed.reference.partition("/")[2]
    with Liar(lab.registry.host, seed=seed) as liar:
        fault_file = lab.directory("faults") / "faults"
        set_faults(fault_file, "")
        side = Streaming(lab, engine, registry=liar.host, root=root, background_fill=background_fill,
                         more_arguments=("--read-timeout", str(read_timeout)),
                         env={"RUNNEL_FAULT": f"@{fault_file}"})
        try:
            side.start()
            reference = f"{liar.host}/{repository}"
            side.pull(reference)
            status = side.image_status(reference)
            assert status["reason"] == "Streaming", status
            with side.containerd.view(pushed.image.chain_ids[-1]) as mounted:
                made = Scene(side, liar, mounted, fault_file, entry)
                try:
                    yield made
                except BaseException:
                    print(f"node of {entry.name} {engine}:\n{side.node.daemon.last_words(60)}")
                    raise
                finally:
                    liar.honest()
                    made.inject("")
                    side.wait_for_containerd()
        finally:
            side.close()


# Syncs happen once a second, the other points are passed with every read.
LATEST_PASS = {"before-sync": 2, "between-sync-and-bitmap": 2, "between-bitmap-and-sync": 2}


def kill_at_points(scene: Scene, readers: Readers, points: list[str], hits: int, seed: int) -> None:
    """Lets workers die at each point so often, each at a pass that the seed picks."""
    chosen = random.Random(seed)
    for point in points:
        for hit in range(hits):
            if hit % 10 == 0 or point in LATEST_PASS:  # what is cached passes few points
                scene.forget_cache()
            scene.inject(f"{point}:kill:{chosen.randint(1, LATEST_PASS.get(point, 10))}")
            wait_for_death(scene, point)
            scene.entry.faults[f"kill at {point}"] += 1
            scene.worker()
    scene.inject("")
    scene.kill_worker()
    readers.progress(50, 60)


def wait_for_death(scene: Scene, point: str) -> None:
    """Of a worker that passes the point: it removes all faults then, and mounts have to stay served. When
    nothing does, there is nothing left to fetch."""
    for _ in range(8):
        end = time.monotonic() + 10
        while scene.fault_file.exists() and time.monotonic() < end:
            time.sleep(0.002)
        if not scene.fault_file.exists():
            scene.inject("")
            return
        scene.forget_cache()
    raise AssertionError(f"no worker passes {point}")

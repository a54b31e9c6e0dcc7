"""Proof 5: killing the worker at any moment costs a pause, not a byte."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from sandbox import daemons, services
from sandbox.containerd import CommandError, drop_page_cache

KILLS = 50
READERS = 4
FILES = 400


def content(number: int) -> bytes:
    """Between 0 and 400 KiB, half of it noise, the same for the same number."""
    seeded = random.Random(number)
    size = seeded.choice([0, 100, 5_000, 40_000, 150_000, 400_000])
    return (seeded.randbytes(size // 2) + bytes(size // 4)
            + str(number).encode() * (size // 4))[:size]


@pytest.fixture(scope="module")
def pushed(lab):
    import io
    import tarfile
    path = lab.directory("death") / "layer.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(FILES):
            data = content(number)
            info = tarfile.TarInfo(f"d{number % 20}/f{number}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    pushed = lab.push("worker-death", [path])
    services.convert(pushed.reference)
    return pushed


class Readers:
    """Threads that read every file over and over, whole, and compare hashes."""

    def __init__(self, root: Path):
        self.root = root
        self.expected = {number: hashlib.sha256(content(number)).hexdigest()
                         for number in range(FILES)}
        self.stop = threading.Event()
        self.wrong: list[str] = []
        self.errors: list[str] = []
        self.read = 0
        self.slowest = 0.0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(seed,), daemon=True)
                        for seed in range(READERS)]

    def __enter__(self) -> "Readers":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(90)

    def _run(self, seed: int) -> None:
        order = random.Random(seed)
        while not self.stop.is_set():
            self._check(order.randrange(FILES))

    def _check(self, number: int) -> None:
        begin = time.monotonic()
        try:
            data = (self.root / f"d{number % 20}/f{number}").read_bytes()
            found = hashlib.sha256(data).hexdigest()
        except OSError as error:
            found = f"errno {error.errno}"
        took = time.monotonic() - begin
        with self.lock:
            self.read += 1
            self.slowest = max(self.slowest, took)
            if found.startswith("errno"):
                self.errors.append(f"f{number}: {found}")
            elif found != self.expected[number]:
                self.wrong.append(f"f{number}")

    def progress(self, files: int, seconds: float) -> bool:
        """Waits until so many more files were read."""
        target = self.read + files
        deadline = time.monotonic() + seconds
        while self.read < target and time.monotonic() < deadline:
            time.sleep(0.002)
        return self.read >= target


def kill_worker(node: services.Node) -> int:
    daemons.wait_until(lambda: node.worker is not None, 30, "a worker runs")
    worker = node.worker
    os.kill(worker, signal.SIGKILL)
    daemons.wait_until(lambda: node.worker not in (None, worker), 30, "another worker runs")
    return worker


def wait_for_containerd(side) -> None:
    """containerd's connection to the snapshotter comes back with gRPC's back-off."""
    def answers() -> bool:
        try:
            side.containerd.snapshots()
        except CommandError:
            return False
        return True
    daemons.wait_until(answers, 60, "containerd reaches the snapshotter again")


def test_killing_the_worker_costs_no_byte(fresh_streaming, engine, pushed):
    side = fresh_streaming(engine)
    side.pull(pushed.reference)
    pace = random.Random(5)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
        for _ in range(KILLS):
            drop_page_cache()
            assert readers.progress(pace.randrange(1, 40), 60), "readers are stuck"
            kill_worker(side.node)
        assert readers.progress(FILES, 60), "readers are stuck after the last kill"
        wait_for_containerd(side)

    print(f"{engine}: {readers.read} reads, {KILLS} kills, slowest {readers.slowest:.2f} s, "
          f"{len(readers.wrong)} wrong, errors {readers.errors[:5]}")
    assert not any(thread.is_alive() for thread in readers.threads), "a read did not end"
    assert readers.wrong == []
    assert readers.errors == []
    assert readers.slowest < 60


def test_losing_holder_and_worker_gives_errors_and_never_zeros(fresh_streaming, engine, pushed):
    side = fresh_streaming(engine)
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
        assert readers.progress(20, 60)
        holder, worker = side.node.daemon.pid, side.node.worker
        for pid in (holder, worker):
            os.kill(pid, signal.SIGSTOP)
        for pid in (holder, worker):
            os.kill(pid, signal.SIGKILL)
        daemons.wait_until(lambda: not daemons.is_running(holder), 30, "the holder is gone")
        drop_page_cache()
        readers.progress(FILES, 60)
        readers.stop.set()
        side.node.start()
        wait_for_containerd(side)
    assert not any(thread.is_alive() for thread in readers.threads), "a read did not end"
    assert readers.wrong == []
    assert readers.errors, "reads go on without anybody who could answer them"
    assert all("errno" in error for error in readers.errors)

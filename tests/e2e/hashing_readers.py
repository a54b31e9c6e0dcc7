"""Threads that hash files of known content over and over, for tests that restart what serves them."""

from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import tarfile
import threading
import time
from pathlib import Path

from sandbox import daemons, services

READERS = 4
FILES = 400


def content(number: int) -> bytes:
    """Between 0 and 400 KiB, half of it noise, the same for the same number."""
    seeded = random.Random(number)
    size = seeded.choice([0, 100, 5_000, 40_000, 150_000, 400_000])
    return (seeded.randbytes(size // 2) + bytes(size // 4)
            + str(number).encode() * (size // 4))[:size]


def push(lab):
    """An image with the files, converted."""
    path = lab.directory("hashed") / "layer.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(FILES):
            data = content(number)
            info = tarfile.TarInfo(f"d{number % 20}/f{number}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    pushed = lab.push("hashed", [path])
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
    worker = node.running_worker()
    os.kill(worker, signal.SIGKILL)
    node.running_worker(worker)
    return worker

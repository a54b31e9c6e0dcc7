"""Verified readers (reader.py) as processes, started, killed and counted by a test."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import known_files
from sandbox import daemons

PROGRAM = Path(__file__).resolve().parent / "reader.py"


class Reader:
    """One process. Its last words count, however it ended."""

    def __init__(self, root: Path, seed: str, threads: int, kinds: str, files: range,
                 pause: float, prefix: tuple[str, ...]):
        self.kinds = kinds
        self.counts: dict = {}
        self._process = subprocess.Popen(
            [*prefix, sys.executable, str(PROGRAM), str(root), "--seed", seed, "--threads",
             str(threads), "--kinds", kinds, "--first", str(files.start), "--files",
             str(len(files)), "--pause", str(pause)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _listen(self) -> None:
        for line in self._process.stdout:
            try:
                self.counts = json.loads(line)
            except ValueError:
                pass  # cut by SIGKILL

    def ended(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def finish(self, seconds: float) -> None:
        """Waits for the reads under way; one that does not end in time is killed and told."""
        try:
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                pass
            raise AssertionError(f"a read did not end within {seconds} s; {self.counts}") from None
        finally:
            self._thread.join(5)
        words = self._process.stderr.read()
        assert not words, words[-2000:]


class Readers:
    """Processes that read below `root`, until the block ends.

    `groups` has the kinds of read of each process: mapped files in one of their own, because a page
    that cannot be read ends the whole process with SIGBUS. Such an end counts as an error, and
    another process follows.
    """

    def __init__(self, root: Path, groups: tuple[str, ...] = ("read,pread", "mmap"),
                 threads: int = 4, seed: int = 1, files: int | range = known_files.FILES,
                 read_timeout: float = 60, pause: float = 0, prefix: tuple[str, ...] = ()):
        self.root, self.threads, self.seed = root, threads, seed
        self.files = range(files) if isinstance(files, int) else files
        self.read_timeout, self.pause, self.prefix = read_timeout, pause, prefix
        self._groups = groups
        self._ended: list[dict] = []
        self._deaths: Counter[str] = Counter()
        self._started = 0
        self._expected_deaths: set[int] = set()
        self._lock = threading.RLock()
        self._running: list[Reader] = []
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._random = random.Random(seed)

    def __enter__(self) -> "Readers":
        for kinds in self._groups:
            self._start(kinds)
        self._keeper.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._keeper.join()
        failure = None
        for reader in self._running:
            try:
                reader.finish(self.read_timeout + 30)
            except AssertionError as error:
                failure = error
            self._ended.append(reader.counts)
        self._running = []
        if failure:
            raise failure

    def _start(self, kinds: str) -> None:
        self._started += 1
        self._running.append(Reader(self.root, f"{self.seed}/{self._started}", self.threads, kinds,
                                    self.files, self.pause, self.prefix))

    def _keep(self) -> None:
        """Replaces processes that have died, however they did."""
        while not self._stop.wait(0.02):
            with self._lock:
                for reader in [r for r in self._running if r.ended() is not None]:
                    self._running.remove(reader)
                    self._deaths[_cause(reader.ended())] += 1
                    self._ended.append(reader.counts)
                    self._start(reader.kinds)

    @property
    def pids(self) -> list[int]:
        with self._lock:
            return [reader.pid for reader in self._running]

    def kill_one(self) -> None:
        """SIGKILL, with whatever it has under way."""
        with self._lock:
            self._random.choice([r for r in self._running if r.ended() is None]).kill()

    # Counts, over all processes that ever ran -------------------------------------------------------

    def _all(self) -> list[dict]:
        with self._lock:
            return [c for c in [*self._ended, *(r.counts for r in self._running)] if c]

    def _sum(self, name: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for counts in self._all():
            total.update(counts[name])
        return total

    @property
    def reads(self) -> Counter[str]:
        return self._sum("reads")

    @property
    def errors(self) -> Counter[str]:
        """By errno; SIGBUS counts here."""
        found = self._sum("errors")
        if self._deaths["SIGBUS"]:
            found["SIGBUS"] = self._deaths["SIGBUS"]
        return found

    @property
    def deaths(self) -> Counter[str]:
        return Counter(self._deaths)

    @property
    def wrong(self) -> list[str]:
        return [text for counts in self._all() for text in counts["wrong"]]

    @property
    def slowest(self) -> float:
        return max((max(c["slowest"], c["longest_now"]) for c in self._all()), default=0.0)

    @property
    def total(self) -> int:
        return self.reads.total()

    @property
    def good(self) -> int:
        return self.total - self._sum("errors").total()

    def progress(self, reads: int, seconds: float) -> None:
        """Waits until so many more reads were right."""
        target = self.good + reads
        daemons.wait_until(lambda: self.good >= target or self.wrong, seconds,
                           f"{reads} more right reads; {self.describe()}")

    def wait_for_errors(self, seconds: float, number: int = 1) -> None:
        target = self.errors.total() + number
        daemons.wait_until(lambda: self.errors.total() >= target or self.wrong, seconds,
                           f"reads that fail; {self.describe()}")

    def recovered(self, seconds: float) -> None:
        """Waits until every process has read something right that it began after now.

        A file's pages that failed are read anew; nothing is remounted.
        """
        now = time.monotonic()

        def all_good() -> bool:
            with self._lock:
                return bool(self.wrong) or all(r.counts.get("last_good", 0) > now
                                               for r in self._running)
        daemons.wait_until(all_good, seconds, f"right reads after the fault; {self.describe()}")

    def describe(self) -> str:
        return (f"{self.total} reads {dict(self.reads)}, {len(self.wrong)} wrong {self.wrong[:3]}, "
                f"errors {dict(self.errors)}, deaths {dict(self._deaths)}, "
                f"slowest {self.slowest:.2f} s")


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


class Evictor:
    """Drops the pages of the node's devices all the time, so that reads reach the node.

    Only these: dropping every page of the machine would be paid by whoever works beside the test.
    """

    def __init__(self, node_root: Path, pause: float = 0.05):
        self._directory = node_root / "devices"
        self._pause = pause
        self._fds: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Evictor":
        for name in device_names(self._directory.parent):
            self._fds.append(os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC))
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()
        for fd in self._fds:
            os.close(fd)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            for fd in self._fds:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def device_names(node_root: Path) -> list[str]:
    """The layers that have a file in the cache; FUSE lists none."""
    return sorted({path.name for path in (node_root / "cache").rglob("*")
                   if path.is_dir() and len(path.name) == 64})

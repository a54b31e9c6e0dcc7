"""What a group of processes costs, those that have ended included: a control group keeps the account.

Anonymous memory is sampled every few milliseconds and the most is kept; memory.peak would count the
page cache too, which the kernel gives to whoever reads a file. Sampling costs a third of a processor,
which whoever uses both misses: a run is timed or sampled.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sandbox import daemons, scratch

SAMPLE_SECONDS = 0.005
_numbers = itertools.count()


@dataclass
class Cost:
    seconds: float
    cpu_seconds: float
    peak_anonymous_bytes: int  # 0: not sampled
    peak_resident_bytes: int  # programs' and libraries' mapped pages too, in each process that has them


def _hierarchies() -> tuple[Path, Path, bool]:
    """Where memory and processor time are counted; whether that is version 2."""
    v1, v2 = {}, None
    for mount in scratch.mounts():
        if mount.fs_type == "cgroup2":
            v2 = Path(mount.point)
        if mount.fs_type == "cgroup":
            for controller in mount.point.rpartition("/")[2].split(","):
                v1[controller] = Path(mount.point)
    if "memory" in v1 and "cpuacct" in v1:
        return v1["memory"], v1["cpuacct"], False
    if v2 and "memory" in (v2 / "cgroup.subtree_control").read_text().split():
        return v2, v2, True
    raise RuntimeError("no mounted control group hierarchy counts memory and processor time")


class Account:
    """Whoever is started with argv(), and whoever they start."""

    def __init__(self, sampled: bool = True):
        self.sampled = sampled
        memory, cpu, self.v2 = _hierarchies()
        name = f"runnel-bench-{os.getpid()}-{next(_numbers)}"
        self.memory, self.cpu = memory / name, cpu / name
        self.groups = sorted({self.memory, self.cpu})
        for group in self.groups:
            group.mkdir()
        self.begin()
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        if sampled:
            self._sampler.start()

    def argv(self, argv: list[str]) -> list[str]:
        """The same command, with everything that it does on this account."""
        enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in self.groups)
        return ["/bin/sh", "-c", enter + 'exec "$@"', "sh", *argv]

    def begin(self) -> None:
        """From now on."""
        self._anonymous = self._resident = 0
        self._cpu = self._cpu_seconds()
        self._start = time.monotonic()

    def cost(self) -> Cost:
        """Since begin()."""
        seconds = time.monotonic() - self._start
        if self.sampled and not self._sampler.is_alive():
            raise RuntimeError("the memory is not sampled any more: what is known of it is too little")
        return Cost(seconds, self._cpu_seconds() - self._cpu, self._anonymous, self._resident)

    def close(self) -> None:
        self._stop.set()
        if self.sampled:
            self._sampler.join()
        daemons.end(self._pids(), signal.SIGKILL)
        for group in self.groups:
            daemons.wait_until(lambda group=group: _removed(group), 10, f"{group} to be empty")

    def __enter__(self) -> "Account":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _pids(self) -> list[int]:
        return [int(pid) for pid in (self.memory / "cgroup.procs").read_text().split()]

    def _cpu_seconds(self) -> float:
        if self.v2:
            lines = (self.cpu / "cpu.stat").read_text().splitlines()
            return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6
        return int((self.cpu / "cpuacct.usage").read_text()) / 1e9

    def _sample(self) -> None:
        field = "anon " if self.v2 else "total_rss "
        while not self._stop.wait(SAMPLE_SECONDS):
            for line in (self.memory / "memory.stat").read_text().splitlines():
                if line.startswith(field):
                    self._anonymous = max(self._anonymous, int(line.split()[1]))
            self._resident = max(self._resident, sum(map(_resident, self._pids())))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return not group.exists()
    return True

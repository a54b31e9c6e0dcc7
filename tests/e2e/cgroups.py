"""Control groups for tests: version 1 for memory and its freezer, version 2 for kill and freeze.

Each group is this test's own, removed at the end; whoever is still in it then is killed first.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from sandbox import daemons, scratch


def hierarchy(kind: str) -> Path:
    """Where "v2", "memory" or "freezer" (version 1) is mounted; the test is skipped without."""
    for mount in scratch.mounts():
        if kind == "v2" and mount.fs_type == "cgroup2":
            return Path(mount.point)
        if mount.fs_type == "cgroup" and mount.point.rpartition("/")[2].split(",").count(kind):
            return Path(mount.point)
    pytest.skip(f"needs: a mounted cgroup hierarchy ({kind})")


class Group:
    def __init__(self, kind: str, name: str):
        self.kind = kind
        self.path = hierarchy(kind) / f"runnel-test-{os.getpid()}-{name}"

    def __enter__(self) -> "Group":
        self.path.mkdir()
        self._home = {}
        return self

    def __exit__(self, *_) -> None:
        if self.kind in ("v2", "freezer"):
            self.thaw()
        daemons.end(self.pids(), signal.SIGKILL)
        deadline = time.monotonic() + 10
        while True:
            try:
                return self.path.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def pids(self) -> list[int]:
        return [int(pid) for pid in self.get("cgroup.procs").split()]

    def add(self, *pids: int) -> None:
        """Processes that they start afterwards are in it too."""
        for pid in pids:
            self.set("cgroup.procs", pid)

    def leave(self, *pids: int) -> None:
        for pid in pids:
            (self.path.parent / "cgroup.procs").write_text(str(pid))

    def set(self, file: str, value: int | str) -> None:
        (self.path / file).write_text(f"{value}")

    def get(self, file: str) -> str:
        return (self.path / file).read_text()

    def value(self, file: str, key: str) -> int:
        """Of a file of "key value" lines."""
        return int(dict(line.split() for line in self.get(file).splitlines())[key])

    def kill(self) -> None:
        """Everyone in one instant."""
        self.set("cgroup.kill", 1)

    def freeze(self) -> None:
        if self.kind == "v2":
            self.set("cgroup.freeze", 1)
        else:
            self.set("freezer.state", "FROZEN")

    def frozen(self) -> bool:
        if self.kind == "v2":
            return self.value("cgroup.events", "frozen") == 1
        return self.get("freezer.state").strip() == "FROZEN"

    def thaw(self) -> None:
        if self.kind == "v2":
            self.set("cgroup.freeze", 0)
        else:
            self.set("freezer.state", "THAWED")

    def oom_kills(self) -> int:
        return self.value("memory.oom_control", "oom_kill")

#!/usr/bin/python3
"""The fault matrix for as long as one likes: readers read, and faults that a seed picks come and go.

    tests/e2e/fault_run.py [--minutes N] [--seed S] [--engine WAY] [--report FILE]

Made of the parts that the tests use. Prints what happens as it happens; at the end the counts, also
as JSON (build/reports/fault-run.json). Exit code 1 when a byte was wrong, a read did not end or did
not come back after its fault. Needs root.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools"), str(HERE.parent / "support")]

from cgroups import Group  # noqa: E402
from disks import Disk  # noqa: E402
from fault_report import Report  # noqa: E402
from fault_setup import (LATEST_PASS, POINTS, Scene, lie_at_random, push_known_files,  # noqa: E402
                         scene, wait_for_death)
from readers import Readers  # noqa: E402
from runnel_env import Lab, engines  # noqa: E402
from sandbox import daemons, services  # noqa: E402

READ_TIMEOUT = 5


class Faults:
    """One fault each; a method returns when the fault is over."""

    def __init__(self, now: Scene, readers: Readers, disk: Disk, seeded: random.Random):
        self.now, self.readers, self.disk, self.random = now, readers, disk, seeded

    def worker_killed(self) -> None:
        self.now.kill_worker()

    def worker_killed_at_a_point(self) -> None:
        point = self.random.choice(POINTS)
        self.now.inject(f"{point}:kill:{self.random.randint(1, LATEST_PASS.get(point, 5))}")
        self.now.forget_cache()
        wait_for_death(self.now, point)

    def reader_killed(self) -> None:
        self.readers.kill_one()

    def cache_gone(self) -> None:
        self.now.forget_cache()

    def system_call_fails(self) -> None:
        self.now.inject(self.random.choice(["write:ENOSPC", "fdatasync:EIO", "bits:EIO"]))
        self.now.kill_worker()
        self._wait(2)
        self.now.inject("")
        self.now.kill_worker()

    def disk_full(self) -> None:
        self.disk.fill()
        self._wait(2)
        self.disk.drain()

    def file_system_frozen(self) -> None:
        self.disk.freeze()
        self._wait(2)
        self.disk.thaw()

    def worker_stopped(self) -> None:
        worker = self.now.worker()
        os.kill(worker, signal.SIGSTOP)
        if self.random.random() < 0.5:
            self._wait(1)
            os.kill(worker, signal.SIGCONT)
        else:
            self.now.wait_for_another(worker)

    def worker_frozen(self) -> None:
        with Group(self.random.choice(["freezer", "v2"]), "run-worker") as group:
            worker = self.now.worker()
            group.add(worker)
            group.freeze()
            self._wait(self.random.choice([1, 2 * READ_TIMEOUT]))
            group.thaw()
            if daemons.is_running(worker):
                group.leave(worker)

    def worker_out_of_memory(self) -> None:
        with Group("memory", "run-memory") as group:
            group.set("memory.limit_in_bytes", 3 << 20)
            worker = self.now.worker()
            group.add(worker)
            self.now.forget_cache()

    def descriptors_exhausted(self) -> None:
        worker = self.now.worker()
        _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, hard))
        self._wait(1)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (hard, hard))

    def registry_gone(self) -> None:
        self.now.liar.down()
        self._wait(self.random.choice([1, 3 * READ_TIMEOUT]))
        self.now.liar.up()

    def _wait(self, seconds: float) -> None:
        """This long, or as long as reads go on wrong; the faults' length is what is tried here."""
        end = time.monotonic() + seconds
        daemons.wait_until(lambda: time.monotonic() > end or self.readers.wrong, seconds + 60, "time")


NAMES = [name for name in vars(Faults) if not name.startswith("_")]


def run(lab: Lab, report: Report, options: argparse.Namespace) -> None:
    seeded = random.Random(options.seed)
    pushed = push_known_files(lab, "fault-run")
    end = time.monotonic() + options.minutes * 60
    entry = report.entry(f"fault_run --seed {options.seed}", options.engine)
    with Disk(lab.directory("disk")) as disk, \
            scene(lab, pushed, options.engine, entry, seed=options.seed, read_timeout=READ_TIMEOUT,
                  root=disk.point / "root") as now:
        now.liar.rules(lie_at_random(0.1), seed=options.seed)
        with now.readers("read,pread,direct", "mmap", "exec") as readers:
            faults = Faults(now, readers, disk, seeded)
            while time.monotonic() < end and not readers.wrong:
                name = seeded.choice(NAMES)
                getattr(faults, name)()
                entry.faults[name.replace("_", " ")] += 1
                now.liar.rules()
                readers.recovered(60)
                now.liar.rules(lie_at_random(0.1), seed=seeded.randrange(1 << 30))
                print(f"{name}: {readers.describe()}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", default=engines()[0])
    parser.add_argument("--report", type=Path,
                        default=services.project_root() / "build/reports/fault-run.json")
    options = parser.parse_args()

    report = Report()
    lab = Lab(Path(tempfile.mkdtemp(prefix="runnel-faults-",
                                    dir=os.environ.get("TMPDIR", "/var/tmp"))))
    failure = None
    try:
        lab.start()
        run(lab, report, options)
    except (AssertionError, daemons.DaemonError) as error:
        failure = error
    finally:
        left = lab.close()
    print("\n".join(report.lines()))
    print(f"written to {report.write(options.report)}")
    for line in left:
        print(f"left behind: {line}")
    if failure:
        print(f"failed: {failure}")
    return 1 if failure or left or report.totals()["wrong_reads"] else 0


if __name__ == "__main__":
    sys.exit(main())

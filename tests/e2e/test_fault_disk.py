"""The fault matrix, disks: the cache's file system is full, loses writes, is frozen, read-only."""

from __future__ import annotations

import os
import signal

import pytest

from disks import Disk
from fault_setup import on, push_known_files, scene
from sandbox import daemons


@pytest.fixture(scope="module")
def pushed(lab):
    return push_known_files(lab, "fault-disk")


@pytest.fixture
def entry(fault_report, request, engine):
    return fault_report.entry(request.node.originalname, engine)


def cached_bytes(now) -> int:
    """Blocks that the device files occupy."""
    return sum(path.stat().st_blocks * 512 for path in (now.node.root / "cache").glob("*/device"))


@on("erofs-file")
def test_a_full_disk_costs_what_is_not_there_yet(lab, pushed, engine, entry):
    with Disk(lab.directory("full")) as disk, \
            scene(lab, pushed, engine, entry, seed=31, root=disk.point / "root") as now:
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            disk.fill()
            entry.faults["disk full at write"] += 1
            readers.wait_for_errors(60, 10)
            now.kill_worker()
            entry.faults["worker killed while the disk is full"] += 1
            readers.wait_for_errors(60, 10)
            disk.drain()
            readers.recovered(60)
            before = cached_bytes(now)
            readers.progress(100, 90)
            daemons.wait_until(lambda: cached_bytes(now) > before, 120, "chunks are kept again")
        assert set(readers.errors) <= {"5", "SIGBUS"}, readers.describe()


@on("erofs-loop")
def test_writes_that_are_lost_later_never_reach_a_reader(lab, pushed, engine, entry):
    """The file system notices in the end and turns read-only; the reads of this worker go on."""
    with Disk(lab.directory("thin"), backing_megabytes=60) as disk, \
            scene(lab, pushed, engine, entry, seed=32, root=disk.point / "root") as now:
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            disk.overdraw()
            entry.faults["writes lost at writeback"] += 1
            readers.progress(300, 90)
        assert readers.errors.total() == 0, readers.describe()


@on("erofs-loop")
@pytest.mark.parametrize("fault", [
    "fdatasync:EIO", *(pytest.param(f, marks=pytest.mark.heavy) for f in ("write:ENOSPC", "bits:EIO"))])
def test_a_system_call_that_fails_costs_the_cache_and_not_the_reader(lab, pushed, engine, entry,
                                                                     fault):
    with scene(lab, pushed, engine, entry, seed=33) as now:
        with now.readers("read,pread", "mmap") as readers:
            now.inject(fault)
            now.kill_worker()
            entry.faults[fault] += 1
            readers.progress(100, 90)
            now.inject("")
            now.kill_worker()
            readers.recovered(60)
        assert readers.errors.total() == 0, readers.describe()


@on("erofs-file")
def test_a_frozen_file_system_delays_reads_for_a_bounded_time(lab, pushed, engine, entry):
    with Disk(lab.directory("frozen")) as disk, \
            scene(lab, pushed, engine, entry, seed=34, root=disk.point / "root",
                  read_timeout=3) as now:
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            for _ in range(2):
                disk.freeze()
                entry.faults["file system frozen"] += 1
                before = readers.total
                daemons.wait_until(lambda: readers.total > before + 300, 90, "reads end")
                disk.thaw()
                readers.recovered(60)
            disk.freeze()
            os.kill(now.worker(), signal.SIGKILL)  # which waits, if it must, for the disk
            entry.faults["worker killed while the file system is frozen"] += 1
            readers.wait_for_errors(60, 10)
            disk.thaw()
            readers.recovered(60)
        assert set(readers.errors) <= {"5", "SIGBUS"}, readers.describe()
        assert readers.slowest < 30, readers.describe()


@on("erofs-loop")
def test_a_file_system_that_turns_read_only_costs_the_cache_and_not_the_reader(lab, pushed, engine,
                                                                               entry):
    with Disk(lab.directory("readonly")) as disk, \
            scene(lab, pushed, engine, entry, seed=35, root=disk.point / "root") as now:
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            disk.fail()
            entry.faults["file system read-only"] += 1
            readers.progress(200, 90)
        assert readers.errors.total() == 0, readers.describe()

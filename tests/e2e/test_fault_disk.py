"""The fault matrix, disks: the cache's file system is full, loses writes, is frozen, read-only."""

from __future__ import annotations

import os
import signal

import pytest

import known_files
from disks import Disk
from fault_setup import Scene, on, push_known_files, scene
from readers import device_names
from sandbox import daemons, services


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


def as_seen_by(now: Scene, pushed) -> str:
    """The image's reference as the scene's containerd pulls it."""
    return f"{now.liar.host}/{pushed.reference.partition('/')[2]}"


def wait_for_reason(now: Scene, reference: str, reason: str) -> None:
    daemons.wait_until(lambda: now.side.reason_now(reference) == reason, 60,
                       f"{reference} has the reason {reason}")


@on("erofs-file")
def test_layers_that_cannot_be_opened_keep_no_worker_from_serving(lab, pushed, engine, entry):
    """The same worker opens them when the disk gives them again."""
    with scene(lab, pushed, engine, entry, seed=36) as now:
        reference = as_seen_by(now, pushed)
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            now.inject("open-layer:EIO")
            now.kill_worker()
            entry.faults["layers cannot be opened"] += 1
            wait_for_reason(now, reference, "SourceUnavailable")
            readers.wait_for_errors(60, 10)
            worker = now.worker()
            now.inject("")
            readers.recovered(60)
            wait_for_reason(now, reference, "Streaming")
            assert now.worker() == worker
        assert set(readers.errors) <= {"5", "SIGBUS"}, readers.describe()


@on("erofs-file")
def test_a_worker_starts_on_a_full_disk_though_layers_were_deleted_to_make_room(lab, pushed, engine,
                                                                                entry):
    """There is no block for their directories; what is here of other images is read all the same."""
    tar = known_files.write_tar(lab.directory("evicted") / "layer.tar", first=1000, files=20)
    evicted = lab.push("evicted", [tar])
    services.convert(evicted.reference)
    with Disk(lab.directory("full-again")) as disk, \
            scene(lab, pushed, engine, entry, seed=37, root=disk.point / "root",
                  background_fill=True) as now:
        def complete() -> bool:
            layers = now.side.image_status(as_seen_by(now, pushed))["layers"]
            return bool(layers) and all(layer["complete"] for layer in layers)

        def deleted() -> bool:
            now.node.clear()
            return set(device_names(now.node.root)) == kept

        def read_evicted() -> None:
            with now.side.containerd.view(evicted.image.chain_ids[-1]) as root:
                assert (root / known_files.name(1003)).read_bytes() == known_files.content(1003)

        daemons.wait_until(complete, 120, "the image that is read is here")
        kept = set(device_names(now.node.root))
        now.side.pull(as_seen_by(now, evicted))
        read_evicted()
        daemons.wait_until(deleted, 60, "the other image's layer is deleted")
        disk.fill()
        with now.readers("read,pread", "mmap") as readers:
            now.kill_worker()
            entry.faults["worker killed while the disk is full"] += 1
            wait_for_reason(now, as_seen_by(now, evicted), "DiskFull")
            worker = now.worker()
            readers.progress(100, 90)
            disk.drain()
            wait_for_reason(now, as_seen_by(now, evicted), "Streaming")
            read_evicted()
            assert now.worker() == worker
        assert readers.errors.total() == 0, readers.describe()


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

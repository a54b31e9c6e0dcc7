"""The fault matrix, processes: readers, worker and holder are killed, frozen, starved."""

from __future__ import annotations

import os
import resource
import signal

import known_files
import pytest

from cgroups import Group
from fault_setup import layer_blob, on, push_known_files, scene
from readers import Readers
from sandbox import daemons

ALL_KINDS = ("read,pread,direct", "mmap", "exec")


@pytest.fixture(scope="module")
def pushed(lab):
    return push_known_files(lab, "fault-processes")


@pytest.fixture
def entry(fault_report, request, engine):
    return fault_report.entry(request.node.originalname, engine)


@on("erofs-loop")
def test_readers_die_with_their_pages_in_flight(lab, pushed, engine, entry):
    with scene(lab, pushed, engine, entry, seed=21) as now:
        now.liar.rules({"ranged": True, "probability": 0.5,
                        "lie": {"kind": "stall", "seconds": 0.1}}, seed=21)
        with now.readers(*ALL_KINDS, files=60) as readers:  # few files: all want the same pages
            for _ in range(15):
                readers.progress(10, 60)
                readers.kill_one()
                entry.faults["reader killed"] += 1
            now.liar.honest()
            readers.recovered(60)
        assert readers.errors.total() == 0, readers.describe()


@on("erofs-file")
def test_the_out_of_memory_killer_takes_readers_and_workers(lab, pushed, engine, entry):
    with scene(lab, pushed, engine, entry, seed=22) as now, \
            Group("memory", f"worker-{engine}") as small, \
            Group("memory", f"readers-{engine}") as smaller:
        small.set("memory.limit_in_bytes", 3 << 20)
        smaller.set("memory.limit_in_bytes", 24 << 20)
        with now.readers("read,pread", "read,pread", "mmap") as readers:
            smaller.add(readers.pids[0])
            for _ in range(3):
                worker = now.worker()
                small.add(worker)
                daemons.wait_until(lambda: not daemons.is_running(worker), 60,
                                   "the worker runs out of memory")
                entry.faults["worker out of memory"] += 1
                now.wait_for_another(worker)
            daemons.wait_until(lambda: smaller.oom_kills() > 0, 60, "a reader runs out of memory")
            entry.faults["reader out of memory"] += smaller.oom_kills()
            readers.recovered(60)
        assert small.oom_kills() >= 3
        assert readers.errors.total() == 0, readers.describe()


@on("erofs-file")
@pytest.mark.parametrize("freezer", [
    "v2", pytest.param("freezer", marks=pytest.mark.heavy, id="v1")])
def test_frozen_readers_hold_up_nobody(lab, pushed, engine, entry, freezer):
    with scene(lab, pushed, engine, entry, seed=23) as now, \
            Group(freezer, f"readers-{engine}") as group:
        now.liar.rules({"ranged": True, "lie": {"kind": "stall", "seconds": 0.1}})
        with now.readers("read,pread", "mmap", "read,pread", files=60) as readers:
            group.add(*readers.pids[:2])
            for _ in range(3):
                readers.progress(10, 60)
                group.freeze()
                daemons.wait_until(group.frozen, 30, "the readers are frozen")
                entry.faults[f"readers frozen ({freezer})"] += 1
                readers.progress(40, 60)  # the third one's
                group.thaw()
            now.liar.honest()
            readers.recovered(60)
        assert readers.errors.total() == 0, readers.describe()


@on("erofs-file")
def test_running_out_of_descriptors_is_not_an_error(lab, pushed, engine, entry):
    with scene(lab, pushed, engine, entry, seed=24) as now:
        now.liar.rules({"ranged": True, "probability": 0.5, "lie": "cut"}, seed=24)
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            for _ in range(3):
                worker = now.worker()
                _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, hard))
                entry.faults["descriptors exhausted"] += 1
                before = readers.total
                daemons.wait_until(lambda: readers.total > before + 5 or readers.slowest > 1, 60,
                                   "readers go on, or wait")
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (hard, hard))
                readers.progress(20, 90)
                assert now.worker() == worker
            now.liar.honest()
            readers.recovered(60)
        assert readers.errors.total() == 0, readers.describe()


@on("erofs-loop")
def test_a_registry_that_is_gone_costs_time_and_nothing_else(lab, pushed, engine, entry):
    gone_over_and_over(lab, pushed, engine, entry, reads=16)


@on()
def test_a_registry_is_gone_for_long(lab, pushed, engine, entry):
    gone_over_and_over(lab, pushed, engine, entry, reads=1000)


def gone_over_and_over(lab, pushed, engine, entry, reads: int) -> None:
    """With 2 seconds to a read, so many failures in a row have used up every retry there is."""
    with scene(lab, pushed, engine, entry, seed=25, read_timeout=2) as now:
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            now.liar.down()
            entry.faults["registry gone"] += 1
            readers.wait_for_errors(900, reads)
            now.liar.up()
            readers.recovered(30)
            assert set(readers.errors) <= {"5", "SIGBUS"}, readers.describe()


@on()
def test_a_registry_that_gives_one_half_and_never_the_other_costs_bounded_time(lab, pushed, engine,
                                                                               entry):
    """Chunks come all the time, so the layer is not silent, and the original cannot be had."""
    timeout = 15
    with scene(lab, pushed, engine, entry, seed=26, read_timeout=timeout) as now:
        blob = layer_blob(pushed.reference)
        stall = {"lie": {"kind": "stall", "at": -1}}
        now.liar.rules({"path": blob["digest"], "bytes": [blob["size"] // 2, blob["size"]], **stall},
                       {"path": pushed.image.layers[-1].descriptor["digest"], **stall})
        given, stalled = range(300), range(400, known_files.FILES)
        with (now.readers("read", threads=1, files=given, pause=0.3) as fed,
              now.readers("read,pread", threads=16, files=stalled, seed=2, evict=False) as starved):
            entry.faults["half of a blob stalled"] += 1
            daemons.wait_until(lambda: max(fed.slowest, starved.slowest) > 2.5 * timeout
                               or starved.errors["5"] >= 100, 240, "many reads that end")
            print(f"{engine}: given {fed.describe()}\nstalled {starved.describe()}")
            assert fed.good > 3, fed.describe()
            assert fed.errors.total() == 0, "what is given is read, whatever else is stalled"
            now.liar.honest()
            fed.recovered(30)
            starved.recovered(30)
        assert set(starved.errors) == {"5"}, starved.describe()
        assert max(fed.slowest, starved.slowest) < 2 * timeout + 1


@on("erofs-loop")
@pytest.mark.parametrize("how", [pytest.param("holder", marks=pytest.mark.heavy), "both"])
def test_without_a_holder_reads_fail_and_never_show_zeros(lab, pushed, engine, entry, how):
    with scene(lab, pushed, engine, entry, seed=26, read_timeout=10) as now:
        now.liar.rules({"ranged": True, "probability": 0.5,
                        "lie": {"kind": "stall", "seconds": 0.2}}, seed=26)
        with now.readers("read,pread,direct", "mmap", evict=False) as readers, \
                Group("v2", f"node-{engine}") as group:
            readers.progress(20, 60)
            holder, worker = now.node.daemon.pid, now.worker()
            if how == "both":
                group.add(holder, worker)
                group.kill()
            else:
                os.kill(holder, signal.SIGKILL)
            entry.faults["holder and worker killed" if how == "both" else "holder killed"] += 1
            daemons.wait_until(lambda: not daemons.is_running(worker), 30, "the worker is gone")
            readers.wait_for_errors(60, 50)
            # As a complete file system FUSE says itself what it has for a reader: ENOTCONN, and
            # ECONNABORTED for what was under way.
            said = {"107", "103"} if engine == "fuse" else set()
            assert set(readers.errors) <= {"5", "SIGBUS"} | said, readers.describe()
        now.node.start()
        now.side.wait_for_containerd()
        now.liar.honest()
    # The old mount stays dead; a new one of the same image is right.
    with scene(lab, pushed, engine, entry, seed=27) as now, now.readers() as readers:
        readers.recovered(60)
        assert isinstance(readers, Readers) and readers.errors.total() == 0


def stand_still(worker: int, how: str, group: Group) -> None:
    if how == "SIGSTOP":
        return os.kill(worker, signal.SIGSTOP)
    group.add(worker)
    group.freeze()
    daemons.wait_until(group.frozen, 30, "the worker is frozen")


@on("erofs-file")
@pytest.mark.parametrize("how", [pytest.param("SIGSTOP", marks=pytest.mark.heavy), "v2", "v1"])
def test_a_worker_that_stands_still_is_replaced_or_answered_for(lab, pushed, engine, entry, how):
    """The freezer of version 1 holds SIGKILL back too: then nobody can take over before the thaw."""
    with scene(lab, pushed, engine, entry, seed=28, read_timeout=3) as now, \
            Group("freezer" if how == "v1" else "v2", f"worker-{engine}") as group:
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            now.forget_cache()
            worker = now.worker()
            readers.progress(5, 60)
            stand_still(worker, how, group)
            entry.faults[f"worker stopped ({how})"] += 1
            if how == "v1":
                readers.wait_for_errors(60, 10)
                assert now.worker() == worker, "two workers on one connection"
                group.thaw()
            now.wait_for_another(worker)
            readers.recovered(60)
        assert set(readers.errors) <= {"5", "SIGBUS"}, readers.describe()
        assert readers.slowest < 60, readers.describe()


@on("erofs-file")
@pytest.mark.parametrize("how", ["SIGSTOP", "v1"])
def test_a_worker_that_stands_still_under_a_reload_is_replaced_or_answered_for(lab, pushed, engine,
                                                                               entry, how):
    """It was told to end, and neither does that nor serves. With 3 seconds to a read its time to end, 30, is
    what readers would wait otherwise; what the freezer of version 1 holds has no end before the thaw."""
    with scene(lab, pushed, engine, entry, seed=29, read_timeout=3) as now, \
            Group("freezer" if how == "v1" else "v2", f"reload-{engine}") as group:
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            now.forget_cache()
            holder, worker = now.node.daemon.pid, now.worker()
            readers.progress(5, 60)
            stand_still(worker, how, group)
            os.kill(holder, signal.SIGHUP)
            entry.faults[f"worker stopped ({how}), reload"] += 1
            if how == "v1":
                readers.wait_for_errors(30, 10)
                assert now.worker() == worker, "two workers on one connection"
                group.thaw()
            now.side.wait_for_another_worker(worker, seconds=20)
            readers.recovered(60)
        assert now.node.daemon.pid == holder
        assert set(readers.errors) <= {"5", "SIGBUS"}, readers.describe()
        assert readers.slowest < 25, readers.describe()


@on("erofs-file")
def test_a_stop_ends_the_reads_of_a_worker_that_cannot_be_killed(lab, pushed, engine, entry):
    """The holder answers for it while it has time to end, and goes before the service manager loses its
    patience: what is left of the worker has the connection open, and nobody else would end it."""
    with scene(lab, pushed, engine, entry, seed=30, read_timeout=3) as now, \
            Group("freezer", f"stop-{engine}") as group:
        with now.readers("read,pread", "mmap") as readers:
            readers.progress(20, 60)
            now.forget_cache()
            holder, worker = now.node.daemon.pid, now.worker()
            readers.progress(5, 60)
            stand_still(worker, "v1", group)
            os.kill(holder, signal.SIGTERM)
            entry.faults["worker stopped (v1), stop"] += 1
            readers.wait_for_errors(30, 10)
            assert now.node.daemon.pid == holder
            daemons.wait_until(lambda: now.node.daemon.pid is None, 55, "the holder ends")
            assert daemons.is_running(worker)
            readers.wait_for_errors(30, 10)
            assert set(readers.errors) <= {"5", "SIGBUS"}, readers.describe()
            assert readers.slowest < 25, readers.describe()
        group.thaw()
        daemons.wait_until(lambda: not daemons.is_running(worker), 30, "the worker is gone")
        now.node.start()
        now.side.wait_for_containerd()

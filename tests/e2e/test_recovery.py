"""Workers that die, and a node that is replaced by a new version, under readers and callers: they wait.

(test_faults.py kills workers at named points, behind a registry that lies; this is about the ways to
get requests back, the listening sockets, and the holder's own successor.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from cgroups import Group
from hashing_readers import FILES, Readers, kill_worker, push
from runnel_env import STAYS_SERVED
from sandbox import daemons, scratch, services
from sandbox.containerd import drop_page_cache

KILLS = 50
RELOADS = 3


@pytest.fixture(scope="module")
def pushed(lab):
    return push(lab)


@pytest.mark.heavy
@pytest.mark.parametrize(("engine", "recovery"), [
    ("fuse", "shared-memory"),
    pytest.param("fuse", "resend"),
    pytest.param("erofs-loop", "shared-memory"),
    pytest.param("erofs-file", "shared-memory"),
    pytest.param("erofs-loop", "resend")])
def test_killing_workers_costs_no_byte(fresh_streaming, pushed, engine, recovery):
    side = fresh_streaming(engine, more_arguments=("--recovery", recovery), env={"RUNNEL_FAULT": STAYS_SERVED})
    assert side.node.status()["recovery"] == recovery
    side.pull(pushed.reference)
    pace = random.Random(5)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
        for _ in range(KILLS):
            drop_page_cache()
            assert readers.progress(pace.randrange(1, 20), 60), "readers are stuck"
            kill_worker(side.node)
        assert readers.progress(FILES // 2, 60), "readers are stuck after the last kill"

    print(f"{engine}, {recovery}: {readers.read} reads, {KILLS} kills, "
          f"slowest {readers.slowest:.2f} s")
    assert not any(thread.is_alive() for thread in readers.threads), "a read did not end"
    assert readers.wrong == []
    assert readers.errors == []


@pytest.fixture
def own_program(lab, runnel, monkeypatch):
    """A copy of the program that the node runs, and that a test may replace."""
    path = lab.directory("program") / "runnel"
    shutil.copy2(runnel, path)
    monkeypatch.setenv("RUNNEL", str(path))
    return path


def replace(program, add: bytes) -> int:
    """As a package manager does: a new file under the old name. Its inode."""
    new = program.with_suffix(".new")
    shutil.copy2(program, new)
    with open(new, "ab") as file:
        file.write(add)
    os.replace(new, program)
    return program.stat().st_ino


def replace_by_script(program, line: str) -> None:
    script = program.with_suffix(".new")
    script.write_text(f"#!/bin/sh\n{line}\n")
    script.chmod(0o755)
    os.replace(script, program)


class Gate:
    """Where a new version stands until it is let through: it has been started, and is not yet itself."""

    def __init__(self, path: Path, program: Path, real: str):
        self.path = path
        os.mkfifo(path)
        replace_by_script(program, f'case "$*" in *--check-config*) exit 0;; esac\n'
                                   f'read -r go <{path}\nexec {real} "$@"')

    def reached(self) -> bool:
        try:
            self.key = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO, error
            return False
        return True

    def open(self) -> None:
        os.write(self.key, b"\n")
        os.close(self.key)


def mounts_below(directory: Path) -> list[str]:
    return [mount.point for mount in scratch.mounts() if mount.point.startswith(f"{directory}/")]


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def runs(pid: int, inode: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/exe").st_ino == inode
    except OSError:
        return False


def test_calls_wait_while_a_worker_restarts(fresh_streaming, engine, pushed):
    side = fresh_streaming(engine)
    side.pull(pushed.reference)
    for _ in range(5):
        worker = side.node.worker
        os.kill(worker, signal.SIGKILL)
        # At once, and not again: neither is refused.
        assert side.node.status()["engine"] == engine
        assert len(side.containerd.snapshots()) == len(pushed.image.chain_ids)
        assert side.node.worker not in (None, worker)


def test_a_new_version_takes_over_under_readers(fresh_streaming, engine, pushed, own_program):
    side = fresh_streaming(engine, env={"RUNNEL_FAULT": STAYS_SERVED})
    side.pull(pushed.reference)
    holder = side.node.daemon.pid
    descriptors = {len(os.listdir(f"/proc/{holder}/fd"))}
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
        for number in range(RELOADS):
            assert readers.progress(20, 60), "readers are stuck"
            inode = replace(own_program, b"%d" % number)
            os.kill(holder, signal.SIGHUP)
            daemons.wait_until(lambda: runs(holder, inode), 40, "the new version runs")
            assert len(side.containerd.snapshots()) == len(pushed.image.chain_ids) + 1
            assert runs(side.node.worker, inode)
            descriptors.add(len(os.listdir(f"/proc/{holder}/fd")))
        assert readers.progress(FILES, 60), "readers are stuck after the last reload"

    print(f"{engine}: {readers.read} reads, {RELOADS} reloads, slowest {readers.slowest:.2f} s")
    assert side.node.daemon.pid == holder
    assert len(descriptors) == 1, f"the holder's open files: {descriptors}"
    assert readers.wrong == []
    assert readers.errors == []


def test_a_new_version_that_cannot_run_is_not_started(fresh_streaming, pushed, own_program):
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    holder, worker = side.node.daemon.pid, side.node.worker
    replace_by_script(own_program, "exit 3")

    os.kill(holder, signal.SIGHUP)

    daemons.wait_until(lambda: "no reload" in side.node.daemon.last_words(), 30, "it says so")
    assert side.node.daemon.pid == holder
    assert side.node.worker == worker
    assert len(side.containerd.snapshots()) == len(pushed.image.chain_ids)


def test_a_new_version_that_hangs_and_cannot_be_killed_holds_up_nobody(fresh_streaming, pushed, own_program):
    """As on a disk that hangs, for which the freezer of cgroup v1 stands: it holds SIGKILL back too."""
    side = fresh_streaming("erofs-file", more_arguments=("--read-timeout", "3"))
    side.pull(pushed.reference)
    holder, worker = side.node.daemon.pid, side.node.worker
    good = shutil.copy2(own_program, own_program.with_suffix(".good"))
    replace_by_script(own_program, "exec sleep 1000")

    def says(words: str) -> None:
        daemons.wait_until(lambda: words in side.node.daemon.last_words(), 30, f"it says: {words}")

    with Group("freezer", "check") as group:
        os.kill(holder, signal.SIGHUP)
        daemons.wait_until(lambda: len(children(holder)) > 1, 10, "the new version is asked")
        (check,) = children(holder) - {worker}
        group.add(check)
        group.freeze()
        daemons.wait_until(group.frozen, 30, "it is frozen")
        os.kill(worker, signal.SIGSTOP)
        daemons.wait_until(lambda: not daemons.is_running(worker), 12, "the worker is killed meanwhile")
        says("does not answer and cannot be killed")
        side.wait_for_containerd()
        with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
            assert readers.progress(20, 60), "no worker serves"
        os.kill(holder, signal.SIGHUP)
        says("has not ended yet")
        group.thaw()
        daemons.wait_until(lambda: not daemons.is_running(check), 30, "it is gone")

    os.replace(good, own_program)
    os.kill(holder, signal.SIGHUP)

    daemons.wait_until(lambda: runs(holder, own_program.stat().st_ino), 40, "the new version runs")
    assert readers.wrong == []
    assert readers.errors == []


def test_a_second_reload_waits_for_the_new_version(fresh_streaming, pushed, lab, runnel, own_program):
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    holder = side.node.daemon.pid
    gate = Gate(lab.directory("gate") / "fifo", own_program, runnel)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
        assert readers.progress(20, 60), "readers are stuck"
        os.kill(holder, signal.SIGHUP)
        daemons.wait_until(gate.reached, 40, "the new version is started")

        os.kill(holder, signal.SIGHUP)

        gate.open()
        daemons.wait_until(lambda: side.node.daemon.log.read_text().count("starting the new version") == 2,
                           40, "the second reload")
        assert readers.progress(FILES // 2, 60), "readers are stuck"
    assert side.node.daemon.pid == holder
    assert readers.wrong == []
    assert readers.errors == []


def test_a_stop_that_comes_in_the_middle_of_a_reload_is_the_new_versions(fresh_streaming, pushed, lab, runnel,
                                                                         own_program):
    """Ended by the signal alone the node would leave its connection to whoever has it too: systemd."""
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    holder = side.node.daemon.pid
    gate = Gate(lab.directory("gate") / "fifo", own_program, runnel)
    os.kill(holder, signal.SIGHUP)
    daemons.wait_until(gate.reached, 40, "the new version is started")

    os.kill(holder, signal.SIGTERM)

    gate.open()
    daemons.wait_until(lambda: side.node.daemon.pid is None, 40, "the node ends")
    assert mounts_below(side.node.root) == []


def test_a_worker_that_somebody_tells_to_end_is_replaced(fresh_streaming, engine, pushed):
    """Who means the node, or ends what has much memory, before the kernel does."""
    side = fresh_streaming(engine, env={"RUNNEL_FAULT": STAYS_SERVED})
    side.pull(pushed.reference)
    holder = side.node.daemon.pid
    kill_worker(side.node)  # so that no start counts as the first one, which may fail for good
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
        for _ in range(3):
            drop_page_cache()
            assert readers.progress(20, 60), "readers are stuck"
            side.node.ask("/status")  # it serves, and does not begin to
            worker = side.node.running_worker()

            os.kill(worker, signal.SIGTERM)

            side.wait_for_another_worker(worker)
        assert readers.progress(FILES // 2, 60), "readers are stuck after the last end"
    assert side.node.daemon.pid == holder
    assert readers.wrong == []
    assert readers.errors == []


def test_a_worker_is_started_as_soon_as_there_is_a_process_for_it(fresh_streaming, pushed):
    """A container has used up all that there may be, which may be what the last worker died of."""
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    holder = side.node.daemon.pid
    with Group("pids", "holder") as group:
        with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
            assert readers.progress(20, 60), "readers are stuck"
            group.add(holder)
            group.set("pids.max", 1)
            worker = side.node.running_worker()

            os.kill(worker, signal.SIGKILL)

            daemons.wait_until(lambda: "no process for a worker" in side.node.daemon.last_words(), 30,
                               "the holder has none")
            group.set("pids.max", "max")
            side.wait_for_another_worker(worker)
            assert readers.progress(FILES // 2, 60), "readers are stuck"
        assert side.node.daemon.pid == holder
        group.leave(*group.pids())
    assert readers.wrong == []
    assert readers.errors == []


def test_a_worker_starts_though_the_nodes_name_cannot_be_read(fresh_streaming, pushed):
    """Only registries are told it; a bad sector in it must not cost the readers of all images."""
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    name = side.node.root / "node-id"
    name.unlink()
    name.mkdir()
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
        assert readers.progress(20, 60), "readers are stuck"

        side.kill_worker()

        assert readers.progress(FILES // 2, 60), "readers are stuck"
        assert side.node.status()["images"]
    assert "told to no registry" in side.node.daemon.last_words()
    assert readers.wrong == []
    assert readers.errors == []


def fill(fifo: Path) -> None:
    end = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(end, b"x")
    except BlockingIOError:
        os.close(end)


def test_a_log_that_nobody_reads_stops_and_ends_nothing(fresh_streaming, pushed, lab, runnel, monkeypatch):
    """Its reader stands still from the start, then reads what there is, then goes."""
    log = lab.directory("log") / "fifo"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    fill(log)
    program = lab.directory("program") / "runnel"
    replace_by_script(program, f'exec {runnel} "$@" 2>{log}')
    with monkeypatch.context() as changed:
        changed.setenv("RUNNEL", str(program))
        side = fresh_streaming("erofs-file", more_arguments=("--read-timeout", "3"))
    side.pull(pushed.reference)
    holder = side.node.daemon.pid
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
        kill_worker(side.node)
        assert readers.progress(20, 60), "readers are stuck after a death that could not be logged"
        worker = side.node.running_worker()
        os.kill(worker, signal.SIGSTOP)
        side.wait_for_another_worker(worker)
        assert readers.progress(20, 60), "readers are stuck"

        said = os.read(reader, 65536)
        kill_worker(side.node)
        daemons.wait_until(lambda: is_said(reader, b"lines of the log are lost"), 30,
                           "it says how many lines it lost")
        os.close(reader)
        kill_worker(side.node)
        assert readers.progress(FILES // 2, 60), "readers are stuck after the log's reader has gone"
    assert set(said) == set(b"x")
    assert side.node.daemon.pid == holder
    assert readers.wrong == []
    assert {error.partition(": ")[2] for error in readers.errors} <= {f"errno {errno.EIO}"}


def is_said(reader: int, words: bytes) -> bool:
    try:
        return words in os.read(reader, 65536)
    except BlockingIOError:
        return False


def test_a_second_node_on_the_root_touches_nothing_of_the_first(fresh_streaming, pushed, lab):
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    other = services.Node(lab.directory("other"), root=side.node.root)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, Readers(root) as readers:
        before = mounts_below(side.node.root)

        with pytest.raises(daemons.DaemonError, match="another node process uses this root"):
            other.start()

        assert other.daemon.pid is None
        assert before and mounts_below(side.node.root) == before
        kill_worker(side.node)  # the next one looks for the connection's mount
        assert readers.progress(FILES // 2, 60), "readers are stuck"
    assert readers.wrong == []
    assert readers.errors == []

"""What is mounted over loop devices reads the cache's plain files as soon as its layers are here."""

from __future__ import annotations

import fcntl
import shutil
import signal
from pathlib import Path

import known_files
import pytest
from fault_setup import push_known_files, set_faults
from readers import Evictor, Readers
from runnel_env import STAYS_SERVED, Streaming
from sandbox import daemons, scratch, services
from sandbox.containerd import drop_page_cache

FILES = 200


@pytest.fixture(scope="module")
def pushed(lab):
    return push_known_files(lab, "loops-move", FILES)


def backing_files(side: Streaming) -> list[str]:
    """Of the layers' loop devices, relative to the node's root."""
    root = f"{side.node.root.resolve()}/"
    found = [path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [path.removeprefix(root) for path in found if path.startswith((f"{root}devices/", f"{root}cache/"))]


def wait_until_plain(side: Streaming, reference: str) -> None:
    daemons.wait_until(lambda: side.mounted_as(reference) == {"plain"}, 60, "the loop devices have moved")


def assert_all_right(root: Path) -> None:
    drop_page_cache()
    wrong = [number for number in range(FILES)
             if (root / known_files.name(number)).read_bytes() != known_files.content(number)]
    assert wrong == []


def test_readers_notice_nothing_and_need_no_node_afterwards(fresh_streaming, pushed):
    side = fresh_streaming("erofs-loop", background_fill=True)
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        with Readers(root, ("read,pread,direct", "mmap", "exec"), files=FILES) as readers:
            with Evictor(side.node.root):
                wait_until_plain(side, pushed.reference)
                readers.progress(300, 60)
        assert readers.wrong == [], readers.describe()
        assert readers.errors.total() == 0, readers.describe()
        print(f"slowest read of {readers.total}, while they moved or not: {readers.slowest:.2f} s")
        assert [path.partition("/")[0] for path in backing_files(side)] == ["cache"]
        with side.stopped_node():
            assert_all_right(root)


def test_a_container_reads_on_when_the_whole_node_has_died_or_was_stopped(fresh_streaming, pushed):
    side = fresh_streaming("erofs-loop", background_fill=True)
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        wait_until_plain(side, pushed.reference)
        worker = side.node.running_worker()
        mounted = scratch.mounts()

        daemons.end([side.node.daemon.pid, worker], signal.SIGKILL)

        assert_all_right(root)
        side.node.daemon.stop()
        side.node.start()
        side.wait_for_containerd()
        assert side.mounted_as(pushed.reference) == {"plain"}
        with side.containerd.view(pushed.image.chain_ids[-1]) as another:
            assert_all_right(another)
        images = f"{side.node.root}/mounts/"
        assert ([mount for mount in scratch.mounts() if mount.point.startswith(images)]
                == [mount for mount in mounted if mount.point.startswith(images)]), "it is used again"
        side.node.stop()
        assert_all_right(root)
        side.node.start()
        side.wait_for_containerd()


def test_each_image_with_a_layer_gets_its_file(lab, fresh_streaming, pushed):
    top = known_files.write_tar(lab.directory("loops-move-top") / "top.tar", FILES, 20)
    shared = known_files.write_tar(lab.directory("loops-move-shared") / "layer.tar", files=FILES)
    second = lab.push("loops-move-second", [shared, top])
    assert second.image.chain_ids[0] == pushed.image.chain_ids[0]
    services.convert(second.reference)
    side = fresh_streaming("erofs-loop", background_fill=True)
    side.pull(pushed.reference)
    side.pull(second.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, \
            side.containerd.view(second.image.chain_ids[-1]) as other:
        wait_until_plain(side, pushed.reference)
        wait_until_plain(side, second.reference)
        assert [path.partition("/")[0] for path in backing_files(side)] == ["cache"] * 3
        with side.stopped_node():
            assert_all_right(root)
            assert_all_right(other)


@pytest.mark.parametrize("point", ["move-loops", "loops-moved"])
def test_a_worker_that_dies_on_the_way_leaves_it_to_the_next(lab, fresh_streaming, pushed, point):
    faults = lab.directory("faults") / "faults"
    set_faults(faults, "")  # until a container reads
    side = fresh_streaming("erofs-loop", background_fill=True, env={"RUNNEL_FAULT": f"@{faults}"})
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root, \
            Readers(root, ("read,pread", "mmap"), files=FILES) as readers:
        set_faults(faults, f"{point}:kill", stays_served=False)
        side.kill_worker()  # which may wait a minute after what could not be moved
        daemons.wait_until(lambda: not faults.exists(), 60, f"a worker dies at {point}")
        side.wait_for_containerd()
        wait_until_plain(side, pushed.reference)
        readers.progress(100, 60)
        with side.stopped_node():
            assert_all_right(root)
    assert readers.wrong == [], readers.describe()
    assert readers.errors.total() == 0, readers.describe()


def test_what_cannot_move_is_served_as_before(fresh_streaming, pushed):
    side = fresh_streaming("erofs-loop", background_fill=True, env={"RUNNEL_FAULT": STAYS_SERVED})
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        daemons.wait_until(lambda: "need this process still: LOOP_CHANGE_FD" in side.node.daemon.last_words(),
                           60, "it says why")
        assert side.mounted_as(pushed.reference) == {"served"}
        assert_all_right(root)


LOOP_CHANGE_FD = 0x4C06  # linux/loop.h


def test_what_reads_neither_file_is_left_alone_and_not_taken_for_moved(lab, fresh_streaming, pushed):
    faults = lab.directory("faults") / "faults"
    set_faults(faults, "")
    side = fresh_streaming("erofs-loop", background_fill=True, env={"RUNNEL_FAULT": f"@{faults}"})
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        daemons.wait_until(lambda: all(each["complete"] for each in side.image_status(pushed.reference)["layers"]),
                           60, "all is here")
        (file,) = (side.node.root / "cache").glob("*/device")
        copy = Path(shutil.copy(file, lab.directory("copy") / "device"))
        (device,) = [path.parents[1].name for path in Path("/sys/block").glob("loop*/loop/backing_file")
                     if path.read_text().startswith(f"{side.node.root.resolve()}/devices/")]
        with open(copy, "rb") as theirs, open(f"/dev/{device}", "rb") as loop:
            fcntl.ioctl(loop, LOOP_CHANGE_FD, theirs.fileno())
        faults.unlink()
        side.kill_worker()

        daemons.wait_until(lambda: f"{device} reads {copy.resolve()}, and not" in side.node.daemon.last_words(),
                           60, "it says so")

        assert side.mounted_as(pushed.reference) == {"served"}
        assert_all_right(root)

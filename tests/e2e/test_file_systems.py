"""The file systems that a node's disk may have besides ext4, on which all other tests run."""

from __future__ import annotations

import os
import signal

import known_files
import pytest
from disks import Disk
from fault_setup import push_known_files
from sandbox import daemons
from sandbox.containerd import drop_page_cache

FILES = 120


@pytest.fixture(scope="module")
def pushed(lab):
    return push_known_files(lab, "file-systems", FILES)


def assert_all_right(root) -> None:
    drop_page_cache()
    wrong = [number for number in range(FILES)
             if (root / known_files.name(number)).read_bytes() != known_files.content(number)]
    assert wrong == []


def change_as_containers_do(root) -> None:
    """Copies up, hides, replaces: what overlayfs keeps on the node's disk."""
    changed, removed = root / known_files.name(1), root / known_files.name(2)
    changed.write_bytes(b"changed")
    removed.unlink()
    (root / known_files.name(3)).rename(root / "moved")
    os.setxattr(root / "moved", "user.of", b"the container")
    os.sync()
    drop_page_cache()
    assert changed.read_bytes() == b"changed"
    assert not removed.exists()
    assert (root / "moved").read_bytes() == known_files.content(3)
    assert os.getxattr(root / "moved", "user.of") == b"the container"


@pytest.mark.parametrize("engine", ["erofs-file", "erofs-loop"])
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_an_image_streams_fills_and_outlives_a_crash_on(lab, fresh_streaming, pushed, kind, engine):
    with Disk(lab.directory(kind), kind=kind) as disk:
        side = fresh_streaming(engine, background_fill=True, root=disk.point / "root")
        side.pull(pushed.reference)
        assert side.image_status(pushed.reference)["reason"] == "Streaming"

        def complete() -> bool:
            return all(each["complete"] for each in side.image_status(pushed.reference)["layers"])
        with side.containerd.active(pushed.image.chain_ids[-1]) as (_, root):
            assert_all_right(root)
            change_as_containers_do(root)
            daemons.wait_until(complete, 60, "the image is filled")
        if engine == "erofs-loop":
            daemons.wait_until(lambda: side.mounted_as(pushed.reference) == {"plain"}, 60, "the loop devices have moved")

        daemons.end([side.node.daemon.pid, side.node.running_worker()], signal.SIGKILL)
        side.node.daemon.stop()
        side.node.start()
        side.wait_for_containerd()

        with side.containerd.view(pushed.image.chain_ids[-1]) as root:
            assert_all_right(root)
            daemons.wait_until(complete, 60, "what was here is believed again")
            assert side.image_status(pushed.reference)["layers"][0]["bytes_fetched"] == 0
        side.close()  # before the disk goes

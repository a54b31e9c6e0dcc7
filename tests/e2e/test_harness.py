"""The harness itself: a comparison that sees nothing would let every other test pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trees
from sandbox import daemons
from sandbox.images import chain_ids
from sandbox.scratch import Scratch, ScratchError, loop_devices, mounts
from tars import Tar, names_in

CHANGES = {
    "content": lambda root: _keep_times(root / "d/file", lambda p: p.write_bytes(b"other")),
    "size": lambda root: _keep_times(root / "d/file", lambda p: p.write_bytes(b"longer text")),
    "mode": lambda root: (root / "d/file").chmod(0o600),
    "owner": lambda root: os.chown(root / "d/file", 7, -1),
    "group": lambda root: os.chown(root / "d/file", -1, 7),
    "mtime": lambda root: os.utime(root / "d/file", ns=(0, 1)),
    "directory mtime": lambda root: os.utime(root / "d", ns=(0, 1)),
    "missing": lambda root: _keep_times(root / "d", lambda p: (p / "file").unlink()),
    "added": lambda root: _keep_times(root / "d", lambda p: (p / "more").touch()),
    "xattr": lambda root: os.setxattr(root / "d/file", "user.k", b"changed"),
    "xattr added": lambda root: os.setxattr(root / "d", "user.new", b""),
    "link target": lambda root: _again(root / "link", lambda p: p.symlink_to("elsewhere")),
    "device number": lambda root: _again(root / "dev", lambda p: os.mknod(p, 0o20644, 0x104)),
    "type": lambda root: _again(root / "dev", lambda p: os.mkfifo(p, 0o644)),
    "hard link": lambda root: _again(root / "hard", lambda p: shutil.copy2(root / "d/file", p)),
}


def _keep_times(path: Path, change) -> None:
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _again(path: Path, make) -> None:
    before, parent = path.lstat(), path.parent.stat()
    path.unlink()
    make(path)
    os.utime(path, ns=(0, before.st_mtime_ns), follow_symlinks=False)
    os.utime(path.parent, ns=(0, parent.st_mtime_ns))


@pytest.fixture
def twins(tmp_path):
    """Two trees that are equal in everything that is compared."""
    def make(root: Path) -> Path:
        (root / "d").mkdir(parents=True)
        (root / "d/file").write_bytes(b"text!")
        os.setxattr(root / "d/file", "user.k", b"v")
        os.link(root / "d/file", root / "hard")
        (root / "link").symlink_to("d/file")
        os.mknod(root / "dev", 0o20644, 0x103)
        for name in ("d/file", "link", "dev", "d", "."):
            os.utime(root / name, ns=(0, 1_600_000_000_123_456_789), follow_symlinks=False)
        return root
    return make(tmp_path / "a"), make(tmp_path / "b")


def test_equal_trees_have_no_differences(twins):
    left, right = twins

    assert trees.differences(trees.scan(left), trees.scan(right)) == []


@pytest.mark.parametrize("change", CHANGES, ids=lambda name: name.replace(" ", "-"))
def test_comparison_sees_every_kind_of_difference_in_both_directions(twins, change):
    left, right = twins
    CHANGES[change](right)

    forth = trees.differences(trees.scan(left), trees.scan(right))
    back = trees.differences(trees.scan(right), trees.scan(left))

    assert forth and back


def test_open_mtimes_are_those_of_directories_that_the_topmost_layer_only_implies():
    lower = [b"a/", b"a/b/", b"a/b/f", b"c/", b"./e/"]
    upper = [b"a/b/g", b"c", b"c/.wh.x"]

    is_open = trees.open_mtimes([lower, upper])

    assert {p for p in (b"", b"a", b"a/b", b"c", b"e") if is_open(p)} == {b"", b"a", b"a/b"}


def test_chain_ids_follow_the_specification():
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64

    chain = chain_ids([one, two])

    expected = subprocess.run(["sha256sum"], input=f"{one} {two}".encode(), capture_output=True)
    assert chain == [one, "sha256:" + expected.stdout.decode().split()[0]]


def test_tar_writer_gives_what_gnu_tar_reads(tmp_path):
    with Tar(tmp_path / "t.tar", "gnu") as tar:
        tar.directory("d").file("d/" + "n" * 255, b"content").symlink("s", "d").fifo("p")

    listing = subprocess.run(["tar", "-tf", tar.path], capture_output=True, text=True, check=True)

    assert listing.stdout.split() == ["d/", "d/" + "n" * 255, "s", "p"]
    assert names_in(tar.path) == [b"d", b"d/" + b"n" * 255, b"s", b"p"]


def test_a_pid_that_was_given_to_another_process_is_not_ours(tmp_path):
    daemon = daemons.Daemon("sleeper", tmp_path)
    daemon.start([sys.executable, "-c", "import time; time.sleep(600)"])
    pid = daemon.pid
    try:
        started = daemons.start_time(pid)
        daemon.pid_file.write_text(f"{pid} {started - 1}\n")
        assert daemon.pid is None
        daemons.Daemon("sleeper", tmp_path).stop()
        assert daemons.is_running(pid)
        daemon.pid_file.write_text(f"{pid} {started}\n")
        assert daemon.pid == pid
    finally:
        daemon.pid_file.write_text(f"{pid} {started}\n")
        daemon.stop()
    assert not daemons.is_running(pid, started)


def test_scratch_removes_its_mounts_and_loop_devices_and_no_others(tmp_path):
    ours = Scratch(tmp_path / "ours").create()
    other = tmp_path / "ours-not"
    other.mkdir()
    (ours / "deep").mkdir()
    image = ours / "disk image"
    image.write_bytes(bytes(1 << 20))
    run = subprocess.run
    run(["mount", "-t", "tmpfs", "none", ours / "deep"], check=True)
    (ours / "deep/with space").mkdir()
    run(["mount", "-t", "tmpfs", "none", ours / "deep/with space"], check=True)
    run(["mount", "-t", "tmpfs", "none", other], check=True)
    device = run(["losetup", "--find", "--show", image], capture_output=True, text=True,
                 check=True).stdout.strip()
    try:
        assert len(ours.leftovers()) == 3

        ours.teardown()
        ours.teardown()

        assert not ours.path.exists()
        assert device not in loop_devices()
        assert str(other) in [m.point for m in mounts()]
    finally:
        run(["umount", other], check=True)


def test_teardown_touches_nothing_below_a_directory_that_is_not_ours(tmp_path):
    (tmp_path / "m").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "m"], check=True)
    try:
        Scratch(tmp_path).teardown()
        assert str(tmp_path / "m") in [m.point for m in mounts()]
    finally:
        subprocess.run(["umount", tmp_path / "m"], check=True)


def test_scratch_takes_no_directory_that_holds_somebody_elses_files(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not delete")

    with pytest.raises(ScratchError, match="not made by this program"):
        Scratch(tmp_path).create()
    Scratch(tmp_path).teardown()

    assert (tmp_path / "thesis.txt").exists()

"""The snapshotter's service as a proxy plugin of a real containerd, nothing streamed.

Beside it runs a small program with the service alone (snapshotter_host.cc), so that what fails here
is the snapshotter and not the engine. It needs root: containerd mounts and runc runs containers.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
import tars
from disks import Disk
from needs import needs
from sandbox import daemons, images, services
from sandbox.containerd import CommandError, Containerd, run
from sandbox.scratch import Scratch

HOST = services.project_root() / "build/release/tests/integration/snapshotter_host"
SPARE = 4  # at most (SpareDirectories::Options)


class Host:
    """snapshotter_host as a daemon that can be killed and started again."""

    def __init__(self, directory: Path, root: Path | None = None):
        self.root = root or directory / "root"
        self.socket = directory / "s.sock"
        self.daemon = daemons.Daemon("snapshotter_host", directory)

    def start(self) -> "Host":
        program = os.environ.get("RUNNEL_SNAPSHOTTER_HOST", str(HOST))
        self.daemon.start([program, str(self.root), str(self.socket)])
        self.daemon.wait_for(lambda: daemons.answers_on(self.socket), "its socket answers")
        return self

    def kill(self) -> None:
        daemons.end([self.daemon.pid], signal.SIGKILL)

    def directories(self) -> set[str]:
        """Of snapshots, without those that are ready for the next ones."""
        names = {entry.name for entry in (self.root / "s").iterdir()}
        spare = {name for name in names if re.fullmatch(r"spare-\d+", name)}
        assert len(spare) <= SPARE, spare
        return names - spare


class Lab:
    def __init__(self, directory: Path, root: Path | None = None):
        self.scratch = Scratch(directory).create()
        self.host = Host(self.scratch / "h", root)
        self.containerd = Containerd(self.scratch / "c", "runnel", self.host.socket)

    def start(self) -> "Lab":
        self.host.start()
        self.containerd.start()
        return self

    def close(self) -> list[str]:
        self.containerd.stop()
        self.host.daemon.stop()
        left = self.scratch.leftovers()
        self.scratch.teardown()
        return left

    def restart_host(self) -> None:
        """SIGKILL, a new process, and until containerd has found it."""
        self.host.kill()
        self.host.start()
        daemons.wait_until(self.answers, 60, "containerd reaches the new process")

    def answers(self) -> bool:
        try:
            self.containerd.snapshots()
        except CommandError:
            return False
        return True

    def snapshots(self, *arguments: str) -> str:
        return self.containerd.ctr("snapshots", "--snapshotter", "runnel", *arguments)

    def import_image(self, name: str, layers: int = 2) -> tuple[str, images.Image]:
        """An image of busybox and some small layers, imported by containerd's own client."""
        directory = self.scratch / name
        directory.mkdir()
        blobs = [busybox(directory)]
        for n in range(1, layers):
            with tars.Tar(directory / f"{n}.tar") as tar:
                tar.file("etc/top", f"{n}\n".encode()).file(f"layer-{n}", b"x" * 5000)
            blobs.append(directory / f"{n}.tar")
        image = images.image_of(directory / "layout", blobs, ["/bin/sh", "-c", "cat /etc/top"])
        archive = directory / "image.tar"
        run(["tar", "-C", str(image.layout), "-cf", str(archive), "."])
        reference = f"test.invalid/{name}:latest"
        self.containerd.ctr("images", "import", "--snapshotter", "runnel", "--base-name",
                            f"test.invalid/{name}", str(archive))
        return reference, image

    def remove_images(self) -> None:
        """All of them: the CRI plugin names each a second time, by its ID, when it notices it."""
        def gone() -> bool:
            for name in self.containerd.images():
                self.containerd.remove_image(name)
            return not self.containerd.snapshots()
        daemons.wait_until(gone, 60, "the images' snapshots are removed")


def busybox(directory: Path) -> Path:
    with tars.Tar(directory / "0.tar") as tar:
        tar.directory("bin").directory("etc").directory("tmp", 0o1777)
        tar.file("bin/busybox", Path(needs("busybox")).read_bytes(), 0o755)
        for applet in ("sh", "cat", "echo", "rm"):
            tar.symlink(f"bin/{applet}", "busybox")
        tar.file("etc/top", b"0\n")
    return directory / "0.tar"


@pytest.fixture(scope="module")
def lab():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for tool in ("containerd", "ctr", "runc", "busybox"):
        needs(tool)
    if not HOST.exists() and "RUNNEL_SNAPSHOTTER_HOST" not in os.environ:
        pytest.fail(f"{HOST} is not built: cmake --build --preset release")
    made = Lab(Path(tempfile.mkdtemp(prefix="runnel-snap-",
                                     dir=os.environ.get("TMPDIR", "/var/tmp"))))
    try:
        yield made.start()
    finally:
        left = made.close()
    assert not left, "left behind by the tests:\n" + "\n".join(left)


def test_imports_runs_and_removes_an_image(lab):
    before = lab.host.directories()
    reference, image = lab.import_image("plain", layers=3)
    assert set(image.chain_ids) <= set(lab.containerd.snapshots())

    assert lab.containerd.run(reference, "plain-1").output == "2\n"
    written = lab.containerd.run(reference, "plain-2", "/bin/sh", "-c",
                                 "echo new > /etc/top && rm /layer-1 && cat /etc/top")
    assert written.output == "new\n"
    assert lab.containerd.run(reference, "plain-3").output == "2\n"  # nobody else's write

    lab.remove_images()
    assert lab.host.directories() == before


def test_mounts_more_layers_than_an_option_string_holds(lab):
    reference, image = lab.import_image("deep", layers=110)
    assert len(image.chain_ids) * len(str(lab.host.root / "s/100/fs")) > 4096

    assert lab.containerd.run(reference, "deep").output == "109\n"

    lab.remove_images()


def test_commits_what_was_written_and_says_its_size(lab):
    reference, image = lab.import_image("base")
    containerd = lab.containerd

    with containerd.active(image.chain_ids[-1]) as (key, mounted):
        (mounted / "big").write_bytes(os.urandom(1_000_000))
        (mounted / "layer-1").unlink()
        containerd.ctr("snapshots", "--snapshotter", "runnel", "commit", "committed", key)
    containerd.ctr("snapshots", "--snapshotter", "runnel", "label", "committed",
                   "containerd.io/gc.root=test")

    with containerd.view("committed") as mounted:
        assert (mounted / "big").stat().st_size == 1_000_000
        assert not (mounted / "layer-1").exists()
        assert (mounted / "etc/top").read_text() == "1\n"
    usage = containerd.ctr("snapshots", "--snapshotter", "runnel", "usage", "-b", "committed")
    size, inodes = map(int, re.search(r"committed\s+(\d+)\s+(\d+)", usage).groups())
    assert 1_000_000 <= size < 1_100_000
    assert inodes == 3  # the root, "big", the whiteout

    with pytest.raises(CommandError):  # it has a child
        containerd.ctr("snapshots", "--snapshotter", "runnel", "rm", image.chain_ids[0])
    containerd.ctr("snapshots", "--snapshotter", "runnel", "rm", "committed")
    lab.remove_images()


def test_keeps_everything_when_it_is_killed(lab):
    reference, image = lab.import_image("killed")
    containerd = lab.containerd

    with containerd.active(image.chain_ids[-1]) as (key, mounted):
        (mounted / "before").write_text("kept")
        before = containerd.snapshots()
        lab.restart_host()
        assert containerd.snapshots() == before
        (mounted / "after").write_text("the mount is the kernel's")
        assert containerd.run(reference, "after-kill").output == "1\n"
        again = containerd.ctr("snapshots", "--snapshotter", "runnel", "mounts", "/x", key)
        assert str(lab.host.root) in again
        assert (mounted / "before").read_text() == "kept"

    lab.remove_images()


def test_commits_nothing_that_another_process_began(lab):
    """While nobody looked, the kernel may have told somebody else that files were lost."""
    lab.snapshots("prepare", "begun-before")
    lab.restart_host()

    with pytest.raises(CommandError, match="begun before the node started"):
        lab.snapshots("commit", "never", "begun-before")

    assert "never" not in lab.containerd.snapshots()
    lab.snapshots("rm", "begun-before")


def test_commits_nothing_whose_files_were_lost_though_somebody_else_was_told(tmp_path):
    """The kernel tells of a write that was lost once. Here `sync` hears it, before the commit."""
    def prepare(key: str) -> Path:
        before = lab.host.directories()
        lab.snapshots("prepare", key)
        (number,) = lab.host.directories() - before
        return lab.host.root / "s" / number / "fs/file"

    with Disk(tmp_path / "thin", 64, backing_megabytes=80) as disk:
        lab = Lab(tmp_path / "lab", root=disk.point / "root")
        try:
            lab.start()
            file = prepare("harmed")
            file.write_bytes(os.urandom(64 << 10))
            os.sync()
            disk.overdraw_below(file)
            with open(file, "r+b") as opened:
                opened.write(os.urandom(64 << 10))
            assert subprocess.run(["sync", "-f", file], capture_output=True).returncode != 0
            disk.refund()

            with pytest.raises(CommandError, match="were lost"):
                lab.snapshots("commit", "never", "harmed")

            assert "never" not in lab.containerd.snapshots()
            lab.snapshots("rm", "harmed")
            prepare("next").write_bytes(b"written when there was room again")
            lab.snapshots("commit", "kept", "next")
            lab.snapshots("rm", "kept")
        finally:
            left = lab.close()
        assert not left, left


def test_leaves_no_rubbish_when_it_is_killed_at_any_moment(lab):
    """Containers start and end while the service dies again and again."""
    reference, _ = lab.import_image("churn")
    idle = lab.host.directories()
    stop, outputs = threading.Event(), []

    def start_containers() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            outputs.append(lab.containerd.run(reference, f"churn-{count}").output)
    worker = threading.Thread(target=start_containers)
    worker.start()
    try:
        for kills in range(1, 6):
            done = len(outputs)
            daemons.wait_until(lambda: len(outputs) > done or not worker.is_alive(), 60,
                               "a container ends")
            lab.restart_host()
    finally:
        stop.set()
        worker.join()
    assert "1\n" in outputs
    # A start may fail while nobody serves, with the client's own error; it never shows other files.
    assert all(o == "1\n" or re.match(r"ctr: |time=", o) for o in outputs), outputs

    assert lab.containerd.run(reference, "churn-last").output == "1\n"
    keys = [k for k, (_, kind) in lab.containerd.snapshots().items() if kind == "Active"]
    for key in keys:  # of starts that failed half-way
        lab.containerd.ctr("snapshots", "--snapshotter", "runnel", "rm", key)
    lab.containerd.ctr("content", "prune", "references")  # makes containerd collect now
    daemons.wait_until(lambda: lab.host.directories() == idle, 60, "only the image is left")
    lab.remove_images()

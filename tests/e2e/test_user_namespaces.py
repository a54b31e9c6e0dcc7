"""Containers in user namespaces: the snapshot's owners are mapped, no file is copied or fetched."""

from __future__ import annotations

import platform
import random

import pytest

from corpus import layers
from machine import Machine, succeeded
from sandbox import containerd2, daemons, services
from sandbox.containerd import CommandError

HOST_ID = 100_000
MAPPING = f"0:{HOST_ID}:65536"
# FUSE_ALLOW_IDMAP is new in Linux 6.12.
FUSE_CAN_BE_MAPPED = tuple(map(int, platform.release().split(".")[:2])) >= (6, 12)
BALLAST = random.Random(13).randbytes(10_000_000)  # nobody reads it, and it does not compress


@pytest.fixture(scope="module")
def pushed(lab):
    busybox = open("/bin/busybox", "rb").read()
    made = lab.push("userns", layers(
        lab.directory("userns"),
        lambda t: (t.directory("bin").file("bin/busybox", busybox, mode=0o755)
                   .symlink("bin/sh", "busybox").symlink("bin/stat", "busybox")
                   .symlink("bin/cat", "busybox")
                   .directory("proc").directory("sys").directory("dev").directory("tmp")),
        lambda t: (t.file("mine", b"root's", uid=0, gid=0, mode=0o600)
                   .file("theirs", b"somebody's", uid=33, gid=34, mode=0o640)
                   .file("ballast", BALLAST))))
    services.convert(made.reference)
    return made


END = "END\n"
SCRIPT = ("echo READY; stat -c '%n %u %g' /mine /theirs /; cat /mine; "
          "echo changed >> /mine; cat /mine; stat -c '%u' /mine; echo END")


def run(side, pushed, *arguments: str) -> str:
    """What it says. ctr loses the last of it now and then, when the container ends before it has read."""
    for _ in range(3):
        said = side.containerd.ctr(
            "run", "--rm", "--snapshotter", "runnel", "--cgroup", "",
            "--runc-root", str(side.containerd.directory / "runc"),
            "--fifo-dir", str(side.containerd.directory / "fifo"), *arguments,
            pushed.reference, "userns", "/bin/sh", "-c", SCRIPT, seconds=120)
        if said.endswith(END):
            return said
    raise AssertionError(f"not all of it came, three times: {said}")


def let_others_enter(directory):
    """runc opens the bundle as the namespace's root, who is nobody here."""
    for path in (directory, *directory.parents):
        if path.name in ("tmp", "var", ""):
            return
        path.chmod(path.stat().st_mode | 0o111)


def fetched(side, pushed) -> int:
    return side.image_status(pushed.reference)["bytes_fetched"]


def test_a_mapped_container_fetches_no_more_than_a_plain_one(fresh_streaming, engine, pushed):
    plain, mapped = (fresh_streaming(engine, more_arguments=("--no-read-ahead",)) for _ in range(2))
    for side in (plain, mapped):
        let_others_enter(side.containerd.directory)
        side.pull(pushed.reference)

    first = run(plain, pushed)
    if engine == "fuse" and not FUSE_CAN_BE_MAPPED:
        with pytest.raises(CommandError, match="cannot show"):
            run(mapped, pushed, "--uidmap", MAPPING, "--gidmap", MAPPING, "--remap-labels")
        return
    second = run(mapped, pushed, "--uidmap", MAPPING, "--gidmap", MAPPING, "--remap-labels")

    # Inside, the owners are those of the image.
    assert "/mine 0 0\n/theirs 33 34\n/ 0 0\nroot's" in first
    assert second == first
    print(f"{engine}: {fetched(plain, pushed)} bytes plain, {fetched(mapped, pushed)} mapped")
    # How far the kernel reads ahead varies by some pages; a copy of the image would be all of it.
    assert fetched(mapped, pushed) <= fetched(plain, pushed) + len(BALLAST) // 8
    assert fetched(mapped, pushed) < len(BALLAST)
    # containerd removes what the container had when its garbage collector comes by.
    daemons.wait_until(lambda: not mapped_mounts(mapped), 30, "the mapped mounts go")


def mapped_mounts(side) -> list[str]:
    points = [mount.point for mount in side.lab.scratch.mounts()]
    return [point for point in points if point.startswith(f"{side.node.root}/s/")]


PROGRAMS = containerd2.find()


@pytest.mark.skipif(isinstance(PROGRAMS, str), reason=str(PROGRAMS))
def test_containerd_2_copies_no_image_for_a_mapping(lab, pushed):
    """From 1.7 on it does, unless the snapshotter says that it maps owners by itself."""
    machine = Machine(lab, lambda directory: containerd2.Containerd2(directory, PROGRAMS)).start()
    try:
        succeeded(machine.install("--verify-image", pushed.reference))
        let_others_enter(machine.containerd.directory)

        said = run(machine, pushed, "--uidmap", MAPPING, "--gidmap", MAPPING, "--remap-labels")

        assert "/mine 0 0\n/theirs 33 34\n/ 0 0\nroot's" in said
        keys = machine.containerd.ctr("snapshots", "--snapshotter", "runnel", "ls").splitlines()
        assert len(keys) == 1 + len(pushed.image.chain_ids), keys
        [image] = machine.node.status()["images"]
        assert image["bytes_fetched"] < len(BALLAST)
        machine.containerd.remove_image(pushed.reference)
        succeeded(machine.uninstall())
    finally:
        machine.stop()

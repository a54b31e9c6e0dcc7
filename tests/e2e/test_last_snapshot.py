"""What is left on a node when containerd needs nothing of an image any more."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from corpus import layers
from sandbox import daemons, scratch, services

CONTENT = bytes(range(256)) * 4_000


@pytest.fixture(scope="module")
def pushed(lab):
    made = lab.push("last-snapshot", layers(
        lab.directory("last-snapshot"),
        lambda t: t.directory("d").file("d/f", CONTENT),
        lambda t: t.file("top", b"on top")))
    services.convert(made.reference)
    return made


def directories_of_snapshots(side) -> list[str]:
    """Without those that are ready for the next ones."""
    names = [entry.name for entry in (side.node.root / "s").iterdir()]
    return [name for name in names if not re.fullmatch(r"spare-\d+", name)]


def use(side, pushed) -> None:
    side.pull(pushed.reference)
    with side.containerd.active(pushed.image.chain_ids[-1]) as (_, root):
        assert (root / "d/f").read_bytes() == CONTENT
        (root / "written").write_bytes(b"by a container")
        assert directories_of_snapshots(side)


def mounts_of(side) -> list[str]:
    return [mount.point for mount in scratch.mounts()
            if mount.point.startswith(str(side.node.root) + "/mounts/")]


def layers_in_cache(side) -> list[str]:
    return [str(device) for device in (side.node.root / "cache").glob("*/device")]


def bytes_on_disk(side) -> int:
    return sum(512 * device.stat().st_blocks for device in
               (side.node.root / "cache").glob("*/device"))


def deleted_and_open(side) -> list[str]:
    """Files of the cache without a name, whose blocks stay as long as the worker has them open."""
    found = []
    for descriptor in Path(f"/proc/{side.node.worker}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:
            continue
        if target.startswith(str(side.node.root / "cache")) and target.endswith(" (deleted)"):
            found.append(target)
    return found


def wait_until_blocks_are_free(side) -> None:
    daemons.wait_until(lambda: not deleted_and_open(side), 20, "no removed layer is open")


def test_nothing_stays_but_the_cache(fresh_streaming, pushed):
    side = fresh_streaming("auto")
    use(side, pushed)
    assert mounts_of(side)
    assert list((side.node.root / "images").iterdir())

    side.containerd.remove_image(pushed.reference)

    assert mounts_of(side) == []
    assert list((side.node.root / "images").iterdir()) == []
    assert side.containerd.snapshots() == {}
    daemons.wait_until(lambda: not directories_of_snapshots(side), 60,
                       "no snapshot's directory is left")
    assert side.image_status(pushed.reference) == {}
    status = side.node.status()["cache"]
    assert layers_in_cache(side), "the next pull finds its bytes"
    assert status["bytes"] <= status["max_bytes"]
    side.node.clear()
    assert layers_in_cache(side) == []
    wait_until_blocks_are_free(side)
    assert side.node.status()["images"] == []


def test_the_bytes_go_at_once_when_the_disk_is_short(fresh_streaming, pushed):
    side = fresh_streaming("auto", more_arguments=("--cache-min-free", str(1 << 60)))
    use(side, pushed)
    daemons.wait_until(lambda: bytes_on_disk(side) > 0, 60, "what was read is in the cache")
    assert side.node.status()["cache"]["state"] == "no filling"

    side.containerd.remove_image(pushed.reference)

    assert bytes_on_disk(side) == 0
    wait_until_blocks_are_free(side)

"""An image is promised when the disk has what the promise needs, and not before: it is mounted by then."""

from __future__ import annotations

from contextlib import suppress

import pytest

import trees
from corpus import layers
from fault_setup import set_faults
from sandbox import scratch, services
from sandbox.containerd import CommandError


@pytest.fixture
def pushed(lab, request):
    name = request.node.name.replace("_", "-")[:60]
    own = lambda t: t.file("name", name.encode())  # no other test's layers are these
    made = lab.push(name, layers(lab.directory("keeping"), own, lambda t: t.file("f", b"content" * 40_000)))
    services.convert(made.reference)
    return made


@pytest.fixture
def faults(lab):
    return lab.directory("keeping") / "faults"


def node(fresh_streaming, faults, fault: str):
    faults.write_text(fault)
    return fresh_streaming("auto", env={"RUNNEL_FAULT": f"@{faults}"})


def mounts_of(side) -> list[str]:
    at = str(side.node.root / "mounts") + "/"
    return [mount.point for mount in scratch.mounts() if mount.point.startswith(at)]


def assert_right(lab, side, pushed) -> None:
    lab.ordinary.pull(pushed.reference)
    chain_id = pushed.image.chain_ids[-1]
    trees.assert_equal(lab.ordinary_tree(chain_id), side.tree(chain_id),
                       pushed.open_mtimes(len(pushed.image.layers)))


def test_an_image_that_the_disk_does_not_keep_is_pulled_as_ever(lab, fresh_streaming, pushed, faults):
    side = node(fresh_streaming, faults, "keep-image:EIO")

    side.pull(pushed.reference)

    status = side.image_status(pushed.reference)
    assert status["reason"] != "Streaming"
    assert "injected" in status["detail"]
    assert [*(side.node.root / "images").iterdir()] == []
    assert mounts_of(side) == []
    assert_right(lab, side, pushed)


def test_an_image_that_could_not_be_mounted_is_promised_by_no_later_worker(lab, fresh_streaming, faults):
    """Its lowest layer has a snapshot, of another image, which is no promise of this one."""
    base = lambda t: t.file("base", b"could not be mounted" * 9_000)
    other, image = (lab.push(f"unmountable-{name}", layers(lab.directory("keeping"), base,
                                                           lambda t, n=name: t.file("name", n.encode())))
                    for name in ("other", "image"))
    for each in (other, image):
        services.convert(each.reference)
    side = fresh_streaming("auto", env={"RUNNEL_FAULT": f"@{faults}"})
    side.pull(other.reference)
    set_faults(faults, "mount-image:EIO", stays_served=False)

    side.pull(image.reference)

    assert "injected" in side.image_status(image.reference)["detail"]
    kept = lambda: len([*(side.node.root / "images").iterdir()])
    assert kept() == 1
    side.kill_worker()
    side.wait_for_containerd()
    assert kept() == 1
    assert not side.image_status(image.reference)
    assert_right(lab, side, image)
    assert_right(lab, side, other)


def test_a_worker_that_dies_before_an_image_is_kept_has_promised_nothing(lab, fresh_streaming, pushed, faults):
    side = node(fresh_streaming, faults, "keep-image:kill")
    worker = side.node.running_worker()

    with suppress(CommandError):
        side.pull(pushed.reference)
    side.wait_for_another_worker(worker)
    side.wait_for_containerd()
    assert not faults.exists(), "it died there"
    side.pull(pushed.reference)

    assert_right(lab, side, pushed)
    reason = side.image_status(pushed.reference)["reason"]
    kept = [each.name for each in (side.node.root / "images").glob("*/image.json")]
    assert kept == (["image.json"] if reason == "Streaming" else [])

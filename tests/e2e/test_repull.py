"""An image that was unpacked the ordinary way: what status says, and how it comes to stream."""

from __future__ import annotations

import pytest

import trees
from corpus import layers
from sandbox import scratch, services
from sandbox.containerd import CommandError
from test_materialize import collect_garbage, node_command


@pytest.fixture
def unpacked(lab, fresh_streaming, request):
    """A node with an image that was pulled before it had an artifact."""
    name = request.node.name.replace("_", "-")[:40]
    tars = layers(lab.directory("repull"),
                  lambda t: t.directory("d").file("d/f", name.encode() * 9_000),
                  lambda t: t.file("top", name.encode()))
    pushed = lab.push(name, tars)
    side = fresh_streaming("auto")
    side.pull(pushed.reference)
    assert side.image_status(pushed.reference)["reason"] == "NoArtifact"
    return side, pushed


def mounts_of(side) -> list[str]:
    at = str(side.node.root / "mounts") + "/"
    return [mount.point for mount in scratch.mounts() if mount.point.startswith(at)]


def test_an_unpacked_image_streams_after_a_repull(lab, unpacked):
    side, pushed = unpacked
    services.convert(pushed.reference)

    said = node_command(side, "repull", pushed.reference)

    assert "2 of 2 layers" in said
    collect_garbage(side)
    assert side.image_status(pushed.reference)["reason"] == "Streaming", "it outlives a collection"
    assert len(mounts_of(side)) == 1
    lab.ordinary.pull(pushed.reference)
    trees.assert_equal(lab.ordinary_tree(pushed.image.chain_ids[-1]),
                       side.tree(pushed.image.chain_ids[-1]),
                       pushed.open_mtimes(len(pushed.image.layers)))
    assert "streams already" in node_command(side, "repull", pushed.reference)
    side.kill_worker()
    side.wait_for_containerd()
    assert side.image_status(pushed.reference)["reason"] == "Streaming", "it is stored"


def test_an_image_in_use_is_not_repulled(unpacked):
    side, pushed = unpacked
    services.convert(pushed.reference)
    before = side.containerd.snapshots()

    with side.containerd.active(pushed.image.chain_ids[-1]) as (key, _):
        with pytest.raises(CommandError) as refused:
            node_command(side, "repull", pushed.reference)

    assert "in use" in str(refused.value)
    assert key in str(refused.value)
    assert side.containerd.snapshots() == before
    assert mounts_of(side) == []


def test_an_image_that_would_not_stream_is_left_as_it_is(unpacked):
    side, pushed = unpacked
    before = side.containerd.snapshots()

    with pytest.raises(CommandError) as refused:
        node_command(side, "repull", pushed.reference)

    assert "would not stream: NoArtifact" in str(refused.value)
    assert side.containerd.snapshots() == before

"""An image that was unpacked the ordinary way: what status says, and how it comes to stream."""

from __future__ import annotations

import os
import signal
import threading

import pytest

import trees
from corpus import layers
from sandbox import daemons, scratch, services
from sandbox.containerd import CommandError
from test_materialize import collect_garbage, node_command


def mounts_of(side) -> list[str]:
    at = str(side.node.root / "mounts") + "/"
    return [mount.point for mount in scratch.mounts() if mount.point.startswith(at)]


def refused(side, reference: str) -> str:
    """What a repull says that fails and changes nothing."""
    before = side.containerd.snapshots()
    with pytest.raises(CommandError) as failure:
        node_command(side, "repull", reference)
    assert side.containerd.snapshots() == before
    assert mounts_of(side) == []
    return str(failure.value)


def test_an_unpacked_image_streams_after_a_repull(lab, fresh_streaming):
    pushed = lab.push("repull", layers(
        lab.directory("repull"),
        lambda t: t.directory("d").file("d/f", b"some bytes" * 9_000),
        lambda t: t.file("top", b"on top")))
    side = fresh_streaming("auto")
    side.pull(pushed.reference)
    assert side.image_status(pushed.reference)["reason"] == "NoArtifact"
    assert "would not stream: NoArtifact" in refused(side, pushed.reference)
    services.convert(pushed.reference)
    with side.containerd.active(pushed.image.chain_ids[-1]) as (key, _):
        words = refused(side, pushed.reference)
        assert "in use" in words and key in words

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


def test_a_repull_that_the_nodes_stop_cuts_has_changed_nothing(lab, fresh_streaming):
    """The registry does not answer, so it waits for a verdict when the node is stopped."""
    pushed = lab.push("repull-stop", layers(
        lab.directory("repull-stop"),
        lambda t: t.file("f", b"some bytes" * 9_000), lambda t: t.file("top", b"on top")))
    side = fresh_streaming("auto")
    side.pull(pushed.reference)
    assert side.image_status(pushed.reference)["reason"] == "NoArtifact"
    services.convert(pushed.reference)
    before = side.containerd.snapshots()
    said = []

    def repull() -> None:
        try:
            said.append(node_command(side, "repull", pushed.reference))
        except CommandError as error:
            said.append(str(error))
    client = threading.Thread(target=repull)
    os.kill(lab.registry.daemon.pid, signal.SIGSTOP)
    try:
        client.start()
        daemons.wait_until(lambda: side.reason_now(pushed.reference) == "Preparing", 60,
                           "it waits for the registry")
        side.node.stop()
        client.join(60)
    finally:
        os.kill(lab.registry.daemon.pid, signal.SIGCONT)

    assert not client.is_alive()
    assert "the node stops" in said[0]
    side.node.start()
    side.wait_for_containerd()
    assert side.containerd.snapshots() == before
    assert "2 of 2 layers" in node_command(side, "repull", pushed.reference)

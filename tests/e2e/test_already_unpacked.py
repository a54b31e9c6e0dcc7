"""An image all of whose layers were unpacked before: nobody needs it mounted, and status says so."""

from __future__ import annotations

from corpus import layers
from sandbox import scratch, services


def mounts_of(side) -> list[str]:
    at = str(side.node.root / "mounts") + "/"
    return [mount.point for mount in scratch.mounts() if mount.point.startswith(at)]


def test_an_image_that_was_unpacked_before_says_so(lab, fresh_streaming):
    name = "already-unpacked"
    tars = layers(lab.directory(name),
                  lambda t: t.directory("d").file("d/f", name.encode() * 9_000),
                  lambda t: t.file("top", name.encode()))
    plain = lab.push(name, tars)
    converted = lab.push(name + "-converted", tars, ["/another"])
    services.convert(converted.reference)
    side = fresh_streaming("auto")
    side.pull(plain.reference)
    assert side.image_status(plain.reference)["reason"] == "NoArtifact"

    side.pull(converted.reference)

    assert side.image_status(converted.reference)["reason"] == "AlreadyUnpacked"
    assert mounts_of(side) == []
    for image in (plain, converted):
        side.containerd.remove_image(image.reference)

    side.pull(converted.reference)

    assert side.image_status(converted.reference)["reason"] == "Streaming", "its snapshots were gone"
    with side.containerd.view(converted.image.chain_ids[-1]) as root:
        assert (root / "d/f").read_bytes() == name.encode() * 9_000

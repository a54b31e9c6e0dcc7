"""Images that nobody needs mounted: all of it was unpacked before, or nobody pulls it after all."""

from __future__ import annotations

import urllib.request

from corpus import layers
from sandbox import daemons, scratch, services


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


def ask_for_the_manifest(side, reference: str) -> None:
    """As a client that looks at an image, and then goes away."""
    host, rest = reference.split("/", 1)
    name, tag = rest.rsplit(":", 1)
    request = urllib.request.Request(
        f"http://{side.node.mirror}/v2/{name}/manifests/{tag}?ns={host}",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


def test_an_image_that_nobody_pulls_is_let_go_after_a_while(lab, fresh_streaming):
    looked_at, pulled = (
        lab.push(name, layers(lab.directory(name),
                              lambda t, n=name: t.file("f", n.encode() * 9_000)))
        for name in ("looked-at", "pulled"))
    for image in (looked_at, pulled):
        services.convert(image.reference)
    config = lab.directory("let-go") / "node.toml"
    config.write_text("version = 1\nkeep_unused_s = 2\n")
    side = fresh_streaming("auto", more_arguments=("--config", str(config)))
    side.pull(pulled.reference)

    ask_for_the_manifest(side, looked_at.reference)

    assert side.image_status(looked_at.reference)["reason"] == "Streaming"
    assert len(mounts_of(side)) == 2
    daemons.wait_until(lambda: len(mounts_of(side)) == 1, 60, "it is unmounted")
    daemons.wait_until(lambda: not side.image_status(looked_at.reference), 60,
                       "nobody says of it that it streams, nor that it was unpacked")
    assert side.image_status(pulled.reference)["reason"] == "Streaming", "it has a snapshot"
    side.pull(looked_at.reference)
    assert side.image_status(looked_at.reference)["reason"] == "Streaming"
    with side.containerd.view(looked_at.image.chain_ids[-1]) as root:
        assert (root / "f").read_bytes() == b"looked-at" * 9_000


def test_a_mount_goes_whose_worker_died_before_anybody_pulled_the_image(lab, fresh_streaming):
    looked_at, pulled = (
        lab.push(name, layers(lab.directory(name),
                              lambda t, n=name: t.file("f", n.encode() * 9_000)))
        for name in ("died-looked-at", "died-pulled"))
    for image in (looked_at, pulled):
        services.convert(image.reference)
    side = fresh_streaming("auto")
    side.pull(pulled.reference)
    ask_for_the_manifest(side, looked_at.reference)
    assert side.image_status(looked_at.reference)["reason"] == "Streaming"
    assert len(mounts_of(side)) == 2

    side.kill_worker()

    daemons.wait_until(lambda: daemons.replies_on(side.node.control), 60, "the next worker answers")
    assert len(mounts_of(side)) == 1, "nobody would ask for the other one again"
    assert not side.node.ask("/complete").get("error")
    with side.containerd.view(pulled.image.chain_ids[-1]) as root:
        assert (root / "f").read_bytes() == b"died-pulled" * 9_000
    side.wait_for_containerd()
    side.pull(looked_at.reference)
    assert side.image_status(looked_at.reference)["reason"] == "Streaming"

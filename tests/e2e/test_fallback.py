"""Proof 7: without a good artifact a container starts the ordinary way, or the pull says why not."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import trees
from corpus import layers
from liar import Liar
from sandbox import daemons, images, services
from sandbox.containerd import CommandError

CONTENT = [lambda t: t.directory("d").file("d/f", b"content" * 40_000),
           lambda t: t.file("top", b"top")]


@pytest.fixture
def pushed(lab, request):
    name = request.node.name.replace("[", "-").replace("]", "").replace("_", "-")[:60]
    own = lambda t: t.file("name", name.encode())  # no other test's layers are these
    return lab.push(name, layers(lab.directory("fallback"), own, *CONTENT))


def assert_ordinary(lab, side, pushed) -> None:
    lab.ordinary.pull(pushed.reference)
    chain_id = pushed.image.chain_ids[-1]
    trees.assert_equal(lab.ordinary_tree(chain_id), side.tree(chain_id),
                       pushed.open_mtimes(len(pushed.image.layers)))


def test_an_image_without_an_artifact_is_pulled_as_ever(lab, streaming, pushed):
    streaming.pull(pushed.reference)

    assert streaming.image_status(pushed.reference)["reason"] == "NoArtifact"
    assert_ordinary(lab, streaming, pushed)


def artifact_blobs(reference: str) -> dict[str, str]:
    """Media type to digest, of the artifact's blobs."""
    host, repository, _ = images.split_reference(reference)
    digest = images.referrers(reference)[0]["digest"]
    url = f"http://{host}/v2/{repository}/manifests/{digest}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        manifest = json.load(answer)
    return {layer["mediaType"]: layer["digest"] for layer in manifest["layers"]}


def damage(lab, digest: str, at: int) -> None:
    """Flips a byte of a blob where the registry keeps it."""
    found = [path for path in (lab.registry.directory / "data").rglob("*")
             if path.is_file() and digest.partition(":")[2] in (path.name, path.parent.name)]
    assert len(found) == 1, found
    data = bytearray(found[0].read_bytes())
    data[at] ^= 0xFF
    found[0].write_bytes(data)


@pytest.mark.parametrize("at", [0, 40, 200, -1], ids=["magic", "counts", "records", "end"])
def test_a_corrupt_boot_blob_is_refused(lab, streaming, pushed, at):
    services.convert(pushed.reference)
    damage(lab, artifact_blobs(pushed.reference)["application/vnd.runnel.boot.v1"], at)

    streaming.pull(pushed.reference)

    status = streaming.image_status(pushed.reference)
    assert status["reason"] in ("ArtifactCorrupt", "SourceUnavailable"), status
    assert status["detail"]
    assert_ordinary(lab, streaming, pushed)


def test_no_layer_is_promised_before_the_boot_data_are_here(lab, fresh_streaming, pushed):
    services.convert(pushed.reference)
    boot = artifact_blobs(pushed.reference)["application/vnd.runnel.boot.v1"]
    with Liar(lab.registry.host) as liar:
        side = fresh_streaming("erofs-file", registry=liar.host)
        reference = f"{liar.host}/{pushed.reference.partition('/')[2]}"
        liar.rules({"path": f"/blobs/{boot}", "lie": {"kind": "stall", "at": 1000}})
        with ThreadPoolExecutor(1) as pool:
            pull = pool.submit(side.pull, reference)
            daemons.wait_until(lambda: liar.counters()["lies"].get("stall") or pull.done(), 60,
                               "the boot blob is asked for and stalls")
            assert side.containerd.snapshots() == {}, "nothing is committed"
            assert not pull.done()
            assert side.reason_now(reference) == "Preparing"
            liar.honest()
            pull.result(timeout=120)
        status = side.image_status(reference)
        assert status["reason"] == "Streaming", status
        # And what was promised needs no registry to be mounted.
        liar.down()
        with side.containerd.view(pushed.image.chain_ids[-1]) as root:
            assert sorted(path.name for path in root.iterdir()) == ["d", "name", "top"]


def read_or_none(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def test_a_registry_that_goes_after_the_pull_costs_reads_and_gives_them_back(lab, fresh_streaming,
                                                                             engine):
    private = services.Registry(lab.directory(f"going-{engine}")).start()
    try:
        image = images.image_of(lab.directory("gone") / "layout",
                                layers(lab.directory("gone-layers"), *CONTENT))
        reference = f"{private.host}/going:1"
        images.push(image.layout, reference)
        services.convert(reference)
        side = fresh_streaming(engine, registry=private.host, more_arguments=("--read-timeout", "3"))
        side.pull(reference)
        private.stop()

        with side.containerd.view(image.chain_ids[-1]) as root:
            with pytest.raises(OSError) as refused:
                (root / "d/f").read_bytes()
            assert refused.value.errno == 5
            private.start()
            # A range that came late is refused for two seconds.
            daemons.wait_until(lambda: read_or_none(root / "d/f") is not None, 30, "reads work again")
            assert (root / "d/f").read_bytes() == b"content" * 40_000
    finally:
        private.stop()


def test_a_registry_that_cannot_be_reached_fails_the_pull_with_a_sentence(lab, streaming):
    pushed = lab.push("unreachable", layers(lab.directory("unreachable"), *CONTENT))
    private = services.Registry(lab.directory("unreachable-registry")).start()
    reference = f"{private.host}/unreachable:1"
    images.push(pushed.image.layout, reference)
    streaming.containerd.use_mirror(private.host, streaming.node.mirror)
    private.stop()

    with pytest.raises(CommandError) as failure:
        streaming.pull(reference)

    assert private.host in str(failure.value)
    assert "exit 1" in str(failure.value)

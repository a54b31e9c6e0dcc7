"""An image that was pulled without its layers can be given them: export, push and save work then."""

from __future__ import annotations

import json
import random
import tarfile

import pytest

from corpus import layers
from liar import Liar
from sandbox import images, services
from sandbox.containerd import CommandError, run


def node_command(side, name: str, reference: str) -> str:
    return run([services.program(), "node", name, reference, "--control", str(side.node.control),
                "--address", str(side.containerd.socket)])


def collect_garbage(side) -> None:
    side.containerd.ctr("leases", "create", "--id", "nothing")
    side.containerd.ctr("leases", "rm", "--sync", "nothing")


def content(side) -> set[str]:
    return set(side.containerd.ctr("content", "ls", "-q").split())


@pytest.fixture
def pushed(lab):
    made = lab.push("materialize", layers(
        lab.directory("materialize"),
        lambda t: t.directory("d").file("d/large", random.Random(7).randbytes(9 << 20)),
        lambda t: t.file("top", b"materialized")))
    services.convert(made.reference)
    return made


def test_a_streamed_image_is_exported_after_it_was_materialized(lab, fresh_streaming, pushed):
    side = fresh_streaming("auto")
    side.pull(pushed.reference)
    digests = [layer.descriptor["digest"] for layer in pushed.image.layers]
    archive = lab.directory("export") / "image.tar"
    assert not content(side) & set(digests)
    with pytest.raises(CommandError):
        side.containerd.ctr("images", "export", str(archive), pushed.reference)

    said = node_command(side, "materialize", pushed.reference)

    assert said.startswith("2 layers are in containerd"), said
    collect_garbage(side)
    assert set(digests) <= content(side), "what is brought is kept"
    side.containerd.ctr("images", "export", str(archive), pushed.reference)
    with tarfile.open(archive) as tar:
        for digest in digests:
            member = tar.extractfile("blobs/sha256/" + digest.partition(":")[2])
            assert images.sha256(member.read()) == digest
    layout = lab.directory("copied") / "layout"
    run(["skopeo", "--insecure-policy", "copy", "--quiet", f"oci-archive:{archive}",
         f"oci:{layout}:copied"])
    assert [d["digest"] for d in images.read_layout(layout)["layers"]] == digests
    stat = json.loads(run(["umoci", "stat", "--json", "--image", f"{layout}:copied"]))
    assert len(stat["history"]) == 2
    note = lab.directory("note") / "note"
    note.write_text("built on top")
    run(["umoci", "insert", "--rootless", "--image", f"{layout}:copied", str(note), "/note"])
    built = [descriptor["digest"] for descriptor in images.read_layout(layout)["layers"]]
    assert built[:-1] == digests and len(built) == len(digests) + 1, "a build goes on from it"
    again = lab.reference("materialize-pushed")
    side.containerd.ctr("images", "tag", pushed.reference, again)
    side.containerd.ctr("images", "push", "--plain-http", again)
    assert images.manifest_of(again)[0] == pushed.image.manifest_digest
    assert "0 B brought" in node_command(side, "materialize", pushed.reference)
    assert side.image_status(pushed.reference)["reason"] == "Streaming"


def test_wrong_bytes_never_arrive_and_what_came_is_gone_on_with(lab, fresh_streaming, pushed):
    layer = pushed.image.layers[0].descriptor["digest"]
    of_layer = f"/blobs/{layer}"
    with Liar(lab.registry.host) as liar:
        side = fresh_streaming("auto", registry=liar.host)
        reference = f"{liar.host}/materialize:1"
        side.pull(reference)
        assert side.image_status(reference)["reason"] == "Streaming"

        liar.rules({"path": of_layer, "lie": "garbage"})
        with pytest.raises(CommandError) as refused:
            node_command(side, "materialize", reference)
        assert layer in str(refused.value)
        assert layer not in content(side)
        assert layer not in side.containerd.ctr("content", "active"), "it is not gone on with"

        liar.rules({"path": of_layer, "after": 1, "lie": {"kind": "status", "status": 404}})
        with pytest.raises(CommandError) as refused:
            node_command(side, "materialize", reference)
        assert "push the image again" in str(refused.value)
        collect_garbage(side)
        assert layer in side.containerd.ctr("content", "active"), "what has come is kept"

        liar.honest()
        assert node_command(side, "materialize", reference).startswith("2 layers")
        assert layer in content(side)
        assert layer not in side.containerd.ctr("content", "active")


def test_an_image_that_containerd_does_not_know_is_named(fresh_streaming, lab):
    side = fresh_streaming("auto")

    with pytest.raises(CommandError) as failure:
        node_command(side, "materialize", lab.reference("no-such-image"))

    assert "no-such-image" in str(failure.value)
    assert "not found in its namespace k8s.io (--namespace" in str(failure.value)

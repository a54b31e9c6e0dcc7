"""A signature is of all that is mounted: who answers for the registry cannot put other files under it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

import pytest

from corpus import layers
from guarded_registry import GuardedRegistry, Lie
from runnel_env import engines
from sandbox import images, services

GOOD, EVIL = b"good" * 30_000, b"evil" * 30_000
FILE = "d/file"
HEAD_SIZE, RECORD_SIZE = 128, 160  # docs/format.md, section 6


@dataclass
class Forgery:
    """A signed artifact, and what an image with other files offers under its signed fields."""

    front: GuardedRegistry
    reference: str
    neighbour: str  # an honest image with the same lowest layer
    subject: str
    chain_id: str
    public_key: str
    manifest: dict[str, Lie]
    blobs: dict[str, Lie]

    def status_and_content(self, side) -> tuple[dict, bytes]:
        side.containerd.use_mirror(self.front.host, side.node.mirror)
        self.front.seen.clear()
        side.pull(self.reference)
        status = side.image_status(self.reference)
        with side.containerd.view(self.chain_id) as root:
            return status, (root / FILE).read_bytes()


@pytest.fixture(scope="module")
def forgery(lab):
    registry = services.Registry(lab.directory("between")).start()
    front = GuardedRegistry(registry.host, {}).start()
    keys = lab.directory("key")
    private, public = keys / "private.pem", keys / "public.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    made = {}
    for name, content, top in (("good", GOOD, b"1"), ("evil", EVIL, b"1"), ("neighbour", GOOD, b"2")):
        tars = layers(lab.directory(name), lambda t: t.directory("d").file(FILE, content),
                      lambda t: t.file("top", top))
        made[name] = images.image_of(lab.directory(name) / "layout", tars)
        images.push(made[name].layout, f"{registry.host}/base:{name}")
        services.convert(f"{registry.host}/base:{name}", key=private if name == "good" else None)
    subject, _ = images.manifest_of(f"{registry.host}/base:good")
    manifest, blobs = forged(registry.host, subject)
    try:
        yield Forgery(front, f"{front.host}/base:good", f"{front.host}/base:neighbour", subject,
                      made["good"].chain_ids[-1], str(public), manifest, blobs)
    finally:
        front.stop()
        registry.stop()


def forged(host: str, subject: str) -> tuple[dict[str, Lie], dict[str, Lie]]:
    """The artifact with what was not signed once from the other, and that one's blobs."""
    (good,), (evil,) = (images.referrers(f"{host}/base:{name}") for name in ("good", "evil"))
    artifact, other = (json.loads(fetched(host, f"manifests/{one['digest']}")) for one in (good, evil))
    boot = bytearray(fetched(host, f"blobs/{other['layers'][-1]['digest']}"))
    head_size = int(other["annotations"]["dev.runnel.head"].split()[1])
    blobs = {}
    for number, (ours, theirs) in enumerate(zip(artifact["layers"][:-1], other["layers"][:-1])):
        blobs[f"blobs/{ours['digest']}"] = Lie(fetched(host, f"blobs/{theirs['digest']}"))
        record = HEAD_SIZE + number * RECORD_SIZE
        boot[record:record + 32] = bytes.fromhex(ours["digest"].removeprefix("sha256:"))
        ours["size"] = theirs["size"]
        ours["annotations"]["dev.runnel.table"] = theirs["annotations"]["dev.runnel.table"]
    blobs[f"blobs/{artifact['layers'][-1]['digest']}"] = Lie(bytes(boot))
    artifact["layers"][-1]["size"] = len(boot)
    artifact["annotations"]["dev.runnel.head"] = f"{images.sha256(bytes(boot[:head_size]))} {head_size}"
    data = json.dumps(artifact).encode()
    good.update(digest=images.sha256(data), size=len(data))
    index = {"schemaVersion": 2, "mediaType": images.INDEX, "manifests": [good]}
    return {f"manifests/{images.sha256(data)}": Lie(data, images.MANIFEST),
            f"referrers/{subject}": Lie(json.dumps(index).encode(), images.INDEX)}, blobs


def fetched(host: str, path: str) -> bytes:
    status, _, body = images.request(f"http://{host}/v2/base/{path}",
                                     headers={"Accept": images.MANIFEST})
    assert status == 200, path
    return body


def openssl(*arguments) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def node_with_key(fresh_streaming, forgery):
    return fresh_streaming(engines()[0], more_arguments=(
        "--streaming-registry", "registry.example", "--trusted-key", forgery.public_key))


def test_the_forgery_works_on_a_node_that_asks_for_no_signature(fresh_streaming, forgery):
    """Else the tests below prove nothing."""
    forgery.front.lies = forgery.manifest | forgery.blobs
    side = fresh_streaming(engines()[0])

    status, content = forgery.status_and_content(side)

    assert (status["reason"], content) == ("Streaming", EVIL)


def test_what_was_signed_streams(node_with_key, forgery):
    forgery.front.lies = {}

    status, content = forgery.status_and_content(node_with_key)

    assert (status["reason"], content) == ("Streaming", GOOD), status


def test_another_head_and_other_tables_under_a_signature_are_not_trusted(node_with_key, forgery):
    forgery.front.lies = forgery.manifest | forgery.blobs

    status, content = forgery.status_and_content(node_with_key)

    assert (status["reason"], content) == ("ArtifactNotTrusted", GOOD), status
    assert "runnel convert --key" in status["detail"]
    assert not forgery.front.requests("/blobs/" + boot_of(forgery)), "nothing of it was wanted"


def test_another_boot_blob_under_a_signed_manifest_is_not_mounted(node_with_key, forgery):
    forgery.front.lies = forgery.blobs

    status, content = forgery.status_and_content(node_with_key)

    assert (status["reason"], content) == ("ArtifactCorrupt", GOOD), status


def test_another_table_for_a_blob_that_streams_is_refused(fresh_streaming, forgery):
    """Whoever is trusted: readers of the one would get what the other's table says."""
    forgery.front.lies = {}
    side = fresh_streaming(engines()[0])
    side.containerd.use_mirror(forgery.front.host, side.node.mirror)
    side.pull(forgery.neighbour)
    assert side.image_status(forgery.neighbour)["reason"] == "Streaming"
    worker = side.node.worker
    forgery.front.lies = forgery.manifest | forgery.blobs

    side.pull(forgery.reference)

    found = {one["image"].partition("@")[2]: one for one in side.node.status()["images"]}
    status = found[forgery.subject]
    assert status["reason"] == "ArtifactCorrupt" and "another chunk table" in status["detail"], status
    with side.containerd.view(forgery.chain_id) as root:
        assert (root / FILE).read_bytes() == GOOD
    assert side.node.worker == worker


def boot_of(forgery: Forgery) -> str:
    (data,) = (lie.body for path, lie in forgery.manifest.items() if path.startswith("manifests/"))
    return json.loads(data)["layers"][-1]["digest"]

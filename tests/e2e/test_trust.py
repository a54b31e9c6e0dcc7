"""A stranger's artifact is used by nobody, whichever registry brings it and in whatever order."""

from __future__ import annotations

import json

import pytest

import trees
from corpus import layers
from guarded_registry import GuardedRegistry
from runnel_env import engines
from sandbox import images, services

GOOD, EVIL = b"good" * 30_000, b"evil" * 30_000
BASE_FILE, TOP_FILE = "d/base", "top"


def base_layers(at, content: bytes):
    return layers(at, lambda t: t.directory("d").file(BASE_FILE, content),
                  lambda t: t.file(TOP_FILE, content[::-1]))


@pytest.fixture(scope="module")
def public(lab):
    """The public base image, with a good artifact, in the registry that is trusted."""
    pushed = lab.push("trust-base", base_layers(lab.directory("trust-good"), GOOD))
    services.convert(pushed.reference)
    lab.ordinary.pull(pushed.reference)
    return pushed


@pytest.fixture(scope="module")
def stranger(lab, public):
    """A registry that serves the same image with its own artifact, and one that stands on it."""
    registry = services.Registry(lab.directory("stranger")).start()
    front = GuardedRegistry(registry.host, {}).start()  # tells who asked for what
    base = f"{registry.host}/base:1"
    images.push(public.image.layout, base)

    evil = images.image_of(lab.directory("evil") / "layout",
                           base_layers(lab.directory("evil-layers"), EVIL))
    images.push(evil.layout, f"{registry.host}/base:evil")
    services.convert(f"{registry.host}/base:evil")
    claim(registry.host, "base", "evil", public.reference)

    tars = base_layers(lab.directory("trust-again"), GOOD)
    own = layers(lab.directory("derived-top"), lambda t: t.file("own", b"own"))
    derived = images.image_of(lab.directory("derived") / "layout", tars + own)
    assert derived.chain_ids[:2] == public.image.chain_ids, "it stands on the public one"
    images.push(derived.layout, f"{registry.host}/derived:1")
    services.convert(f"{registry.host}/derived:1")
    try:
        yield front, derived
    finally:
        front.stop()
        registry.stop()


def claim(host: str, repository: str, evil_tag: str, public_reference: str) -> None:
    """The artifact of the evil image, as if it were made of the public one."""
    (entry,) = images.referrers(f"{host}/{repository}:{evil_tag}")
    artifact = fetched(f"{host}/{repository}", f"manifests/{entry['digest']}")
    digest, manifest = images.manifest_of(public_reference)
    public_repository = public_reference.rpartition(":")[0]
    config = fetched(public_repository, f"blobs/{manifest['config']['digest']}")
    artifact["subject"]["digest"] = digest
    made = [layer for layer in artifact["layers"]
            if layer["mediaType"] == "application/vnd.runnel.layer.v1"]
    sources = zip(manifest["layers"], config["rootfs"]["diff_ids"])
    for layer, (source, diff_id) in zip(made, sources, strict=True):
        layer["annotations"]["dev.runnel.source"] = f"{source['digest']} {diff_id}"
    data = json.dumps(artifact).encode()
    status, _, body = images.request(
        f"http://{host}/v2/{repository}/manifests/{images.sha256(data)}", "PUT",
        {"Content-Type": images.MANIFEST}, data)
    assert status == 201, body


def fetched(repository: str, path: str) -> dict:
    host, _, name = repository.partition("/")
    status, _, body = images.request(f"http://{host}/v2/{name}/{path}",
                                     headers={"Accept": images.MANIFEST})
    assert status == 200, path
    return json.loads(body)


@pytest.fixture
def node(lab, fresh_streaming):
    """A maker of nodes: node(trusted registries) knows the mirror's registries by name."""
    def make(*trusted: str):
        arguments = [a for host in trusted for a in ("--streaming-registry", host)]
        return fresh_streaming(engines()[0], more_arguments=tuple(arguments))
    return make


def test_the_attack_works_on_a_node_that_trusts_the_stranger(lab, node, public, stranger):
    """Else the tests below prove nothing."""
    front, _ = stranger
    side = node(front.host)
    side.containerd.use_mirror(front.host, side.node.mirror)

    side.pull(f"{front.host}/base:1")

    assert side.image_status(f"{front.host}/base:1")["reason"] == "Streaming"
    with side.containerd.view(public.image.chain_ids[-1]) as root:
        assert (root / BASE_FILE).read_bytes() == EVIL


@pytest.mark.parametrize("order", ["stranger-first", "stranger-last"])
def test_no_pod_of_any_registry_sees_a_strangers_files(lab, node, public, stranger, order):
    front, derived = stranger
    side = node(lab.registry.host)
    side.containerd.use_mirror(front.host, side.node.mirror)
    strange = [f"{front.host}/base:1", f"{front.host}/derived:1"]
    order = strange + [public.reference] if order == "stranger-first" else [public.reference] + strange

    for reference in order:
        side.pull(reference)
        if reference in strange:
            status = side.image_status(reference)
            # The same manifest that a trusted registry brought before stays what it was.
            same = reference.endswith("base:1") and order[0] == public.reference
            assert same or status["reason"] == "ArtifactNotTrusted", status

    trees.assert_equal(lab.ordinary_tree(public.image.chain_ids[-1]),
                       side.tree(public.image.chain_ids[-1]), public.open_mtimes(2))
    for depth in range(len(derived.chain_ids)):
        with side.containerd.view(derived.chain_ids[depth]) as root:
            assert (root / BASE_FILE).read_bytes() == GOOD


def test_a_registry_that_nobody_configured_is_not_touched(lab, node, public, stranger):
    """Neither for a label of the CRI, nor for a request that some process sends to the mirror."""
    front, _ = stranger
    side = node("loopback")
    side.containerd.use_mirror(front.host, None)
    front.seen.clear()

    status, _, _ = images.request(
        f"http://{side.node.mirror}/v2/base/manifests/1?ns={front.host}",
        headers={"Accept": images.MANIFEST, "User-Agent": "some process"})
    assert status == 200, "the mirror serves whoever asks, with what he brings"
    side.pull(f"{front.host}/base:1")

    assert side.image_status(f"{front.host}/base:1")["reason"] == "RegistryNotConfigured"
    assert [one for one in front.seen if one.by_the_node] == []
    with side.containerd.view(public.image.chain_ids[-1]) as root:
        assert (root / BASE_FILE).read_bytes() == GOOD

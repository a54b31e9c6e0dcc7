"""What a start read comes to the registry by itself, for the next node's boot blob."""

from __future__ import annotations

import json
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from corpus import layers
from sandbox import daemons, images, services
from sandbox.containerd import run

SIZE = 300_000


@pytest.fixture
def pushed(lab, request):
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    made = lab.push(name, layers(
        lab.directory("profiles"), lambda t: t.file("read", random.Random(name).randbytes(SIZE)),
        lambda t: t.file("left", random.Random(name + " left").randbytes(8 * SIZE))))
    services.convert(made.reference)
    return made


def place(side, reference: str) -> tuple[str, str, str]:
    """Host, repository and digest."""
    host, _, rest = side.image_status(reference)["image"].partition("/")
    repository, _, digest = rest.partition("@")
    return host, repository, digest


def told(side, reference: str) -> dict | None:
    """What the registry has of the image's starts."""
    return told_of(*place(side, reference))


def told_of(host: str, repository: str, digest: str) -> dict | None:
    try:
        with urllib.request.urlopen(f"http://{host}/runnel/v1/{repository}/_profiles/{digest}",
                                    timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        assert error.code == 404, error
        return None


def test_a_start_is_told_once_nothing_new_is_read(fresh_streaming, pushed):
    side = fresh_streaming("erofs-file", more_arguments=("--tell-starts",))
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        assert len((root / "read").read_bytes()) == SIZE

        daemons.wait_until(lambda: told(side, pushed.reference), 30, "the registry was told")

        profile = told(side, pushed.reference)
        mine = json.loads(side.node.profile(pushed.reference))
    assert profile["votes"] == 1
    assert profile["chunks"] == mine["chunks"] != []
    read = {layer for layer, _ in profile["chunks"]}
    assert len(read) == 1, "the file of the other layer was not read"
    assert profile["layers"] == [mine["layers"][layer] for layer in read]
    node_id = (side.node.root / "node-id").read_text()
    assert re.fullmatch("[0-9a-f]{32}", node_id)


def test_a_tag_means_the_image_of_the_repository_that_streams_since_last(fresh_streaming, lab):
    versions = []
    for tag in ("v1", "v2"):
        content = random.Random(f"version {tag}").randbytes(SIZE)
        versions.append(lab.push("versions-of-one", layers(
            lab.directory("versions"), lambda t, content=content: t.file("read", content)), tag=tag))
        services.convert(versions[-1].reference)
    side = fresh_streaming("erofs-file")
    by_digest = sorted(versions, key=lambda pushed: pushed.image.manifest_digest)

    for pushed in (by_digest[1], by_digest[0]):
        side.pull(pushed.reference)
        with side.containerd.view(pushed.image.chain_ids[-1]) as root:
            assert len((root / "read").read_bytes()) == SIZE
        profile = json.loads(side.node.profile(pushed.reference))
        assert pushed.image.manifest_digest in profile["image"] and profile["chunks"]


def test_who_reads_a_whole_image_does_not_vote(fresh_streaming, pushed):
    side = fresh_streaming("erofs-file", more_arguments=("--tell-starts", "--log-level", "debug"))
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        for name in ("read", "left"):
            (root / name).read_bytes()

        daemons.wait_until(lambda: "more than a start does" in side.node.daemon.log.read_text(), 30,
                           "the node leaves it")

    assert told(side, pushed.reference) is None
    assert json.loads(side.node.profile(pushed.reference))["chunks"], "who asks is told all the same"


def artifacts(side, reference: str) -> list[dict]:
    """The image's artifacts, the newest generation first."""
    return artifacts_of(*place(side, reference))


def artifacts_of(host: str, repository: str, digest: str) -> list[dict]:
    with urllib.request.urlopen(f"http://{host}/v2/{repository}/referrers/{digest}",
                                timeout=30) as answer:
        listed = json.load(answer)["manifests"]
    return sorted(listed, key=lambda each: -generation(each))


def generation(descriptor: dict) -> int:
    return int(descriptor["annotations"]["dev.runnel.generation"])


def test_the_next_node_gets_what_the_first_one_read_with_the_boot_blob(fresh_streaming, pushed):
    first = fresh_streaming("erofs-file", more_arguments=("--tell-starts",))
    first.pull(pushed.reference)
    with first.containerd.view(pushed.image.chain_ids[-1]) as root:
        content = (root / "read").read_bytes()
        daemons.wait_until(lambda: len(artifacts(first, pushed.reference)) == 2, 30,
                           "the registry has made another artifact")
    new, old = artifacts(first, pushed.reference)
    assert (generation(new), generation(old)) == (2, 1)

    second = fresh_streaming("erofs-file", more_arguments=("--tell-starts",))
    second.pull(pushed.reference)
    with second.containerd.view(pushed.image.chain_ids[-1]) as root:
        assert (root / "read").read_bytes() == content
        status = second.image_status(pushed.reference)

    assert status["reason"] == "Streaming"
    grown = status["boot_bytes"] - first.image_status(pushed.reference)["boot_bytes"]
    assert grown > 0.9 * SIZE, "the file came with the boot blob"
    assert status["bytes_fetched"] == status["boot_bytes"], "and counts once"


def turns(condition: Callable[[], bool], seconds: float, what: str) -> tuple[float, float]:
    """When the condition was last seen false, and when first seen true: 5 ms apart or so."""
    begin = before = time.monotonic()
    while not condition():
        before = time.monotonic()
        assert before - begin < seconds, f"waited {seconds} s for {what}"
        time.sleep(0.005)
    return before, time.monotonic()


IMAGES = ["python", pytest.param("jupyter", marks=pytest.mark.heavy)]


def check_another_boot_blob(side, reference: str, name: str) -> None:
    """It is there three seconds after the vote of the first node that starts the image."""
    side.pull(reference)
    image = place(side, reference)

    started = side.containerd.run(reference, name)
    assert started.seconds_to_ready is not None, started.output
    untold, _ = turns(lambda: told_of(*image) is not None, 45, "a node's vote")
    _, published = turns(lambda: len(artifacts_of(*image)) == 2, 30, "another artifact")

    newest = artifacts_of(*image)[0]
    print(f"{name}: a boot blob {published - untold:.2f} s after the vote: {newest['annotations']}")
    assert generation(newest) == 2
    assert published - untold <= 3


@pytest.mark.parametrize("name", IMAGES)
def test_what_a_node_told_is_in_a_boot_blob_three_seconds_later(lab, fresh_streaming, recipe, name):
    # Of this test alone: what is told of an image changes its boot blob.
    reference = lab.push_layout(f"told-{name}", recipe(name)).reference
    host, _, repository = reference.partition("/")
    run([services.program(), "artifact-streaming", "create", "-n", host, "-t", repository])

    check_another_boot_blob(fresh_streaming("erofs-file", more_arguments=("--tell-starts",)), reference,
                            f"told-{name}")


@pytest.mark.parametrize("name", IMAGES)
def test_so_it_is_where_the_artifact_was_made_elsewhere(lab, fresh_streaming, recipe, name):
    registry = services.Registry(lab.directory("registry"))  # which has never seen these layers
    registry.start()
    try:
        reference = f"{registry.host}/foreign-{name}:1"
        images.push(recipe(name), reference)
        services.convert(reference)
        daemons.wait_until(lambda: " are what is made here, 0 not" in registry.daemon.log.read_text(), 120,
                           "the registry's look at the layers")

        check_another_boot_blob(fresh_streaming("erofs-file", registry=registry.host,
                                                more_arguments=("--tell-starts",)), reference, f"foreign-{name}")
    finally:
        registry.stop()

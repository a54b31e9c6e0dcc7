"""Images on one base: what the snapshot of the base says of each of them, and of none."""

from __future__ import annotations

import threading

import pytest
from corpus import layers
from sandbox import daemons, services
from test_already_unpacked import ask_for_the_manifest, mounts_of

CONTENT = b"of the base" * 9_000


@pytest.fixture
def versions(lab, request):
    """Two images on one base, each with a layer of its own."""
    own = request.node.name
    pushed = [lab.push(f"{name}-{own}".replace("_", "-")[:60].rstrip("-"),
                       layers(lab.directory("shared-base"),
                              lambda t: t.file("base", CONTENT + own.encode()),
                              lambda t, n=name: t.file("top", n.encode())))
              for name in ("first", "second")]
    for image in pushed:
        services.convert(image.reference)
    return pushed


def images_kept(side) -> int:
    return len([*(side.node.root / "images").iterdir()])


def read(side, image, path: str, depth: int = 2) -> bytes:
    with side.containerd.view(image.image.chain_ids[depth - 1]) as root:
        return (root / path).read_bytes()


def test_an_image_goes_though_another_on_its_base_stays(fresh_streaming, versions):
    first, second = versions
    side = fresh_streaming("auto")
    for image in versions:
        side.pull(image.reference)
        assert side.image_status(image.reference)["reason"] == "Streaming"
    assert images_kept(side) == 2

    side.containerd.remove_image(first.reference)

    daemons.wait_until(lambda: not side.image_status(first.reference), 60, "the first image goes")
    assert images_kept(side) == 1
    assert len(mounts_of(side)) == 1
    assert read(side, second, "top") == b"second"
    assert read(side, second, "base", depth=1).startswith(CONTENT), "the other one has the base"
    side.pull(first.reference)
    assert side.image_status(first.reference)["reason"] == "Streaming"
    assert read(side, first, "top") == b"first"


def test_an_image_stays_while_a_container_is_on_its_base_alone(fresh_streaming, versions, lab):
    config = lab.directory("shared-base") / "node.toml"
    config.write_text("version = 1\nkeep_unused_s = 2\n")
    side = fresh_streaming("auto", more_arguments=("--config", str(config)))
    for image in versions:
        side.pull(image.reference)
    with side.containerd.view(versions[0].image.chain_ids[0]) as root:
        used = next(each for each in mounts_of(side) if each.endswith("-1"))
        through = next(image for image in versions if image_id(side, image) in used)
        other = next(image for image in versions if image is not through)

        side.containerd.remove_image(through.reference)
        side.kill_worker()

        assert (root / "base").read_bytes().startswith(CONTENT)
        assert images_kept(side) == 2
        side.wait_for_containerd()
    daemons.wait_until(lambda: images_kept(side) == 1, 60, "nobody reads through it any more")
    assert read(side, other, "base").startswith(CONTENT)


def image_id(side, image) -> str:
    return side.image_status(image.reference)["image"].partition("@sha256:")[2]


def test_an_image_of_an_earlier_worker_may_be_pulled_while_it_goes(fresh_streaming, versions):
    image = versions[0]
    side = fresh_streaming("auto")
    side.pull(image.reference)
    read(side, image, "top")
    side.kill_worker()
    side.wait_for_containerd()
    mount, = mounts_of(side)

    with open(f"{mount}/top", "rb"):  # for two seconds it cannot be unmounted
        removal = threading.Thread(target=side.containerd.remove_image, args=(image.reference,))
        removal.start()
        daemons.wait_until(lambda: side.reason_now(image.reference) == "Preparing", 60, "it is being let go of")
        ask_for_the_manifest(side, image.reference)
        removal.join()

    assert side.image_status(image.reference)["reason"] == "Streaming"
    side.pull(image.reference)
    assert read(side, image, "top") == b"first"

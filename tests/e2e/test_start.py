"""Proof 4, and proof 1 on real images: what a start of a recipe image costs, and how it looks."""

from __future__ import annotations

from pathlib import Path

import pytest

import trees
from sandbox import daemons, images, services

# How much of its compressed bytes a start may fetch. Python's is what is asked for; node's one program is
# most of what it needs and a sixth of all.
MOST_OF_IMAGE = {"python": 0.15, "nginx": 0.15, "node": 0.21, "jupyter": 0.15}
RECIPES = [pytest.param(name, marks=[] if name == "python" else pytest.mark.heavy)
           for name in MOST_OF_IMAGE]


@pytest.fixture(scope="module")
def recipe_image(lab, converted_recipe):
    """The converted image, which is also pulled the ordinary way."""
    pulled = {}

    def get(name: str):
        if name not in pulled:
            pulled[name] = converted_recipe(name)
            lab.ordinary.pull(pulled[name].reference)
        return pulled[name]
    return get


@pytest.mark.parametrize("name", RECIPES)
def test_a_start_fetches_a_small_part_of_the_image(fresh_streaming, engine, recipe_image, name):
    pushed = recipe_image(name)
    # What is read, whatever the distance of the registry; test_cold_start.py has read-ahead.
    side = fresh_streaming(engine, more_arguments=("--no-read-ahead",))
    side.pull(pushed.reference)

    started = side.containerd.run(pushed.reference, f"start-{name}-{engine}")

    assert started.seconds_to_ready is not None, started.output
    status = side.image_status(pushed.reference)
    assert status["reason"] == "Streaming", status
    _, manifest = images.manifest_of(pushed.reference)
    share = status["bytes_fetched"] / images.compressed_bytes(manifest)
    print(f"{name} {engine}: READY after {started.seconds_to_ready:.2f} s, {100 * share:.1f} %")
    assert 0 < share <= MOST_OF_IMAGE[name]
    again = side.containerd.run(pushed.reference, f"again-{name}-{engine}")
    assert again.seconds_to_ready is not None
    assert side.image_status(pushed.reference)["bytes_fetched"] == pytest.approx(
        status["bytes_fetched"], rel=0.1), "a second container fetches what the first one has"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_image_looks_as_ordinarily_unpacked(lab, streaming, recipe_image, name):
    pushed = recipe_image(name)

    streaming.pull(pushed.reference)

    assert streaming.image_status(pushed.reference)["reason"] == "Streaming"
    for depth, chain_id in enumerate(pushed.image.chain_ids, 1):
        trees.assert_equal(lab.ordinary_tree(chain_id), streaming.tree(chain_id),
                           pushed.open_mtimes(depth))


def test_background_fill_completes_an_image_that_then_needs_no_registry(lab, fresh_streaming,
                                                                        engine):
    import time
    from corpus import layers
    private = services.Registry(lab.directory(f"filling-{engine}")).start()
    try:
        image = images.image_of(
            lab.directory("filling") / "layout",
            layers(lab.directory("filling-layers"),
                   lambda t: t.directory("d").file("d/f", bytes(range(256)) * 20_000)))
        reference = f"{private.host}/filling:1"
        images.push(image.layout, reference)
        services.convert(reference)
        side = fresh_streaming(engine, registry=private.host, background_fill=True)
        side.pull(reference)
        deadline = time.monotonic() + 60
        while not all(layer["complete"] for layer in side.image_status(reference)["layers"]):
            assert time.monotonic() < deadline, side.image_status(reference)
            time.sleep(0.05)
        private.stop()

        with side.containerd.view(image.chain_ids[-1]) as root:
            assert (root / "d/f").read_bytes() == bytes(range(256)) * 20_000
        assert side.node.clear()
    finally:
        private.stop()


def bytes_used(side, chain_id: str) -> int:
    """What containerd says of a snapshot's disk usage."""
    said = side.containerd.ctr("snapshots", "--snapshotter", "runnel", "usage", "-b", chain_id)
    (row,) = [line.split() for line in said.splitlines() if line.startswith(chain_id)]
    return int(row[1])


def test_usage_counts_what_is_here_and_a_mounted_image_fills_until_all_is(lab, fresh_streaming,
                                                                         engine):
    from corpus import layers
    name = f"usage-{engine}"
    pushed = lab.push(name, layers(
        lab.directory(name),
        lambda t: t.directory("d").file("d/f", bytes(range(256)) * 8_000 + name.encode()),
        lambda t: t.file("top", bytes(reversed(range(256))) * 8_000 + name.encode())))
    services.convert(pushed.reference)
    side = fresh_streaming(engine)
    side.pull(pushed.reference)
    lower, upper = pushed.image.chain_ids

    assert bytes_used(side, lower) == bytes_used(side, upper) == 0
    with side.containerd.view(upper) as root:
        (root / "d/f").read_bytes()
    assert bytes_used(side, lower) >= 256 * 8_000
    assert bytes_used(side, upper) == 0, "nobody has read of it"

    side.node.stop()
    side.node.background_fill = True  # which is how it is shipped
    side.node.start()
    side.wait_for_containerd()
    with side.containerd.view(upper):
        daemons.wait_until(
            lambda: all(layer["complete"] for layer in side.image_status(pushed.reference)["layers"]),
            60, "the image is filled while it is mounted")
    used = [bytes_used(side, chain_id) for chain_id in pushed.image.chain_ids]
    assert used == [layer["bytes"] for layer in side.image_status(pushed.reference)["layers"]]


def test_a_loop_device_reads_no_further_ahead_than_a_file(lab, fresh_streaming):
    """The kernel's own choice for such a device can be 2560 KiB around each page fault."""
    from corpus import layers
    pushed = lab.push("loop-ahead", layers(
        lab.directory("loop-ahead"), lambda t: t.directory("d").file("d/f", bytes(range(256)) * 800)))
    services.convert(pushed.reference)
    side = fresh_streaming("erofs-loop")
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]):
        of_us = [path.parents[1] for path in Path("/sys/block").glob("loop*/loop/backing_file")
                 if path.read_text().startswith(str(side.node.root))]
        assert len(of_us) == 2, "the metadata and the layer"
        assert {(path / "queue/read_ahead_kb").read_text().strip() for path in of_us} == {"128"}
        direct = {(path / "loop/backing_file").read_text().startswith(f"{side.node.root}/devices/"):
                  (path / "loop/dio").read_text().strip() for path in of_us}
        assert direct == {True: "1", False: "0"}, "only what is served is read past its page cache"

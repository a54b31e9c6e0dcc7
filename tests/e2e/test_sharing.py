"""Proof 6: layers shared by streamed and ordinary images, in any order and after any removal."""

from __future__ import annotations

import itertools
import random
import sysconfig
from pathlib import Path

import pytest

import trees
from corpus import layers
from sandbox import daemons, services

# Three layers: a base, a second, and a top that deletes one of the base's files.
BASE = lambda t: t.directory("d").file("d/base", b"base" * 20_000).file("d/gone", b"x").symlink("l", "d")
MIDDLE = lambda t: t.directory("m").file("m/middle", b"middle" * 9_000)
TOP = lambda t: t.directory("d").whiteout("d/gone").file("top", b"top")


def other(word: bytes):
    return lambda t: t.directory("o").file("o/" + word.decode(), word * 500)


@pytest.fixture(scope="module")
def pair(lab):
    """Streamed image A and an ordinary image B that share the lowest `shared` layers."""
    made = {}

    def get(shared: int, compression: str = "gzip"):
        key = (shared, compression)
        if key not in made:
            at = lab.directory(f"share-{shared}-{compression}")
            mine = layers(at, BASE, MIDDLE, TOP)
            differing = lab.directory(f"share-{shared}-{compression}-b")
            own = layers(differing, *(other(b"own%d" % n) for n in range(3 - shared + 1)))
            theirs = [(tar, compression) for tar in mine[:shared] + own]
            a = lab.push(f"share-a-{shared}-{compression}", mine)
            b = lab.push(f"share-b-{shared}-{compression}", theirs)
            services.convert(a.reference)
            for pushed in (a, b):
                lab.ordinary.pull(pushed.reference)
            made[key] = (a, b)
        return made[key]
    return get


def assert_right(lab, side, pushed) -> None:
    """The image and every prefix of it look as an ordinary unpack does."""
    for depth in range(1, len(pushed.image.layers) + 1):
        chain_id = pushed.image.chain_ids[depth - 1]
        trees.assert_equal(lab.ordinary_tree(chain_id), side.tree(chain_id),
                           pushed.open_mtimes(depth))


CASES = list(itertools.product([1, 2, 3], ["a first", "b first"], ["a", "b"]))


@pytest.mark.parametrize("shared,order,removed", CASES,
                         ids=[f"{s}-{o.replace(' ', '-')}-remove-{r}" for s, o, r in CASES])
def test_shared_layers_stay_right(lab, fresh_streaming, engine, pair, shared, order, removed):
    a, b = pair(shared)
    side = fresh_streaming(engine)
    for pushed in (a, b) if order == "a first" else (b, a):
        side.pull(pushed.reference)

    # A pull that finds every layer there does not wait for the verdict, and then there is nothing to stream.
    all_there = shared == len(a.image.layers) and order == "b first"
    for pushed, verdict in ((a, "AlreadyUnpacked" if all_there else "Streaming"), (b, "NoArtifact")):
        daemons.wait_until(
            lambda p=pushed: side.image_status(p.reference)["reason"] != "Preparing", 30, "a verdict")
        assert side.image_status(pushed.reference)["reason"] == verdict
    assert_right(lab, side, a)
    assert_right(lab, side, b)
    gone, left = (a, b) if removed == "a" else (b, a)
    side.containerd.remove_image(gone.reference)
    assert_right(lab, side, left)
    side.pull(gone.reference)
    assert_right(lab, side, gone)


@pytest.mark.parametrize("compression", ["zstd", "plain"])
def test_one_chain_with_differently_compressed_layers(lab, fresh_streaming, engine, pair,
                                                      compression):
    a, b = pair(2, compression)
    services.convert(b.reference)
    side = fresh_streaming(engine)
    for pushed in (b, a):
        side.pull(pushed.reference)

    assert side.image_status(a.reference)["reason"] == "Streaming"
    assert side.image_status(b.reference)["reason"] == "Streaming"
    assert_right(lab, side, a)
    side.containerd.remove_image(a.reference)
    assert_right(lab, side, b)


def test_a_build_on_top_of_a_streamed_image(lab, fresh_streaming, engine, pair):
    a, _ = pair(1)
    side = fresh_streaming(engine)
    side.pull(a.reference)
    name = f"built-on-{engine}"
    with side.containerd.active(a.image.chain_ids[-1]) as (key, root):
        (root / "d/base").write_bytes(b"changed")
        (root / "m/middle").unlink()
        (root / "new").write_bytes(b"new")
        expected = trees.scan(root)
        side.containerd.ctr("snapshots", "--snapshotter", "runnel", "commit", name, key)
    side.containerd.ctr("snapshots", "--snapshotter", "runnel", "label", name,
                        "containerd.io/gc.root=runnel-test")
    try:
        trees.assert_equal(expected, side.tree(name))
    finally:
        side.containerd.ctr("snapshots", "--snapshotter", "runnel", "rm", name)


def test_a_second_independent_client_streams_too(lab, fresh_streaming, engine, pair):
    a, _ = pair(3)
    side = fresh_streaming(engine)

    side.containerd.rpull(a.reference)

    assert side.image_status(a.reference)["reason"] == "Streaming"
    assert_right(lab, side, a)


def test_what_another_layer_has_on_the_node_is_not_fetched(lab, fresh_streaming, engine):
    """Two builds of one image: the layers differ, and most files in them are the same."""
    files = {f"lib/{n}": random.Random(n).randbytes(400_000) for n in range(8)}
    own = random.Random("new").randbytes(300_000)

    def build(name: str, contents: dict[str, bytes]):
        def write(tar):
            tar.directory("lib")
            for path, content in contents.items():
                tar.file(path, content)
        pushed = lab.push(name, layers(lab.directory(name), write))
        services.convert(pushed.reference)
        lab.ordinary.pull(pushed.reference)
        return pushed

    first = build("borrow-first", files)
    second = build("borrow-second", {"lib/before": own} | files)
    side = fresh_streaming(engine)

    def status(pushed):
        return side.image_status(pushed.reference)

    side.pull(first.reference)
    assert_right(lab, side, first)
    daemons.wait_until(lambda: all(layer["complete"] for layer in status(first)["layers"]), 30,
                       "the first image to be durable")
    side.pull(second.reference)
    assert_right(lab, side, second)

    assert status(second)["reason"] == "Streaming"
    assert sum(layer["bytes_borrowed"] for layer in status(second)["layers"]) >= 8 * 400_000
    assert len(own) <= status(second)["bytes_fetched"] <= len(own) + 100_000


CHUNK = 128 * 1024


def test_a_rebuild_of_many_small_files_fetches_little_but_what_changed(lab, fresh_streaming):
    """Python's library as one layer; in the next build one file of fifty has a line more, and one is new.

    Small files share chunks, so that a change spoils those around it; the next large file ends that.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = {str(path.relative_to(root)): path.read_bytes()
             for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()}
    changed = list(files)[25::50]
    rebuilt = files | {name: files[name] + b"\n# rebuilt\n" for name in changed} | {"a_new_one.py": b"new" * 2000}
    size = sum(map(len, rebuilt.values()))
    assert len(changed) > 10 and size > 8 * CHUNK * (len(changed) + 1), "the bounds below would say nothing"

    def build(name: str, contents: dict[str, bytes]):
        def write(tar):
            for directory in sorted({str(parent) for path in contents for parent in Path(path).parents} - {"."}):
                tar.directory(directory)
            for path in sorted(contents):
                tar.file(path, contents[path])
        pushed = lab.push(name, [(tar, "zstd") for tar in layers(lab.directory(name), write)])
        services.convert(pushed.reference)
        return pushed

    first, second = build("rebuild-first", files), build("rebuild-second", rebuilt)
    side = fresh_streaming("erofs-file")

    def read_all(pushed, contents: dict[str, bytes]) -> None:
        side.pull(pushed.reference)
        with side.containerd.view(pushed.image.chain_ids[-1]) as at:
            assert [name for name, content in contents.items() if (at / name).read_bytes() != content] == []

    read_all(first, files)
    daemons.wait_until(lambda: all(layer["complete"] for layer in side.image_status(first.reference)["layers"]), 30,
                       "the first build to be durable")
    read_all(second, rebuilt)

    seen = side.image_status(second.reference)
    assert seen["reason"] == "Streaming"
    fetched, borrowed = seen["bytes_fetched"], sum(layer["bytes_borrowed"] for layer in seen["layers"])
    assert fetched <= 2 * CHUNK * (len(changed) + 1), (fetched, size)
    assert borrowed >= size - 4 * CHUNK * (len(changed) + 1), (borrowed, size)

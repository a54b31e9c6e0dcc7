"""Reads never depend on the artifact's survival: what its blobs cannot give, the layers do."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
import time
from pathlib import Path

import pytest

from runnel_env import engines
from sandbox import daemons, images, services
from sandbox.containerd import drop_page_cache

LAYER = "application/vnd.runnel.layer.v1"


def content(number: int) -> bytes:
    """Between 0 and 300 KiB, half of it noise."""
    seeded = random.Random(number)
    size = seeded.choice([0, 100, 5_000, 40_000, 150_000, 300_000])
    return (seeded.randbytes(size // 2) + bytes(size // 4)
            + str(number).encode() * (size // 4))[:size]


def layer(path: Path, numbers: range) -> Path:
    with tarfile.open(path, "w") as archive:
        for number in numbers:
            data = content(number)
            info = tarfile.TarInfo(f"d{number % 7}/f{number}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


FIRST = range(60)
SECOND = range(60, 100)
ONE = next(number for number in FIRST if len(content(number)) > 100_000)


@pytest.fixture
def private(lab, request):
    """A registry that one test may harm, with a converted image in it."""
    registry = services.Registry(lab.directory("private")).start()
    directory = lab.directory("gone")
    image = images.image_of(directory / "layout", [layer(directory / "first.tar", FIRST),
                                                   layer(directory / "second.tar", SECOND)])
    registry.image = image
    registry.reference = f"{registry.host}/team/gone:1"
    images.push(image.layout, registry.reference)
    services.convert(registry.reference)
    try:
        yield registry
    finally:
        registry.stop()


def url(registry, kind: str, digest: str) -> str:
    return f"http://{registry.host}/v2/team/gone/{kind}/{digest}"


def artifact(registry) -> tuple[str, list[str]]:
    """The artifact's digest, and those of its layer blobs."""
    (entry,) = images.referrers(registry.reference)
    _, manifest = images.manifest_of(f"{registry.host}/team/gone@{entry['digest']}")
    return entry["digest"], [d["digest"] for d in manifest["layers"] if d["mediaType"] == LAYER]


def delete_artifact(registry) -> None:
    digest, layers = artifact(registry)
    assert images.request(url(registry, "manifests", digest), "DELETE")[0] == 202
    for blob in layers:
        assert images.request(url(registry, "blobs", blob), "DELETE")[0] == 202
        assert images.request(url(registry, "blobs", blob))[0] == 404


def file_of(registry, digest: str) -> Path:
    found = [path for path in (registry.directory / "data").rglob("*")
             if path.is_file() and digest.partition(":")[2] in (path.name, path.parent.name)]
    assert len(found) == 1, found
    return found[0]


def read(root: Path, number: int) -> str:
    return hashlib.sha256((root / f"d{number % 7}/f{number}").read_bytes()).hexdigest()


def assert_all_right(root: Path) -> None:
    wrong = [number for number in (*FIRST, *SECOND)
             if read(root, number) != hashlib.sha256(content(number)).hexdigest()]
    assert wrong == []


def test_the_artifact_is_deleted_while_a_container_runs(private, fresh_streaming, engine):
    side = fresh_streaming(engine, registry=private.host)
    side.pull(private.reference)
    with side.containerd.view(private.image.chain_ids[-1]) as root:
        assert read(root, ONE) == hashlib.sha256(content(ONE)).hexdigest()

        delete_artifact(private)
        side.kill_worker()  # what it knows of the original outlives it
        drop_page_cache()

        assert_all_right(root)
        side.wait_for_containerd()
    status = side.image_status(private.reference)
    assert all(each["complete"] or each["bytes_present"] == each["bytes"]
               for each in status["layers"]), "a layer downloaded is a layer complete"


def test_the_artifact_is_deleted_and_the_node_restarted(private, fresh_streaming, engine):
    side = fresh_streaming(engine, registry=private.host)
    side.pull(private.reference)
    delete_artifact(private)
    side.node.stop()
    side.node.start()
    side.wait_for_containerd()

    with side.containerd.view(private.image.chain_ids[-1]) as root:
        assert_all_right(root)


@pytest.mark.parametrize("engine, harm", zip(engines(), ["corrupt", "cut"]))
def test_the_artifacts_blobs_are_damaged_in_the_registry(private, fresh_streaming, engine, harm):
    side = fresh_streaming(engine, registry=private.host, more_arguments=("--read-timeout", "8"))
    side.pull(private.reference)
    for digest in artifact(private)[1]:
        path = file_of(private, digest)
        data = bytearray(path.read_bytes())
        if harm == "cut":
            del data[len(data) // 3:]
        else:
            data[::500] = bytes(0xFF ^ byte for byte in data[::500])
        path.write_bytes(data)

    with side.containerd.view(private.image.chain_ids[-1]) as root:
        assert_all_right(root)


def test_when_the_layer_is_gone_too_a_read_fails_in_time_and_works_again_later(
        private, fresh_streaming):
    side = fresh_streaming("auto", registry=private.host, more_arguments=("--read-timeout", "2"))
    side.pull(private.reference)
    delete_artifact(private)
    kept = {}
    for descriptor in images.read_layout(private.image.layout)["layers"]:
        path = file_of(private, descriptor["digest"])
        kept[path] = path.read_bytes()
        path.unlink()

    with side.containerd.view(private.image.chain_ids[-1]) as root:
        begin = time.monotonic()
        with pytest.raises(OSError) as refused:
            read(root, ONE)
        assert refused.value.errno == 5
        assert time.monotonic() - begin < 20
        for path, data in kept.items():
            path.write_bytes(data)
        deadline = time.monotonic() + 30
        while True:
            try:
                read(root, ONE)
                break
            except OSError:
                assert time.monotonic() < deadline, "it does not come back"
        assert_all_right(root)


def test_a_part_of_the_image_needs_neither_artifact_nor_registry_later(private, fresh_streaming):
    side = fresh_streaming("auto", registry=private.host)
    side.pull(private.reference)
    trees_here = side.node.root / "images"
    daemons.wait_until(lambda: list(trees_here.glob("*/*.tree")), 60, "the lower layer's tree is here")
    private.stop()

    with side.containerd.view(private.image.chain_ids[0]) as root:
        names = sorted(str(path.relative_to(root)) for path in root.glob("*/*"))
    assert names == sorted(f"d{number % 7}/f{number}" for number in FIRST)


def test_a_part_of_the_image_is_merged_from_the_layer_when_the_artifact_is_gone(private,
                                                                                fresh_streaming):
    side = fresh_streaming("auto", registry=private.host)
    side.pull(private.reference)
    delete_artifact(private)

    with side.containerd.view(private.image.chain_ids[0]) as root:
        wrong = [number for number in FIRST
                 if read(root, number) != hashlib.sha256(content(number)).hexdigest()]
    assert wrong == []

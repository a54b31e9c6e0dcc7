"""What a mounted image costs the worker: metadata and chunk tables are mapped, not loaded."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from corpus import layers
from fault_setup import on
from sandbox import scratch, services
from tars import Tar

MIB = 1 << 20
FILES = 400


def anonymous_bytes(process: int) -> int:
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no Anonymous in smaps_rollup of {process}")


def content(number: int, file: int) -> bytes:
    return f"image {number} file {file}\n".encode() * 10


@pytest.fixture(scope="module")
def image(lab):
    """image(number, large): its reference; made once for all ways of mounting."""
    return functools.cache(lambda number, large: make_image(lab, number, large))


def make_image(lab, number: int, large: int) -> str:
    """Two layers of its own: many small files, and one file of `large` bytes."""
    def small(tar: Tar) -> None:
        tar.directory("d")
        for file in range(FILES):
            tar.file(f"d/a-name-that-is-not-short-{file}", content(number, file))

    def big(tar: Tar) -> None:
        line = f"image {number}\n".encode()
        tar.file("large", (line * (4096 // len(line) + 1))[:4096] * (large // 4096))
    name = f"memory-{number}"
    pushed = lab.push(name, layers(lab.directory(name), small, big))
    services.convert(pushed.reference)
    return pushed.reference


def image_mounts(side) -> list[Path]:
    at = str(side.node.root / "mounts") + "/"
    return [Path(mount.point) for mount in scratch.mounts() if mount.point.startswith(at)]


def pull_and_read(image, side, numbers: range, large: int) -> None:
    """Pulls each, and reads from each mount, so that its layers are in use."""
    before = set(image_mounts(side))
    for number in numbers:
        reference = image(number, large)
        side.pull(reference)
        assert side.image_status(reference)["reason"] == "Streaming"
    mounts = [mount for mount in image_mounts(side) if mount not in before]
    assert len(mounts) == len(numbers)
    seen = {(mount / "d/a-name-that-is-not-short-7").read_bytes() for mount in mounts}
    assert seen == {content(number, 7) for number in numbers}
    for mount in mounts:
        assert (mount / "large").stat().st_size == large


def test_an_image_more_costs_the_worker_little_memory(image, fresh_streaming):
    """The first dozen cost more than later ones: each thread's heap grows to what one pull needs."""
    side = fresh_streaming("auto")
    pull_and_read(image, side, range(1), 4 * MIB)  # threads, pools and connections are there now
    worker = side.node.worker
    before = anonymous_bytes(worker)

    pull_and_read(image, side, range(1, 5), 4 * MIB)

    assert side.node.worker == worker
    grown = anonymous_bytes(worker) - before
    print(f"{before / MIB:.1f} MiB with 1 image, {grown / MIB / 4:.2f} MiB for each of 4 more")
    assert grown < 4 * 4 * MIB


@on()
def test_a_hundred_mounted_images_fit_into_a_hundred_mebibytes(image, fresh_streaming, engine):
    side = fresh_streaming(engine)

    pull_and_read(image, side, range(1000, 1100), 128 * MIB)

    pulled = anonymous_bytes(side.node.worker)
    side.kill_worker()
    for mount in image_mounts(side):  # the next worker has loaded all of them when it answers
        assert len((mount / "d/a-name-that-is-not-short-8").read_bytes()) > 0
    assert len(image_mounts(side)) == 100
    restarted = anonymous_bytes(side.node.worker)
    print(f"{engine}: {pulled / MIB:.1f} MiB after 100 pulls, {restarted / MIB:.1f} MiB after the "
          "worker was started anew")
    assert pulled < 100 * MIB
    assert restarted < 100 * MIB

"""How much memory the page cache takes of images on one base that are read to their last byte: the same
bytes in one image or twenty, in each way of mounting, beside containerd's own unpack on ext4."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from growth_bench import content
from sandbox import images, services
from sandbox.cold_start import EAGER, Side
from sandbox.containerd import drop_page_cache, run
from sandbox.scratch import Scratch
from warm_reads_bench import places

WAYS = (EAGER, "erofs-file", places.PLAIN, "erofs-loop", "fuse")
BASE_MIB = 24
OWN_MIB = 2


@dataclass(frozen=True)
class Reading:
    """After all files of `images` images were read once, from no page cache."""

    images: int
    way: str
    round: int
    cached_bytes: int
    read_bytes: int  # of the images' files, each image's own and the base for each


def measure(points: tuple[int, ...], rounds: int, directory: Path, say=print) -> list[Reading]:
    layouts = [_image(directory / f"image-{number}", number) for number in range(max(points))]
    scratch = Scratch(directory / "s").create()
    found = []
    with ExitStack() as undo:
        undo.callback(scratch.teardown)
        registry = services.Registry(directory / "s/registry").start()
        undo.callback(registry.stop)
        references = [f"{registry.host}/cached-{number}:1" for number in range(len(layouts))]
        for layout, reference in zip(layouts, references, strict=True):
            images.push(layout, reference)
            services.convert(reference)
        for number, way in enumerate(WAYS):
            with ExitStack() as side_undo:
                engine = {places.PLAIN: "erofs-file"}.get(way, way)
                side = Side(directory / f"s/{number}", engine, background_fill=True).start()
                side_undo.callback(side.stop)
                side.use(registry.host)
                places.pull_complete(side, way, references)
                roots = [side_undo.enter_context(side.containerd.active(_chain(layout)))[1] for layout in layouts]
                for point in points:
                    for turn in range(1, rounds + 1):
                        reading = _read(roots[:point], way, turn)
                        say(f"page-cache {point} {way}: {reading.cached_bytes / 1e6:.0f} MB of "
                            f"{reading.read_bytes / 1e6:.0f} MB")
                        found.append(reading)
    return found


def _image(directory: Path, number: int) -> Path:
    """A base that all have, and a layer of its own."""
    directory.mkdir(parents=True)
    tars = [content.base_tar(directory / "busybox.tar"), content.bytes_tar(directory / "base.tar", 0, BASE_MIB << 20),
            content.bytes_tar(directory / "own.tar", number + 1, OWN_MIB << 20)]
    layout = images.image_of(directory / "layout", tars, content.COMMAND).layout
    for tar in tars:
        tar.unlink()
    return layout


def _chain(layout: Path) -> str:
    manifest = images.read_layout(layout)
    config = images.json.loads(images.blob_path(layout, manifest["config"]["digest"]).read_text())
    return images.chain_ids(config["rootfs"]["diff_ids"])[-1]


def _cached() -> int:
    """The page cache without shared memory."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    kib = {name: int(value.split()[0]) for name, value in fields.items()}
    return (kib["Cached"] - kib["Shmem"]) * 1024


def _read(roots: list[Path], way: str, turn: int) -> Reading:
    size = sum(int(run(["bash", "-c", 'find "$1" -xdev -type f -printf "%s\\n" | awk \'{s+=$1} END {print s}\'',
                        "bash", str(root)])) for root in roots)
    drop_page_cache()
    before = _cached()
    for root in roots:
        run(["bash", "-c", 'find "$1" -xdev -type f -exec cat {} + | wc -c', "bash", str(root)])
    return Reading(len(roots), way, turn, _cached() - before, size)


def summaries(readings: list[Reading]) -> list[dict]:
    """A row for each number of images and way; ratios are taken within a round."""
    eager = {(r.images, r.round): r.cached_bytes for r in readings if r.way == EAGER}
    cells: dict[tuple[int, str], list[Reading]] = {}
    for reading in readings:
        cells.setdefault((reading.images, reading.way), []).append(reading)
    rows = []
    for (point, way), cell in sorted(cells.items()):
        cached = [reading.cached_bytes for reading in cell]
        row = {"axis": "page-cache", "point": point, "way": way, "runs": len(cell), "read_bytes": cell[0].read_bytes,
               "cached_bytes": round(statistics.median(cached)), "cached_bytes_min": min(cached),
               "cached_bytes_max": max(cached)}
        if way != EAGER:
            ratios = [r.cached_bytes / eager[point, r.round] for r in cell]
            row |= {"cached_ratio": round(statistics.median(ratios), 3), "cached_ratio_min": round(min(ratios), 3),
                    "cached_ratio_max": round(max(ratios), 3)}
        rows.append(row)
    return rows

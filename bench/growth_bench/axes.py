"""What grows, and by which steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from growth_bench import content

LAYERED_MIB = 16
STARTED_MIB = 32
PAGE_CACHE = "page-cache"


@dataclass(frozen=True)
class Axis:
    name: str
    title: str
    unit: str
    points: tuple[int, ...]
    quick: tuple[int, ...]
    image: Callable[[Path, int], Path] | None = None  # of a start: makes the layout of a point, in a directory
    containers: bool = False  # a point is so many containers of one image

    @property
    def value(self) -> str:
        """The figure of a row that grows."""
        return "seconds" if self.image else "cached_bytes" if self.name == PAGE_CACHE else "p50_ms"


AXES = (
    Axis("size", "Start by the size of the image", "MiB that do not compress, in one layer",
         (8, 64, 256), (8, 32), content.of_size),
    Axis("layers", f"Start by the number of layers, {LAYERED_MIB} MiB in all", "layers",
         (1, 10, 50, 100), (1, 20), lambda at, count: content.of_layers(at, count, LAYERED_MIB)),
    Axis("files", "Start by the number of files", f"files of {content.SMALL_FILE_BYTES} bytes",
         (100, 10_000, 50_000), (100, 5_000), content.of_files),
    Axis("starts", "Containers at once, to the last one's READY", f"containers of one cold image of {STARTED_MIB} MiB", (1, 8, 32), (1, 4), lambda at, _: content.of_size(at, STARTED_MIB), containers=True),
    Axis(PAGE_CACHE, "Page cache of images on one base, all of them read", "images", (1, 20), (1, 3)),
    Axis("manifests", "The registry's answers by the number of its manifests", "manifests",
         (1_000, 10_000, 100_000), (100, 1_000)),
)
BY_NAME = {axis.name: axis for axis in AXES}

"""What is converted: images made for one question."""

from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import images
from sandbox.images import Image, Layer


@contextmanager
def tar_writer(path: Path) -> Iterator[Callable[[str, bytes], None]]:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        yield add


def noise_tar(path: Path, size: int) -> Path:
    """One file that does not compress."""
    with tar_writer(path) as add:
        add("opt/app/data", random.Random(size).randbytes(size))
    return path


def text(seed: int, size: int) -> bytes:
    """Compresses about as files do, to a third."""
    source = random.Random(seed)
    words = [source.randbytes(6).hex().encode() for _ in range(200)]
    piece = b" ".join(source.choice(words) for _ in range(min(size, 256 << 10) // 6 + 1))
    return (piece * (size // len(piece) + 1))[:size]


def image_on(directory: Path, base: Path, tar: Path) -> Image:
    """The image in the layout `base` with another layer on top."""
    manifest = images.read_layout(base)
    config = json.loads(images.blob_path(base, manifest["config"]["digest"]).read_text())
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    layers = []
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        copy = blobs / layer["digest"].partition(":")[2]
        if not copy.exists():
            shutil.copyfile(images.blob_path(base, layer["digest"]), copy)
        layers.append(Layer(copy, diff_id, "as it was", layer["mediaType"]))
    return images.write_layout(directory, [*layers, images.layer_of(tar)])

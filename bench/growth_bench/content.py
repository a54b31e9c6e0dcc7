"""Images that are large in one way: bytes, layers, files. Equal arguments give equal bytes."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import images

BUSYBOX = Path("/bin/busybox")  # static: it starts in an image that has nothing else
# Reads one file of the image's own, so that a start is more than its program. It stays a little: of a
# container that ends at once, ctr may cancel the copy of what it printed before it has begun.
COMMAND = [str(BUSYBOX), "sh", "-c", f"{BUSYBOX} cat /data/0/0 > /dev/null && echo READY && {BUSYBOX} sleep 0.3"]
FILE_BYTES = 1 << 20  # of an image that is large by its bytes
SMALL_FILE_BYTES = 200
FILES_A_DIRECTORY = 1000


@contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        yield archive


def _directory(archive: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    archive.addfile(entry)


def _file(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def base_tar(path: Path) -> Path:
    with _tar(path) as archive:
        _directory(archive, "bin")
        _file(archive, str(BUSYBOX)[1:], BUSYBOX.read_bytes(), 0o755)
    return path


def bytes_tar(path: Path, number: int, size: int) -> Path:
    """`size` bytes that do not compress, in files of a mebibyte."""
    source = random.Random(number)
    with _tar(path) as archive:
        for directory in ("data", f"data/{number}"):
            _directory(archive, directory)
        for at in range(0, size, FILE_BYTES):
            _file(archive, f"data/{number}/{at // FILE_BYTES}", source.randbytes(min(FILE_BYTES, size - at)))
    return path


def files_tar(path: Path, count: int) -> Path:
    """So many small files, a thousand a directory."""
    source = random.Random(count)
    with _tar(path) as archive:
        _directory(archive, "data")
        for number in range(count):
            directory, name = divmod(number, FILES_A_DIRECTORY)
            if name == 0:
                _directory(archive, f"data/{directory}")
            _file(archive, f"data/{directory}/{name}", source.randbytes(SMALL_FILE_BYTES))
    return path


def _image(directory: Path, tars: list[Path]) -> Path:
    """The layout; the tars are not needed any more."""
    image = images.image_of(directory / "layout", [base_tar(directory / "base.tar"), *tars], COMMAND)
    for tar in directory.glob("*.tar"):
        tar.unlink()
    return image.layout


def of_size(directory: Path, mib: int) -> Path:
    return of_layers(directory, 1, mib)


def of_layers(directory: Path, count: int, mib: int) -> Path:
    """`mib` MiB over `count` layers above the one with the program."""
    share = (mib << 20) // count
    return _image(directory, [bytes_tar(directory / f"{n}.tar", n, share) for n in range(count)])


def of_files(directory: Path, count: int) -> Path:
    return _image(directory, [files_tar(directory / "files.tar", count)])

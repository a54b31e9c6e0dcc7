"""Files whose content follows from their number, so that any process can tell right from wrong.

No two blocks of any two files are alike and none is zero: bytes from the wrong place, or zeros, are
always seen.
"""

from __future__ import annotations

import functools
import io
import random
import shutil
import tarfile
from pathlib import Path

FILES = 700
PROGRAM = "bin/cat"
# Most are a chunk of their own (32 KiB and more), some share one, some are several.
_SIZES = [0, 100, 5_000, 33_000, 33_000, 33_000, 40_000, 70_000, 150_000, 300_000]


def name(number: int) -> str:
    return f"d{number % 20}/f{number}"


@functools.lru_cache(256)
def content(number: int) -> bytes:
    """Between 0 and 300,000 bytes; half of each is noise, half compresses."""
    size = _SIZES[number % len(_SIZES)]
    noise = random.Random(number).randbytes(size // 2)
    text = f"{number:08}/".encode()
    return noise + b"".join(text + f"{n:07}".encode() for n in range((size - size // 2) // 16 + 1)
                            )[:size - size // 2]


def write_tar(path: Path, first: int = 0, files: int = FILES) -> Path:
    """The layer with files [first, first + files) and a program to execute."""
    with tarfile.open(path, "w") as archive:
        for number in range(first, first + files):
            data = content(number)
            info = tarfile.TarInfo(name(number))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        program = Path(shutil.which("cat") or "/bin/cat").read_bytes()
        info = tarfile.TarInfo(PROGRAM)
        info.size, info.mode = len(program), 0o755
        archive.addfile(info, io.BytesIO(program))
    return path

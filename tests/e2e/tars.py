"""Layer tars written entry by entry, in every dialect, including those that no sane tool writes."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tarfile
from pathlib import Path

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG_AGO = 1_600_000_000


def text(name: bytes | str) -> str:
    return os.fsdecode(name)


class Tar:
    """A tar file under construction. Names are bytes or str; metadata has defaults."""

    def __init__(self, path: Path, dialect: str = "pax"):
        self.path = path
        self.dialect = FORMATS[dialect]
        self._file = open(path, "wb")

    def __enter__(self) -> "Tar":
        return self

    def __exit__(self, *_) -> None:
        self.finish()

    def finish(self) -> Path:
        if not self._file.closed:
            self._file.write(bytes(1024))
            self._file.close()
        return self.path

    def _add(self, kind: bytes, name: bytes | str, mode: int, *, uid: int = 0, gid: int = 0,
             mtime: int | str = LONG_AGO, data: bytes = b"", target: bytes | str = "",
             device: tuple[int, int] = (0, 0), xattrs: dict[str, bytes] | None = None) -> None:
        info = tarfile.TarInfo(text(name))
        info.type, info.mode, info.uid, info.gid = kind, mode, uid, gid
        info.size, info.linkname = len(data), text(target)
        info.devmajor, info.devminor = device
        info.pax_headers = {}
        if isinstance(mtime, str):  # more digits than a number can hold: PAX only
            info.pax_headers["mtime"] = mtime
        else:
            info.mtime = mtime
        for key, value in (xattrs or {}).items():
            info.pax_headers["SCHILY.xattr." + key] = os.fsdecode(value)
        self.raw(info.tobuf(self.dialect, "utf-8", "surrogateescape"), data)

    def raw(self, header: bytes, data: bytes = b"") -> "Tar":
        self._file.write(header)
        self._file.write(data)
        self._file.write(bytes(-len(data) % 512))
        return self

    def directory(self, name: bytes | str, mode: int = 0o755, **more) -> "Tar":
        self._add(tarfile.DIRTYPE, name, mode, **more)
        return self

    def file(self, name: bytes | str, data: bytes = b"", mode: int = 0o644, **more) -> "Tar":
        self._add(tarfile.REGTYPE, name, mode, data=data, **more)
        return self

    def symlink(self, name: bytes | str, target: bytes | str, **more) -> "Tar":
        self._add(tarfile.SYMTYPE, name, 0o777, target=target, **more)
        return self

    def hard_link(self, name: bytes | str, target: bytes | str, **more) -> "Tar":
        self._add(tarfile.LNKTYPE, name, 0o644, target=target, **more)
        return self

    def char_device(self, name: bytes | str, major: int, minor: int, **more) -> "Tar":
        self._add(tarfile.CHRTYPE, name, 0o620, device=(major, minor), **more)
        return self

    def block_device(self, name: bytes | str, major: int, minor: int, **more) -> "Tar":
        self._add(tarfile.BLKTYPE, name, 0o660, device=(major, minor), **more)
        return self

    def fifo(self, name: bytes | str, **more) -> "Tar":
        self._add(tarfile.FIFOTYPE, name, 0o600, **more)
        return self

    def whiteout(self, name: str) -> "Tar":
        parent, _, base = name.rpartition("/")
        return self.file(f"{parent}/.wh.{base}" if parent else f".wh.{base}")

    def opaque(self, directory: str) -> "Tar":
        return self.file(f"{directory}/.wh..wh..opq")


def names_in(path: Path) -> list[bytes]:
    """The names of a tar's entries, whatever the dialect, as bytes."""
    data = path.read_bytes()
    for magic, program in ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")):
        if data.startswith(magic):
            data = subprocess.run([program, "-dc"], input=data, capture_output=True,
                                  check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape",
                      encoding="utf-8") as tar:
        names = []
        try:
            for member in tar:
                names.append(os.fsencode(member.name))
        except tarfile.ReadError as error:  # umoci ends a tar without the two blocks of zeros
            if "unexpected end of data" not in str(error):
                raise
        return names


def posix_acl(*entries: tuple[int, int, int]) -> bytes:
    """The value of system.posix_acl_access: version 2, then tag, permissions, id for each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def file_capability(bits: int) -> bytes:
    """The value of security.capability: revision 2, effective."""
    return struct.pack("<IIIII", 0x02000001, bits & 0xFFFFFFFF, 0, bits >> 32, 0)


def tar_of_tree(path: Path, tree: Path, *options: str) -> Path:
    """GNU tar over a real directory, for what only it writes (sparse maps)."""
    from sandbox.containerd import run

    run(["tar", "--create", "--file", str(path), "--directory", str(tree), "--sort=name",
         "--numeric-owner", "--owner=0", "--group=0", f"--mtime=@{LONG_AGO}", *options, "."])
    return path

"""A small disk of the test's own, to be filled, frozen, worn out: ext4 (or another file system) in a sparse file
over a loop device. The file can lie in a tmpfs that is smaller than it: then writes succeed and are lost later,
as on thin-provisioned storage that is overdrawn. All of it is below the lab's scratch directory, so
that whatever happens the teardown finds it."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path

from sandbox import daemons, scratch
from sandbox.containerd import run

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
FIBMAP = 1


# The node refuses to fetch below its reserve of 512 MiB.
ROOMY = 1500

MAKE = {
    # The journal and the tables are written now, so that later only data needs new blocks.
    "ext4": ["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-J", "size=4", "-N", "8192", "-E",
             "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}


class Disk:
    def __init__(self, directory: Path, megabytes: int = ROOMY, backing_megabytes: int = 0, kind: str = "ext4"):
        self.directory = directory
        self.point = directory / "disk"
        self._backing = directory / "backing"
        self._image = self._backing / "disk.img"
        self._filler = self.point / "filler"
        self._megabytes, self._backing_megabytes = megabytes, backing_megabytes
        self._kind = kind
        self._frozen = False

    def __enter__(self) -> "Disk":
        self.point.mkdir(parents=True)
        self._backing.mkdir()
        if self._backing_megabytes:
            run(["mount", "-t", "tmpfs", "-o", f"size={self._backing_megabytes}m", "runnel-test",
                 str(self._backing)])
        image = self._image
        with open(image, "wb") as file:
            file.truncate(self._megabytes << 20)
        run([*MAKE[self._kind], str(image)])
        options = "loop,errors=remount-ro" if self._kind == "ext4" else "loop"
        run(["mount", "-o", options, str(image), str(self.point)])
        return self

    def __exit__(self, *_) -> None:
        if self._frozen:
            self.thaw()
        self._unmount_below()
        if self._backing_megabytes:
            run(["umount", str(self._backing)])

    def _unmount_below(self) -> None:
        """A node whose database cannot be written any more may leave its mounts; loop devices go
        some time after the last mount of theirs."""
        def gone() -> bool:
            points = [m.point for m in scratch.mounts() if scratch.is_below(m.point, str(self.point))]
            return all(subprocess.run(["umount", point], capture_output=True).returncode == 0
                       for point in sorted(points, key=len, reverse=True))
        daemons.wait_until(gone, 20, f"{self.point} can be unmounted")

    def fill(self) -> None:
        with open(self._filler, "wb", buffering=0) as file:
            size = 0
            for piece in (64 << 20, 1 << 20, 4096):
                try:
                    while True:
                        os.posix_fallocate(file.fileno(), size, piece)
                        size += piece
                except OSError:
                    pass

    def drain(self) -> None:
        self._filler.unlink()

    def overdraw(self) -> None:
        """What is written from now on has no place to go, though nobody says so before fdatasync."""
        with open(self._backing / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
            except OSError:
                pass

    def overdraw_below(self, file: Path) -> None:
        """The same for what is written over this file, which is synced: the file system stays whole."""
        size = self._megabytes << 20
        with open(self._image, "r+b") as image:
            os.posix_fallocate(image.fileno(), 0, size)
        with open(file, "rb") as opened:
            block = os.fstatvfs(opened.fileno()).f_bsize
            for index in range(file.stat().st_size // block):
                found = fcntl.ioctl(opened.fileno(), FIBMAP, struct.pack("i", index))
                run(["fallocate", "--punch-hole", "--offset", str(struct.unpack("i", found)[0] * block),
                     "--length", str(block), str(self._image)])
        self.overdraw()

    def refund(self) -> None:
        (self._backing / "filler").unlink()

    def freeze(self) -> None:
        self._control(FIFREEZE)
        self._frozen = True

    def thaw(self) -> None:
        self._control(FITHAW)
        self._frozen = False

    def _control(self, request: int) -> None:
        fd = os.open(self.point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, request, 0)
        finally:
            os.close(fd)

    def fail(self) -> None:
        """The file system finds itself damaged and is read-only from now on, for good.

        (An administrator's remount is refused while files are open for writing.)
        """
        source = next(m.source for m in scratch.mounts() if m.point == str(self.point))
        Path(f"/sys/fs/ext4/{os.path.basename(source)}/trigger_fs_error").write_text("a test")

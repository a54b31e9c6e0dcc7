"""One directory that everything started here lives below, and how it is emptied.

Processes count as ours when they run one of the programs that are started here and their command
line or working directory names the directory, or when they descend from such a process; mounts when their mount point is below it; loop devices when their backing file is below it. Teardown ends processes first, then unmounts deepest
first, then detaches loop devices, then deletes. Every step can be repeated.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from sandbox import daemons

MARKER = ".runnel-scratch"
PROGRAMS = {"runnel", "containerd", "containerd-shim-runc-v2", "runc", "ctr", "ctr-remote",
            "docker-registry", "skopeo", "netsim", "stargz-service", "soci-snapshotter-grpc",
            "containerd-nydus-grpc", "nydusd"}
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


class ScratchError(Exception):
    """The directory is not ours, or something in it cannot be removed."""


@dataclass(frozen=True)
class Mount:
    point: str
    fs_type: str
    source: str


def _unescape(field: str) -> str:
    """/proc/self/mountinfo writes space, tab, newline and backslash as three octal digits."""
    raw = field.encode("utf-8", "surrogateescape")
    return raw.decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")


def mounts() -> list[Mount]:
    """Every mount of this mount namespace, in the order in which they were made."""
    found = []
    with open("/proc/self/mountinfo", errors="surrogateescape") as table:
        for line in table:
            fields = line.split(" ")
            dash = fields.index("-", 6)
            found.append(Mount(_unescape(fields[4]), fields[dash + 1], _unescape(fields[dash + 2])))
    return found


def is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def unmount(point: str) -> None:
    """Detaches one mount; a file system that is still in use goes when its last user does."""
    if _libc.umount2(os.fsencode(point), MNT_DETACH) != 0:
        error = ctypes.get_errno()
        if point in (m.point for m in mounts()):
            raise ScratchError(f"cannot unmount {point}: {os.strerror(error)}")


def loop_devices() -> dict[str, str]:
    """Attached loop devices: /dev/loopN to the path of the backing file."""
    found = {}
    for entry in Path("/sys/block").glob("loop*"):
        try:
            backing = (entry / "loop/backing_file").read_text(errors="surrogateescape")
        except OSError:
            continue
        found[f"/dev/{entry.name}"] = backing.rstrip("\n").removesuffix(" (deleted)")
    return found


def detach_loop(device: str) -> None:
    loop_clr_fd = 0x4C01
    try:
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        ctypes.set_errno(0)
        _libc.ioctl(fd, loop_clr_fd, 0)
    finally:
        os.close(fd)


class Scratch:
    """The directory. `create` makes it or takes over one that carries our marker."""

    def __init__(self, path: str | Path):
        self.path = Path(os.path.realpath(path))

    def create(self) -> "Scratch":
        if self.path.exists() and any(self.path.iterdir()) and not self.is_ours():
            raise ScratchError(
                f"{self.path} exists and was not made by this program; "
                "name an empty or a new directory"
            )
        self.path.mkdir(parents=True, exist_ok=True, mode=0o711)
        (self.path / MARKER).touch()
        return self

    def is_ours(self) -> bool:
        return (self.path / MARKER).is_file()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # What is left -------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """Our programs that name this directory, and their descendants (containers, workers)."""
        own = _ancestors()
        children = _children()
        found: list[int] = []
        queue = [p for p in _all_pids() if self._is_our_program(p)]
        while queue:
            pid = queue.pop()
            if pid not in own and pid not in found:
                found.append(pid)
                queue += children.get(pid, [])
        return found

    def _is_our_program(self, pid: int) -> bool:
        """A pager or a shell that a person has in the directory is not ours to end."""
        try:
            program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            return False
        return program.removesuffix(" (deleted)") in PROGRAMS and self._names_us(pid)

    def _names_us(self, pid: int) -> bool:
        directory = str(self.path)
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().decode(errors="surrogateescape").split("\0")
            if any(is_below(a.rpartition("=")[2], directory) for a in arguments):
                return True
            return is_below(os.readlink(f"/proc/{pid}/cwd"), directory)
        except OSError:
            return False

    def mounts(self) -> list[Mount]:
        directory = str(self.path)
        return [m for m in mounts() if is_below(m.point, directory)]

    def loops(self) -> list[str]:
        directory = str(self.path)
        return [dev for dev, file in loop_devices().items() if is_below(file, directory)]

    def leftovers(self) -> list[str]:
        """One line for every process, mount and loop device that still belongs to the directory."""
        own = _ancestors()
        lines = [f"process {pid}: {daemons.command_line(pid)}"
                 for pid in _all_pids() if pid not in own and self._names_us(pid)]
        lines += [f"mount {m.point} ({m.fs_type})" for m in self.mounts()]
        lines += [f"loop device {device}" for device in self.loops()]
        return lines

    # Teardown -----------------------------------------------------------------------------------

    def teardown(self, keep: tuple[str, ...] = ()) -> None:
        """Ends and removes everything; entries of the directory named in `keep` stay.

        Does nothing to a directory without our marker, whatever is mounted or runs below it: a
        person may have named / or a home directory.
        """
        if not self.is_ours():
            return
        cgroups = self._container_cgroups()
        daemons.end(self.processes(), signal.SIGTERM, patience=10.0)
        daemons.end(self.processes(), signal.SIGKILL)
        for cgroup in cgroups:
            _remove_cgroup(cgroup)
        self._remove_shim_sockets()
        self._unmount_all()
        for device in self.loops():
            detach_loop(device)
        self._delete(keep)

    def _container_cgroups(self) -> set[Path]:
        """The cgroups that runc made for containers still running; it is not there to remove them."""
        pattern = "state/io.containerd.runtime.v2.task/*/*"
        ids = {f.name for depth in ("", "*/", "*/*/") for f in self.path.glob(depth + pattern)}
        found = set()
        for pid in self.processes() if ids else []:
            try:
                memberships = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            except OSError:
                continue
            for line in memberships:
                path = line.split(":", 2)[2]
                if path.rpartition("/")[2] in ids:
                    found |= {Path(m.point + path) for m in mounts() if m.fs_type.startswith("cgroup")}
        return found

    def _remove_shim_sockets(self) -> None:
        task = "state/io.containerd.runtime.v2.task/*/*/address"
        for file in [f for depth in ("", "*/", "*/*/") for f in self.path.glob(depth + task)]:
            try:
                address = file.read_text().strip().removeprefix("unix://")
                if address.startswith("/run/containerd/s/"):
                    os.unlink(address)
            except OSError:
                continue

    def _unmount_all(self) -> None:
        for _ in range(100):  # mounts can be stacked on one point
            points = [m.point for m in self.mounts()]
            if not points:
                return
            for point in sorted(points, key=lambda p: p.count("/"), reverse=True):
                unmount(point)
        raise ScratchError(f"mounts keep coming back below {self.path}")

    def _delete(self, keep: tuple[str, ...]) -> None:
        for entry in list(self.path.iterdir()):
            if entry.name in keep or entry.name == MARKER:
                continue
            if entry.is_dir() and not entry.is_symlink():
                _remove_tree(entry)
            else:
                entry.unlink(missing_ok=True)
        if not any((self.path / name).exists() for name in keep):
            (self.path / MARKER).unlink(missing_ok=True)
            self.path.rmdir()


def _remove_tree(directory: Path) -> None:
    # rm copes with paths longer than PATH_MAX and stays off anything that is still mounted. An
    # ending shim can hold an entry for a moment.
    deadline = time.monotonic() + 10
    while True:
        done = subprocess.run(["rm", "-rf", "--one-file-system", str(directory)],
                              capture_output=True, text=True)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise ScratchError(f"cannot remove {directory}: {done.stderr.strip()[-500:]}")
        time.sleep(0.1)


def _remove_cgroup(directory: Path) -> None:
    """The kernel refuses to remove a cgroup that has a process in it."""
    try:
        directory.rmdir()
    except OSError:
        pass


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        try:
            children.setdefault(daemons.parent(pid), []).append(pid)
        except OSError:
            continue
    return children


def _ancestors() -> set[int]:
    pids, pid = set(), os.getpid()
    while pid > 0:
        pids.add(pid)
        try:
            pid = daemons.parent(pid)
        except OSError:
            break
    return pids

"""Two mounted trees, compared whole and in both directions.

Compared for every path: type, mode, owner, group, size, modification time to the nanosecond, device
number, link target, extended attributes, content, and which paths are hard links of one file.
Inode numbers, link counts and access times are not: containerd's own unpack does not keep them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(slots=True)
class Entry:
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    rdev: int
    target: bytes
    xattrs: tuple[tuple[bytes, bytes], ...]
    links: tuple[bytes, ...] = ()
    content: str = ""


_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink",
          stat.S_IFCHR: "char device", stat.S_IFBLK: "block device", stat.S_IFIFO: "fifo",
          stat.S_IFSOCK: "socket"}

Tree = dict[bytes, Entry]


def _xattrs(path: bytes) -> tuple[tuple[bytes, bytes], ...]:
    names = os.listxattr(path, follow_symlinks=False)
    return tuple(sorted((os.fsencode(name), os.getxattr(path, name, follow_symlinks=False))
                        for name in names))


def _entry(path: bytes, info: os.stat_result) -> Entry:
    kind = _KINDS[stat.S_IFMT(info.st_mode)]
    is_device = kind.endswith("device")
    return Entry(kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid,
                 0 if kind == "directory" else info.st_size, info.st_mtime_ns,
                 info.st_rdev if is_device else 0,
                 os.readlink(path) if kind == "symlink" else b"", _xattrs(path))


def hash_file(path: bytes) -> str:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scan(root: Path | str | bytes, with_content: bool = True, threads: int = 4) -> Tree:
    """Every path below `root`, and the root itself as b"", relative, as bytes."""
    top = os.fsencode(root)
    tree: Tree = {b"": _entry(top, os.lstat(top))}
    by_inode: dict[tuple[int, int], list[bytes]] = {}
    queue = [b""]
    while queue:
        directory = queue.pop()
        with os.scandir(os.path.join(top, directory) if directory else top) as listing:
            for item in listing:
                name = directory + b"/" + item.name if directory else item.name
                info = _stat(item)
                if info is None:
                    continue
                entry = tree[name] = _entry(item.path, info)
                if entry.kind == "directory":
                    queue.append(name)
                else:
                    by_inode.setdefault((info.st_dev, info.st_ino), []).append(name)
    for names in by_inode.values():
        group = tuple(sorted(names))
        for name in names:
            tree[name].links = group
    if with_content:
        _hash_all(top, tree, by_inode.values(), threads)
    return tree


def _stat(item: os.DirEntry) -> os.stat_result | None:
    """None for the ghost of a whiteout: overlayfs lists it in a directory that only one layer has,
    although it cannot be opened."""
    try:
        return item.stat(follow_symlinks=False)
    except FileNotFoundError:
        known_type = item.is_file(follow_symlinks=False) or item.is_dir(follow_symlinks=False) \
            or item.is_symlink()
        if known_type:
            raise
        return None


def _hash_all(top: bytes, tree: Tree, groups: Iterable[list[bytes]], threads: int) -> None:
    files = [names for names in groups if tree[names[0]].kind == "file"]
    with ThreadPoolExecutor(threads) as pool:
        hashes = pool.map(lambda names: hash_file(os.path.join(top, names[0])), files)
        for names, content in zip(files, hashes):
            for name in names:
                tree[name].content = content


def differences(expected: Tree, found: Tree,
                mtime_is_open: Callable[[bytes], bool] = lambda path: False,
                limit: int = 40) -> list[str]:
    """A line for each difference; empty means equal. At most `limit` lines and a count."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            lines.append(f"{show(path)}: missing; expected a {expected[path].kind}")
        elif path not in expected:
            lines.append(f"{show(path)}: a {found[path].kind} that should not be there")
        else:
            lines += _entry_differences(path, expected[path], found[path], mtime_is_open)
    if len(lines) > limit:
        lines[limit:] = [f"… and {len(lines) - limit} more"]
    return lines


def _entry_differences(path: bytes, expected: Entry, found: Entry,
                       mtime_is_open: Callable[[bytes], bool]) -> list[str]:
    lines = []
    for field in fields(Entry):
        want, have = getattr(expected, field.name), getattr(found, field.name)
        if want == have:
            continue
        if field.name == "mtime_ns" and expected.kind == found.kind == "directory" \
                and mtime_is_open(path):
            continue
        form = oct if field.name == "mode" else repr
        lines.append(f"{show(path)}: {field.name} {form(have)}, expected {form(want)}")
    return lines


def show(path: bytes) -> str:
    return "/" + path.decode("utf-8", "backslashreplace")


def assert_equal(expected: Tree, found: Tree,
                 mtime_is_open: Callable[[bytes], bool] = lambda path: False) -> None:
    lines = differences(expected, found, mtime_is_open)
    assert not lines, f"{len(expected)} paths expected, {len(found)} found:\n" + "\n".join(lines)


# Which modification times containerd leaves open --------------------------------------------------


def named_paths(tar_names: Iterable[bytes]) -> tuple[set[bytes], set[bytes]]:
    """Of one layer: the paths that have an entry, and the directories above any entry."""
    named, touched = set(), set()
    for raw in tar_names:
        parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
        named.add(b"/".join(parts))
        for depth in range(len(parts)):
            touched.add(b"/".join(parts[:depth]))
    return named, touched


def open_mtimes(layers: Iterable[Iterable[bytes]]) -> Callable[[bytes], bool]:
    """Directories whose topmost layer with an entry at or below them has none for themselves.

    containerd creates such a directory while it unpacks and may leave the time of day in it. The
    root is always one: containerd passes over its entry.
    """
    open_now: set[bytes] = {b""}
    for tar_names in layers:
        named, touched = named_paths(tar_names)
        open_now = ((open_now | touched) - named) | {b""}
    return lambda path: path in open_now

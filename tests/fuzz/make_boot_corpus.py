#!/usr/bin/env python3
"""Writes the seeds of layer_merge_fuzz and boot_head_fuzz (docs/format.md has the bytes)."""

import hashlib
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"


def save(target, name, data):
    directory = CORPUS / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)


def sha256(data):
    return hashlib.sha256(data).digest()


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def text(value):
    return varint(len(value)) + value


def inode(mode, content=b"", flags=0, xattrs=()):
    head = bytes([flags]) + struct.pack("<H", mode) + bytes(4) + varint(len(xattrs))
    return head + b"".join(text(name) + text(value) for name, value in xattrs) + content


def directory(entries, flags=0, xattrs=()):
    content = varint(len(entries)) + b"".join(text(name) + varint(to) for name, to in entries)
    return inode(0o40755, content, flags, xattrs)


def tree(*inodes):
    return b"RNLTREE\0" + struct.pack("<II", 1, len(inodes)) + b"".join(inodes)


def two(lower, upper):
    return struct.pack("<H", len(lower)) + lower + upper


def extents(size, *extents):
    return varint(size) + varint(len(extents)) + b"".join(varint(v) for e in extents for v in e)


def record(blob, blocks, slot):
    parts = struct.pack("<QQQ", 1000, 50, 200) + sha256(b"tree")
    parts += struct.pack("<QQ", 1050, 64) + sha256(b"table")
    return sha256(blob) + struct.pack("<Q", 1274) + parts + struct.pack("<QHxxxxxx", blocks, slot)


def boot_head(records, hot, image):
    frame = b"\x28\xb5\x2f\xfd\x20" + bytes([len(image)])
    frame += struct.pack("<I", len(image) << 3 | 1)[:3] + image
    head = b"RNLBOOT\0" + struct.pack("<IIQQQQQ", 1, len(records), 0, 0, 1, len(frame), len(image))
    head += sha256(image) + struct.pack("<I", len(hot)) + bytes(36)
    return head + b"".join(records) + b"".join(struct.pack("<HHI", *h) for h in hot) + frame


def main():
    root = tree(directory([]))
    lower = tree(
        directory([(b"d", 1), (b"f", 3), (b"l", 4)]),
        directory([(b"e", 2)], xattrs=[(b"user.a", b"1")]),
        directory([]),
        inode(0o100644, extents(9000, (0, 5, 2), (2, 9, 1))),
        inode(0o120777, text(b"d/e")),
    )
    upper = tree(
        directory([(b"d", 1), (b"f", 0), (b"l", 4)]),
        directory([(b"again", 2), (b"e", 3), (b"same", 2)], flags=2),
        inode(0o100600, extents(4096, (0, 0, 1))),
        directory([], flags=1),
        directory([(b"p", 5), (b"x", 6)], flags=2),
        inode(0o10644),
        inode(0o20644, varint(0x103)),
    )
    save("layer_merge", "roots", two(root, root))
    save("layer_merge", "layers", two(lower, upper))

    save("boot_head", "empty", boot_head([], [], b"image"))
    twice = [record(b"a", 3, 1), record(b"b", 0, 0), record(b"c", 9, 2), record(b"a", 3, 1)]
    save("boot_head", "twice", boot_head(twice, [(0, 0, 1), (2, 0, 0)], b"x" * 100))


if __name__ == "__main__":
    main()

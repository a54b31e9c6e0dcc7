#!/usr/bin/env python3
"""Writes the seeds of chunk_table and layer_tree: small, well-formed inputs from docs/format.md."""

import hashlib
import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"


def table(chunks: list[tuple[int, int]]) -> bytes:
    """Of (blocks, stored size) pairs."""
    pages, page, block, offset = [], b"", 0, 0
    for number, (blocks, stored) in enumerate(chunks):
        page += struct.pack("<QII", offset, stored, block) + hashlib.sha256(bytes([number % 256])).digest()
        block, offset = block + blocks, offset + stored
        if len(page) == 85 * 48:
            pages.append(page.ljust(4096, b"\0"))
            page = b""
    if page:
        pages.append(page.ljust(4096, b"\0"))
    header = b"RNLTABLE" + struct.pack("<IIQQII24x", 1, 131072, block, offset, len(chunks), len(pages))
    return header + b"".join(hashlib.sha256(p).digest() for p in pages) + b"".join(pages)


def inode(flags: int, mode: int, content: bytes, xattrs: bytes = b"\0") -> bytes:
    return bytes([flags]) + struct.pack("<H", mode) + b"\0\0\x02\0" + xattrs + content


def tree(*inodes: bytes) -> bytes:
    return b"RNLTREE\0" + struct.pack("<II", 1, len(inodes)) + b"".join(inodes)


def name(text: bytes, number: int) -> bytes:
    return bytes([len(text)]) + text + bytes([number])


SEEDS = {
    "chunk_table": {
        "empty": table([]), "one": table([(3, 100)]),
        "two_pages": table([(1 + n % 32, 50 + n) for n in range(90)]),
    },
    "layer_tree": {
        "root": tree(inode(0, 0o40755, b"\0")),
        "kinds": tree(
            inode(0, 0o40755, b"\x06" + name(b"d", 1) + name(b"f", 2) + name(b"gone", 0)
                  + name(b"h", 2) + name(b"l", 3) + name(b"n", 4)),
            inode(3, 0o40700, b"\0"),
            inode(0, 0o100644, b"\x80\x40\x01\0\x05\x02", b"\x01\x06user.a\x01x"),
            inode(0, 0o120777, b"\x01f"),
            inode(0, 0o20600, b"\x83\x02")),
    },
}

for target, seeds in SEEDS.items():
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    for seed, data in seeds.items():
        (CORPUS / target / seed).write_bytes(data)

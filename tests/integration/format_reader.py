"""A second reader of streaming artifacts, written from docs/format.md and from nothing else.

It shares no code with the program, checks everything that the page says can be checked, and puts an
image's files together again. Where it could not be written from the page, the page was wrong.
"""

from __future__ import annotations

import ctypes
import hashlib
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

BLOCK = 4096
FOOTER_SIZE, PARTS_SIZE, PAGE_SIZE, ENTRY_SIZE, PER_PAGE = 160, 104, 4096, 48, 85
HEAD_SIZE, RECORD_SIZE = 128, 160


class FormatError(Exception):
    """The artifact is not what the page says."""


def need(condition: bool, what: str) -> None:
    if not condition:
        raise FormatError(what)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_zstd = ctypes.CDLL("libzstd.so.1")
_zstd.ZSTD_decompress.restype = ctypes.c_size_t
_zstd.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
_zstd.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t


def one_frame(frame: bytes, size: int) -> bytes:
    """The content of exactly one zstd frame that states its content's size."""
    source, length = ctypes.c_char_p(frame), ctypes.c_size_t(len(frame))
    need(_zstd.ZSTD_findFrameCompressedSize(source, length) == len(frame), "not one zstd frame")
    need(_zstd.ZSTD_getFrameContentSize(source, length) == size, f"frame is not of {size} bytes")
    out = ctypes.create_string_buffer(max(size, 1))
    need(_zstd.ZSTD_decompress(out, ctypes.c_size_t(size), source, length) == size, "bad frame")
    return out.raw[:size]


# 3. The layer blob --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    tree_offset: int
    tree_stored: int
    tree_size: int
    tree_digest: bytes
    table_offset: int
    table_size: int
    table_digest: bytes


def read_parts(data: bytes) -> Parts:
    parts = Parts(*struct.unpack("<QQQ32sQQ32s", data))
    need(parts.table_offset == parts.tree_offset + parts.tree_stored, "table is not behind the tree")
    return parts


# 4. The chunk table -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chunk:
    blob_offset: int
    stored_size: int
    device_block: int
    digest: bytes
    blocks: int


@dataclass(frozen=True)
class Table:
    chunk_max: int
    device_blocks: int
    frame_bytes: int
    chunks: list[Chunk]

    def covering(self, block: int, blocks: int) -> Iterator[int]:
        for number, chunk in enumerate(self.chunks):
            if chunk.device_block < block + blocks and block < chunk.device_block + chunk.blocks:
                yield number


def read_table(data: bytes, digest: bytes) -> Table:
    magic, version, chunk_max, device_blocks, frame_bytes, count, pages = struct.unpack_from(
        "<8sIIQQII", data)
    need((magic, version) == (b"RNLTABLE", 1), "no chunk table")
    need(chunk_max % BLOCK == 0 and 0 < chunk_max <= 1 << 20, "chunk_max")
    need(pages == -(-count // PER_PAGE), "page count")
    need(data[40:64] == bytes(24), "reserved bytes of the index")
    index_size = 64 + 32 * pages
    need(len(data) == index_size + PAGE_SIZE * pages, "size of the table")
    need(sha256(data[:index_size]) == digest, "digest of the table")
    raw = []
    for page in range(pages):
        at = index_size + page * PAGE_SIZE
        bytes_ = data[at:at + PAGE_SIZE]
        need(sha256(bytes_) == data[64 + 32 * page:96 + 32 * page], f"digest of page {page}")
        in_page = min(PER_PAGE, count - page * PER_PAGE)
        raw += [struct.unpack_from("<QII32s", bytes_, n * ENTRY_SIZE) for n in range(in_page)]
        need(not any(bytes_[in_page * ENTRY_SIZE:]), f"page {page} is not filled up with zeros")
    return Table(chunk_max, device_blocks, frame_bytes,
                 _tiling(raw, chunk_max, device_blocks, frame_bytes))


def _tiling(raw: list, chunk_max: int, device_blocks: int, frame_bytes: int) -> list[Chunk]:
    chunks, offset, block = [], 0, 0
    for number, (blob_offset, stored, device_block, digest) in enumerate(raw):
        need((blob_offset, device_block) == (offset, block), f"chunk {number} leaves a gap")
        need(1 <= stored <= 2 * chunk_max + 1024, f"stored size of chunk {number}")
        block = raw[number + 1][2] if number + 1 < len(raw) else device_blocks
        blocks = block - device_block
        need(0 < blocks * BLOCK <= chunk_max, f"chunk {number} is of {blocks} blocks")
        chunks.append(Chunk(blob_offset, stored, device_block, digest, blocks))
        offset += stored
    need((offset, block) == (frame_bytes, device_blocks), "the last chunk ends elsewhere")
    return chunks


# 5. The layer's tree ------------------------------------------------------------------------------


@dataclass
class Inode:
    opaque: bool
    implied: bool
    mode: int
    uid: int
    gid: int
    mtime: int
    mtime_ns: int
    xattrs: dict[bytes, bytes]
    size: int = 0
    extents: list[tuple[int, int, int]] = field(default_factory=list)
    target: bytes = b""
    rdev: int = 0
    entries: dict[bytes, int] = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


class _Cursor:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        need(self.at + size <= len(self.data), "the tree is cut short")
        self.at += size
        return self.data[self.at - size:self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                need(byte != 0 or shift == 0, "overlong varint")
                return value
            shift += 7

    def zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def text(self) -> bytes:
        return self.take(self.varint())


def read_tree(data: bytes) -> list[Inode]:
    cursor = _Cursor(data)
    need(cursor.take(8) == b"RNLTREE\0", "no tree")
    version, count = struct.unpack("<II", cursor.take(8))
    need(version == 1, f"tree version {version}")
    inodes = [_read_inode(cursor, number) for number in range(count)]
    need(cursor.at == len(data), "bytes behind the tree")
    need((inodes[0].mode, inodes[0].uid, inodes[0].gid) == (0o40755, 0, 0), "the root's attributes")
    need(all(target > number for number, inode in enumerate(inodes)
             for target in inode.entries.values() if target and inodes[target].is_directory),
         "a directory named by a later inode")
    named = [target for inode in inodes for target in inode.entries.values() if target]
    need(set(named) == set(range(1, count)), "an inode without a name")
    need(all(named.count(n) == 1 for n in range(1, count) if inodes[n].is_directory),
         "a directory with two names")
    return inodes


def _read_inode(cursor: _Cursor, number: int) -> Inode:
    flags = cursor.take(1)[0]
    mode = int.from_bytes(cursor.take(2), "little")
    inode = Inode(bool(flags & 1), bool(flags & 2), mode, cursor.varint(), cursor.varint(),
                  cursor.zigzag(), cursor.varint(),
                  {cursor.text(): cursor.text() for _ in range(cursor.varint())})
    need(flags < 4, f"flags of inode {number}")
    need(list(inode.xattrs) == sorted(inode.xattrs), f"order of attributes of inode {number}")
    if stat.S_ISREG(mode):
        inode.size = cursor.varint()
        inode.extents = [(cursor.varint(), cursor.varint(), cursor.varint())
                         for _ in range(cursor.varint())]
    elif stat.S_ISLNK(mode):
        inode.target = cursor.text()
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        inode.rdev = cursor.varint()
    elif stat.S_ISDIR(mode):
        inode.entries = {cursor.text(): cursor.varint() for _ in range(cursor.varint())}
        need(list(inode.entries) == sorted(inode.entries), f"order of names in inode {number}")
    return inode


# A whole layer ------------------------------------------------------------------------------------


@dataclass
class LayerBlob:
    data: bytes
    parts: Parts
    table: Table
    tree: list[Inode]

    def chunk(self, number: int) -> bytes:
        """The plain bytes of a chunk, verified."""
        chunk = self.table.chunks[number]
        frame = self.data[chunk.blob_offset:chunk.blob_offset + chunk.stored_size]
        plain = one_frame(frame, chunk.blocks * BLOCK)
        need(sha256(plain) == chunk.digest, f"digest of chunk {number}")
        return plain

    def device(self) -> bytes:
        return b"".join(self.chunk(n) for n in range(len(self.table.chunks)))

    def content(self, inode: Inode) -> bytes:
        out = bytearray(-(-inode.size // BLOCK) * BLOCK)
        for file_block, device_block, blocks in inode.extents:
            for number in self.table.covering(device_block, blocks):
                chunk, plain = self.table.chunks[number], self.chunk(number)
                first = max(device_block, chunk.device_block)
                last = min(device_block + blocks, chunk.device_block + chunk.blocks)
                piece = plain[(first - chunk.device_block) * BLOCK:
                              (last - chunk.device_block) * BLOCK]
                at = (file_block + first - device_block) * BLOCK
                out[at:at + len(piece)] = piece
        need(not any(out[inode.size:]), "the last block is not filled up with zeros")
        return bytes(out[:inode.size])


def read_layer(data: bytes) -> LayerBlob:
    footer = data[-FOOTER_SIZE:]
    magic, version, size, required, _ = struct.unpack_from("<8sIIQQ", footer)
    need((magic, version, size) == (b"RNLLAYER", 1, FOOTER_SIZE), "no footer")
    need(required == 0, f"required features {required:#x}")
    need(footer[136:] == bytes(24), "reserved bytes of the footer")
    parts = read_parts(footer[32:32 + PARTS_SIZE])
    need(parts.table_offset + parts.table_size == len(data) - FOOTER_SIZE, "where the table ends")
    table = read_table(data[parts.table_offset:-FOOTER_SIZE], parts.table_digest)
    need(table.frame_bytes == parts.tree_offset, "the frames do not reach the tree")
    tree = one_frame(data[parts.tree_offset:parts.table_offset], parts.tree_size)
    need(sha256(tree) == parts.tree_digest, "digest of the tree")
    return LayerBlob(data, parts, table, read_tree(tree))


# 6. The boot blob ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    blob_digest: bytes
    blob_size: int
    parts: Parts
    device_blocks: int
    slot: int


@dataclass(frozen=True)
class Boot:
    generation: int
    records: list[Record]
    hot: list[tuple[int, int]]  # layer record, chunk
    image: bytes                # EROFS
    tables: list[Table]         # of slot 1, 2, …
    pack: list[bytes]           # the frames of `hot`


def read_boot(data: bytes, head_digest: str, head_size: int) -> Boot:
    head = data[:head_size]
    need("sha256:" + sha256(head).hex() == head_digest, "digest of the head")
    (magic, version, layers, required, _, generation, stored, plain, image_digest,
     hot_count) = struct.unpack_from("<8sIIQQQQQ32sI", head)
    need((magic, version) == (b"RNLBOOT\0", 1), "no boot blob")
    need(layers <= 512 and required == 0, "layers or required features")
    need(head[92:HEAD_SIZE] == bytes(36), "reserved bytes of the head")
    records = [_read_record(head[at:at + RECORD_SIZE])
               for at in range(HEAD_SIZE, HEAD_SIZE + layers * RECORD_SIZE, RECORD_SIZE)]
    at = HEAD_SIZE + layers * RECORD_SIZE
    hot = []
    for _ in range(hot_count):
        layer, zero, chunk = struct.unpack_from("<HHI", head, at)
        need(zero == 0 and layer < layers, "hot entry")
        hot.append((layer, chunk))
        at += 8
    need(at + stored == head_size, "size of the head")
    image = one_frame(head[at:], plain)
    need(sha256(image) == image_digest, "digest of the EROFS image")

    tables, at = [], head_size
    for record in _first_of_each_slot(records):
        table = read_table(data[at:at + record.parts.table_size], record.parts.table_digest)
        need(table.device_blocks == record.device_blocks, "device blocks of a table")
        tables.append(table)
        at += record.parts.table_size
    pack = []
    for layer, number in hot:
        size = tables[records[layer].slot - 1].chunks[number].stored_size
        pack.append(data[at:at + size])
        at += size
    need(at == len(data), "bytes behind the hot pack")
    return Boot(generation, records, hot, image, tables, pack)


def _read_record(data: bytes) -> Record:
    digest, size = struct.unpack_from("<32sQ", data)
    device_blocks, slot = struct.unpack_from("<QH", data, 144)
    need(data[154:] == bytes(6), "reserved bytes of a layer record")
    return Record(digest, size, read_parts(data[40:144]), device_blocks, slot)


def _first_of_each_slot(records: list[Record]) -> list[Record]:
    first: dict[int, Record] = {}
    for record in records:
        need((record.slot == 0) == (record.device_blocks == 0), "slot of a layer without data")
        if record.slot == 0:
            continue
        if record.slot in first:
            need(first[record.slot].blob_digest == record.blob_digest, "two blobs in one slot")
        else:
            need(record.slot == len(first) + 1, "slots are not in order of first use")
            first[record.slot] = record
    return [first[slot] for slot in sorted(first)]


# 1. The manifest, and 5. from trees to one tree ---------------------------------------------------


@dataclass
class File:
    """One name of the merged image. Equal `identity` means hard links of one file."""

    inode: Inode
    attributes: Inode  # whose mode, owner, times and attributes it has
    identity: tuple[int, int]


@dataclass
class Artifact:
    boot: Boot
    layers: list[LayerBlob]

    def files(self) -> dict[bytes, File]:
        """Every name of the merged image but the root: "usr/bin/env"."""
        out: dict[bytes, File] = {}
        tops = [(n, 0) for n in reversed(range(len(self.layers)))]
        self._merge(b"", tops, out)
        return out

    def content(self, file: File) -> bytes:
        return self.layers[file.identity[0]].content(file.inode)

    def _inode(self, at: tuple[int, int]) -> Inode:
        return self.layers[at[0]].tree[at[1]]

    def _merge(self, prefix: bytes, directories: list[tuple[int, int]], out: dict) -> None:
        names = {name for at in directories for name in self._inode(at).entries}
        for name in sorted(names):
            found = self._stack(name, directories)
            if not found:
                continue
            inode, path = self._inode(found[0]), prefix + name
            out[path] = File(inode, self._attributes(path, found[0]), found[0])
            if inode.is_directory:
                self._merge(path + b"/", found, out)

    def _stack(self, name: bytes, directories: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """What a name is: one inode, or the directories of that name, uppermost first."""
        stack: list[tuple[int, int]] = []
        for layer, number in directories:
            target = self.layers[layer].tree[number].entries.get(name)
            if target is None:
                continue
            if target == 0:
                break
            inode = self.layers[layer].tree[target]
            if not inode.is_directory:
                return stack or [(layer, target)]
            stack.append((layer, target))
            if inode.opaque:
                break
        return stack

    def _attributes(self, path: bytes, at: tuple[int, int]) -> Inode:
        inode = self._inode(at)
        if not inode.implied:
            return inode
        for layer in reversed(range(at[0])):
            target = self._follow(layer, path)
            if target is None:
                continue
            if target == 0 or not self.layers[layer].tree[target].is_directory:
                return inode
            return self._attributes(path, (layer, target))
        return inode

    def _follow(self, layer: int, path: bytes) -> int | None:
        """The inode at a path of one layer; 0 for a whiteout, None when the layer has no such path."""
        tree, steps, done, links = self.layers[layer].tree, path.split(b"/"), [0], 0
        while steps:
            step = steps.pop(0)
            if step in (b"", b"."):
                continue
            if step == b"..":
                done = done[:-1] or [0]
                continue
            target = tree[done[-1]].entries.get(step)
            if target is None:
                return None
            if target == 0:
                return 0
            if stat.S_ISLNK(tree[target].mode):
                links += 1
                if links > 40:
                    return None
                link = tree[target].target
                done = [0] if link.startswith(b"/") else done
                steps = link.split(b"/") + steps
                continue
            if steps and not tree[target].is_directory:
                return None
            done.append(target)
        return done[-1]


def read_artifact(manifest: dict, blob: Callable[[str], bytes]) -> Artifact:
    """Everything that an artifact's manifest names; `blob` gets the bytes of a digest."""
    notes = manifest["annotations"]
    need((notes["streaming.format"], notes["streaming.version"]) == ("runnel-erofs", "1"), "format")
    need(blob(manifest["config"]["digest"]) == b'{"format":"runnel-erofs","version":"1"}', "config")
    *layer_descriptors, boot_descriptor = manifest["layers"]
    need(boot_descriptor["digest"] == notes["dev.runnel.boot"], "boot blob")
    head_digest, _, head_size = notes["dev.runnel.head"].partition(" ")

    def bytes_of(descriptor: dict) -> bytes:
        data = blob(descriptor["digest"])
        need(len(data) == descriptor["size"], f"size of {descriptor['digest']}")
        need("sha256:" + sha256(data).hex() == descriptor["digest"], f"{descriptor['digest']}")
        return data

    boot = read_boot(bytes_of(boot_descriptor), head_digest, int(head_size))
    need(str(boot.generation) == notes["dev.runnel.generation"], "generation")
    layers = [read_layer(bytes_of(descriptor)) for descriptor in layer_descriptors]
    need(len(boot.records) == len(layers), "layer records")
    for record, layer, descriptor in zip(boot.records, layers, layer_descriptors):
        need("sha256:" + record.blob_digest.hex() == descriptor["digest"], "digest in the head")
        need(record.blob_size == descriptor["size"], "size in the head")
        need(record.parts == layer.parts, "parts in the head")
        need("sha256:" + layer.parts.table_digest.hex()
             == descriptor["annotations"]["dev.runnel.table"], "table annotation")
    return Artifact(boot, layers)

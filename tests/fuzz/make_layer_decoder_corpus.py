#!/usr/bin/env python3
"""Writes corpus/layer_decoder: small gzip and zstd blobs of each shape.

    tests/fuzz/make_layer_decoder_corpus.py

Needs the zstd program. The result is committed.
"""
import os
import random
import struct
import subprocess
import zlib

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "layer_decoder")


def save(name, data):
    with open(os.path.join(OUT, name), "wb") as file:
        file.write(data)


def gzip(data, flags=0, level=6, strategy=zlib.Z_DEFAULT_STRATEGY):
    header = b"\x1f\x8b\x08" + bytes([flags]) + b"\1\2\3\4\0\xff"
    if flags & 4:
        header += struct.pack("<H", 5) + b"extra"
    if flags & 8:
        header += b"name\0"
    if flags & 16:
        header += b"comment\0"
    if flags & 2:
        header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
    body = deflate.compress(data) + deflate.flush()
    return header + body + struct.pack("<II", zlib.crc32(data), len(data))


def zstd(data, *options):
    return subprocess.run(["zstd", "-c", *options], input=data, check=True,
                          stdout=subprocess.PIPE).stdout


def main():
    os.makedirs(OUT, exist_ok=True)
    text = b"the quick brown fox jumps over the lazy dog " * 20
    noise = random.Random(1).randbytes(300)
    save("gzip_dynamic", gzip(text + noise))
    save("gzip_fixed", gzip(text, strategy=zlib.Z_FIXED))
    save("gzip_stored", gzip(noise, level=0))
    save("gzip_header", gzip(text, flags=2 | 4 | 8 | 16))
    save("gzip_members", gzip(b"") + gzip(text) + gzip(noise) + bytes(100))
    save("zstd_plain", zstd(text + noise))
    save("zstd_checksum", zstd(text, "--check", "--no-content-size"))
    save("zstd_frames", b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd(text) + zstd(noise, "--fast"))


if __name__ == "__main__":
    main()

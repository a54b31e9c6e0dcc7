#!/usr/bin/env python3
"""Lists a tar archive as Python's tarfile reads it, in the form of tests/support/tar_listing.h.

    tar_listing.py ARCHIVE
"""
import decimal
import math
import sys
import tarfile
import zlib

TYPES = {
    tarfile.REGTYPE: "regular", tarfile.AREGTYPE: "regular", tarfile.CONTTYPE: "regular",
    tarfile.GNUTYPE_SPARSE: "regular", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}
XATTR = "SCHILY.xattr."


def escaped(text):
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(c) if 0x20 < c <= 0x7e and c != 0x25 else f"%{c:02x}" for c in raw)


def mtime(info):
    # tarfile rounds a PAX time to a float; the record has all of it.
    exact = decimal.Decimal(info.pax_headers.get("mtime", str(info.mtime)))
    seconds = math.floor(exact)
    return f"{seconds}.{int((exact - seconds) * 10**9):09}"


def line(archive, info):
    kind = TYPES.get(info.type, "other")
    # tarfile cuts the slash that ends a directory's name.
    name = escaped(info.name) + ("/" if kind == "directory" else "")
    out = (f"{kind} name={name} mode={info.mode & 0o7777:o} uid={info.uid} "
           f"gid={info.gid} mtime={mtime(info)}")
    if kind in ("symlink", "hardlink"):
        out += f" link={escaped(info.linkname)}"
    elif kind in ("char", "block"):
        out += f" device={info.devmajor}:{info.devminor}"
    elif kind in ("regular", "other"):
        content = archive.extractfile(info).read()
        out += f" size={info.size} crc={zlib.crc32(content):08x}"
    for key in sorted(info.pax_headers):
        if key.startswith(XATTR):
            out += f" xattr={escaped(key[len(XATTR):])}={escaped(info.pax_headers[key])}"
    return out


def main():
    with tarfile.open(sys.argv[1], "r:", encoding="utf-8", errors="surrogateescape") as archive:
        for info in archive:
            print(line(archive, info))


if __name__ == "__main__":
    main()

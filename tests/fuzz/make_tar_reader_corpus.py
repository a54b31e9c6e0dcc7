#!/usr/bin/env python3
"""Writes corpus/tar_reader: one small archive for each thing the tar reader knows.

    tests/fuzz/make_tar_reader_corpus.py

Needs GNU tar. The result is committed; run this again when a dialect is added.
"""
import io
import os
import subprocess
import tarfile
import tempfile

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "tar_reader")
tarfile.RECORDSIZE = tarfile.BLOCKSIZE  # no filling at the end
SPARSE = {"gnu": "oldgnu", "0.0": "posix", "0.1": "posix", "1.0": "posix"}


def save(name, data):
    with open(os.path.join(OUT, name), "wb") as file:
        file.write(data)


def gnu_tar(directory, *arguments):
    done = subprocess.run(
        ["tar", "-C", directory, "-c", "--blocking-factor=1", "--sort=name", "--owner=0",
         "--group=0", "--mtime=@1700000000", *arguments, "."], check=True, stdout=subprocess.PIPE)
    return done.stdout


def python_tar(tar_format, entries, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format, **options) as archive:
        for fields, content in entries:
            info = tarfile.TarInfo(fields.pop("name"))
            for key, value in fields.items():
                setattr(info, key, value)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def tree_archives(root):
    os.mkdir(f"{root}/dir")
    with open(f"{root}/dir/file", "w") as file:
        file.write("contents\n")
    os.link(f"{root}/dir/file", f"{root}/link")
    os.symlink("dir/file", f"{root}/symlink")
    for tar_format in ("v7", "ustar", "oldgnu", "gnu", "posix"):
        save(f"tree_{tar_format}", gnu_tar(root, f"--format={tar_format}"))


def sparse_archives(root):
    for version, tar_format in SPARSE.items():
        parts = 5 if version == "gnu" else 2  # the header has room for four
        with open(f"{root}/sparse", "wb") as file:
            for i in range(parts):
                file.seek(i << 16)
                file.write(b"part")
            file.truncate(1 << 20)
        extra = [] if version == "gnu" else [f"--sparse-version={version}"]
        data = gnu_tar(root, f"--format={tar_format}", "--sparse", *extra)
        save(f"sparse_{version}", data)


def special_archives():
    long = "l" * 300
    save("long_gnu", python_tar(tarfile.GNU_FORMAT, [
        ({"name": "d/" + long, "type": tarfile.SYMTYPE, "linkname": "t/" + long}, b"")]))
    save("long_pax", python_tar(tarfile.PAX_FORMAT, [
        ({"name": "d/" + long, "type": tarfile.SYMTYPE, "linkname": "t/" + long,
          "mtime": -1.5, "uid": 1 << 40,
          "pax_headers": {"SCHILY.xattr.user.a": "value", "atime": "12.5"}}, b"")]))
    save("global", python_tar(tarfile.PAX_FORMAT, [({"name": "f"}, b"x")],
                              pax_headers={"comment": "0123abc", "path": "p"}))
    save("prefix", python_tar(tarfile.USTAR_FORMAT, [
        ({"name": "p" * 120 + "/" + "n" * 90}, b"x" * 600)]))
    save("base256", python_tar(tarfile.GNU_FORMAT, [
        ({"name": "f", "mtime": -10, "uid": 1 << 30}, b"")]))
    save("devices", python_tar(tarfile.USTAR_FORMAT, [
        ({"name": "c", "type": tarfile.CHRTYPE, "devmajor": 5, "devminor": 1}, b""),
        ({"name": "b", "type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 300}, b""),
        ({"name": "p", "type": tarfile.FIFOTYPE}, b""),
        ({"name": "s", "type": tarfile.CONTTYPE}, b"contiguous")]))


def main():
    os.makedirs(OUT, exist_ok=True)
    with tempfile.TemporaryDirectory() as root:
        tree_archives(root)
    with tempfile.TemporaryDirectory() as root:
        sparse_archives(root)
    special_archives()


if __name__ == "__main__":
    main()

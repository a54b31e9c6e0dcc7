"""What the tests of conversion share: images with known content, `convert`, what a registry has."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import tars
from sandbox import images, services
from tars import Tar

OURS = "application/vnd.azure.artifact.streaming.v1"
ELSEWHERE = "application/vnd.runnel.streaming.v1"


def runnel(*arguments: str | bytes, seconds: float = 60) -> subprocess.CompletedProcess:
    """The program, with its output; a test that waits longer than `seconds` has failed."""
    return subprocess.run([services.program(), *arguments], capture_output=True, timeout=seconds)


@dataclass
class Run:
    code: int
    error: str
    results: list[dict]


class Converter:
    """`runnel convert` with a work directory of its own, in which nothing may stay."""

    def __init__(self, work: Path):
        self.work = work
        work.mkdir()

    def __call__(self, reference: str, *options: str, timeout: int = 5) -> Run:
        done = runnel("convert", reference, "--json", "--work-directory", str(self.work),
                      "--timeout", str(timeout), *options)
        assert os.listdir(self.work) == []
        results = json.loads(done.stdout) if done.returncode == 0 else []
        return Run(done.returncode, done.stderr.decode(), results)


# Images -------------------------------------------------------------------------------------------


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes that show a shift by any number of blocks, and that compress a little."""
    return b"".join((n * 2654435761 + seed & 0xFFFFFFFF).to_bytes(4, "big")
                    for n in range(size // 4 + 1))[:size]


def tar(path: Path, write: Callable[[Tar], object]) -> Path:
    with Tar(path) as out:
        write(out)
    return path


def sparse_tar(directory: Path) -> tuple[Path, bytes]:
    """A tar with the one file "sparse", made by GNU tar, and that file's content."""
    tree = directory / "sparse-tree"
    tree.mkdir()
    content = bytearray((3 << 20) + 17)
    with open(tree / "sparse", "wb") as file:
        file.truncate(len(content))
        for offset, data in {0: b"start", 1 << 20: pattern(50_000), 3 << 20: b"end"}.items():
            os.pwrite(file.fileno(), data, offset)
            content[offset:offset + len(data)] = data
    path = tars.tar_of_tree(directory / "sparse.tar", tree, "--sparse", "--format=pax",
                            "--sparse-version=1.0")
    return path, bytes(content)


@dataclass
class Known:
    """An image and what is in it: path to content, for every regular file."""

    image: images.Image
    files: dict[str, bytes] = field(default_factory=dict)


def known_image(at: Path) -> Known:
    """Five layers (gzip, zstd, plain, empty, sparse): the kinds of entries and of replacement."""
    at.mkdir()
    sizes = [0, 1, 4095, 4096, 4097, 32767, 32768, 131072, 131073, 700_001]
    first = tar(at / "1.tar", lambda t: [
        t.directory("etc", 0o750, uid=3, gid=4).file("etc/name", b"runnel\n", 0o640, uid=7),
        t.file("etc/gone", b"gone").directory("opt").file("opt/old", b"old"),
        *[t.file(f"sizes/{size}", pattern(size, size)) for size in sizes],
        t.symlink("link", "etc/name").symlink("dir-link", "/etc").symlink("broken", "no/where"),
        t.symlink("loop", "loop").hard_link("hard", "etc/name", uid=7).fifo("pipe"),
        t.char_device("null", 1, 3).file("h\xe4 \x01", b"odd name")])
    second = tar(at / "2.tar", lambda t: (
        t.whiteout("etc/gone").file("opt/new", b"new").opaque("opt")
        .file("etc/shadow", pattern(9000)).file("sizes/4097", b"smaller now")))
    third = tar(at / "3.tar", lambda t: t.file("top", pattern(200_000, 9)).directory("opt", 0o700))
    empty = tar(at / "4.tar", lambda t: None)
    sparse, sparse_content = sparse_tar(at)
    files = {f"sizes/{size}": pattern(size, size) for size in sizes}
    files |= {"etc/name": b"runnel\n", "hard": b"runnel\n", "h\xe4 \x01": b"odd name",
              "opt/new": b"new", "etc/shadow": pattern(9000), "sizes/4097": b"smaller now",
              "top": pattern(200_000, 9), "sparse": sparse_content}
    image = images.image_of(at / "layout", [(first, "gzip"), (second, "zstd"), (third, "plain"),
                                            (empty, "gzip"), (sparse, "gzip")])
    return Known(image, files)


def two_layers(at: Path, write: Callable[[Tar], object]) -> images.Image:
    """A good layer and, above it, the one that `write` makes."""
    at.mkdir()
    return images.image_of(at / "layout", [
        tar(at / "base.tar", lambda t: t.directory("d").file("d/base", pattern(3000))),
        tar(at / "top.tar", write)])


def put_manifest(reference: str, document: dict, media_type: str) -> str:
    """Sends a manifest as it is, whatever a tool would think of it; answers with its digest."""
    host, repository, tag = images.split_reference(reference)
    body = json.dumps(document, sort_keys=True).encode()
    status, _, answer = images.request(f"http://{host}/v2/{repository}/manifests/{tag}", "PUT",
                                       {"Content-Type": media_type}, body)
    assert status == 201, answer
    return images.sha256(body)


def blob(reference: str, digest: str) -> bytes:
    host, repository, _ = images.split_reference(reference)
    status, _, body = images.request(f"http://{host}/v2/{repository}/blobs/{digest}")
    assert status == 200, (digest, status)
    return body


def artifact_manifest(reference: str, digest: str) -> dict:
    host, repository, _ = images.split_reference(reference)
    return images.manifest_of(f"{host}/{repository}@{digest}")[1]


@dataclass(frozen=True)
class State:
    """What a client sees of an image: conversions that fail must leave it as it was."""

    digest: str
    manifest: str
    tags: tuple[str, ...]
    referrers: tuple[str, ...]


def state(reference: str) -> State:
    host, repository, _ = images.split_reference(reference)
    digest, manifest = images.manifest_of(reference)
    tags = json.loads(images.request(f"http://{host}/v2/{repository}/tags/list")[2])["tags"]
    referrers = sorted(entry["digest"] for entry in images.referrers(reference))
    return State(digest, json.dumps(manifest), tuple(sorted(tags)), tuple(referrers))

"""Layers of 20 GiB and of half a million files: what converting them takes of memory.

The layers are made on the fly: a file of 20 GiB is one compressed piece again and again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from converting_service import ConvertingRegistry, ask, ended, noise
from registry_calls import Calls, digest, push_blob, push_image
from sandbox import services

pytestmark = pytest.mark.heavy

LIMIT = 300 << 20
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def header(name: str, size: int, kind: bytes = b"0") -> bytes:
    """POSIX.1-1988 (ustar); a size from 8 GiB on as GNU tar writes it, in base 256."""
    field = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    out = bytearray(512)
    for offset, value in ((0, name.encode()), (100, b"0000644\0"), (108, b"0000000\0"),
                          (116, b"0000000\0"), (124, field), (136, b"00000000000\0"),
                          (148, b" " * 8), (156, kind), (257, b"ustar\x0000")):
        out[offset:offset + len(value)] = value
    out[148:156] = b"%06o\0 " % sum(out)
    return bytes(out)


class Layer:
    """A gzip file of several members, and the digest of what is in it."""

    def __init__(self, path: Path):
        self.path, self._plain = path, hashlib.sha256()
        self._file = open(path, "wb")

    def add(self, plain: bytes, times: int = 1) -> None:
        packed = gzip.compress(plain, 1)
        for _ in range(times):
            self._plain.update(plain)
            self._file.write(packed)

    def close(self) -> str:
        self.add(bytes(1024))
        self._file.close()
        return "sha256:" + self._plain.hexdigest()


def twenty_gib(path: Path) -> str:
    """One file: a quarter of a gigabyte of holes and a little content, 80 times."""
    layer = Layer(path)
    piece = bytes((256 << 20) - (1 << 20)) + noise(1 << 20)
    layer.add(header("sparse", 80 * len(piece)))
    layer.add(piece, times=80)
    return layer.close()


def half_a_million(path: Path) -> str:
    """Files of some bytes each, a thousand in a directory."""
    layer = Layer(path)
    for directory in range(500):
        layer.add(header(f"d{directory:03}/", 0, b"5") + b"".join(
            header(f"d{directory:03}/file-{number:03}.txt", 40)
            + b"%-512d" % (directory * 1000 + number) for number in range(1000)))
    return layer.close()


def push(call: Calls, repository: str, layer: Path, diff_id: str) -> str:
    data = layer.read_bytes()
    config = json.dumps({"os": "linux", "architecture": "amd64",
                         "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()
    push_blob(call, repository, data)
    return push_image(call, repository, "v1", config, layers=[
        {"mediaType": GZIP, "digest": digest(data), "size": len(data)}])


class Peak:
    """The most memory that a registry or one of its workers had (VmHWM, proc(5))."""

    def __init__(self, registry: ConvertingRegistry):
        self._registry, self.bytes, self._over = registry, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            for pid in (self._registry.daemon.pid, *self._registry.workers()):
                self.bytes = max(self.bytes, peak_of(pid))
            time.sleep(0.01)  # a measurement: nothing waits for it


def peak_of(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) << 10 if lines else 0


@pytest.fixture
def registry(start):
    return start("[conversion]\nmax_ratio = 2000\n")


@pytest.mark.parametrize("make", [twenty_gib, half_a_million])
def test_memory_stays_small_whatever_the_layer_is(registry, tmp_path, make):
    diff_id = make(tmp_path / "layer.tar.gz")
    call = Calls(registry.host)
    name = push(call, "large/app", tmp_path / "layer.tar.gz", diff_id)

    with Peak(registry) as peak:
        identity = ask(call, "large/app", name)
        done = ended(call, "large/app", identity, seconds=900)
    print(f"\n{make.__name__}: registry and workers {peak.bytes >> 20} MiB", flush=True)

    assert done["status"] == "Succeeded", done
    assert peak.bytes < LIMIT, peak.bytes
    (tmp_path / "work").mkdir()
    process = subprocess.Popen([services.program(), "convert", f"{registry.host}/large/app:v1",
                                "--work-directory", str(tmp_path / "work"), "--json"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # With what this process had when it forked: the program's own is less.
    _, status, usage = os.wait4(process.pid, 0)
    print(f"{make.__name__}: runnel convert {usage.ru_maxrss >> 10} MiB", flush=True)
    assert status == 0
    assert usage.ru_maxrss << 10 < LIMIT, usage.ru_maxrss

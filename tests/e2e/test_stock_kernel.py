"""Debian 12's own kernel, 6.1: no re-sending of FUSE requests, no EROFS on files.

Booted under qemu, all in one guest: registry, node, containerd, a container that hashes its files
while workers are killed, and, over loop devices, while the node is stopped and all of the image is
here. First without the EROFS module, so that the complete FUSE file system has to serve, then with it.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path

import pytest

from corpus import layers
from sandbox import guest, images, services
from sandbox.containerd import _CONFIG, _PROXY

HERE = Path(__file__).resolve().parent
REFERENCE = "127.0.0.1:5000/guest:1"
FILES = 60
SECONDS = 600
# What --engine auto must choose, and the modules that are loaded before it is asked.
ENGINES = ("fuse fuse overlay loop", "erofs-loop libcrc32c erofs")
LOOP = """\
echo READY
round=0
while [ ! -e /shared/stop ]; do
  sha256sum -c /files/sums >/tmp/sums 2>&1 || grep -v OK /tmp/sums
  round=$((round + 1)); echo ROUND $round
done
"""


def content(number: int) -> bytes:
    seeded = random.Random(number)
    return seeded.randbytes(seeded.choice([0, 700, 9_000, 70_000, 200_000]))


def image_layers(directory: Path) -> list[Path]:
    sums = "".join(f"{hashlib.sha256(content(n)).hexdigest()}  /files/{n}\n" for n in range(FILES))

    def base(tar):
        tar.directory("bin").file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755)
        for name in ("sh", "sha256sum", "grep", "echo"):
            tar.symlink(f"bin/{name}", "busybox")
        tar.directory("tmp").directory("shared").directory("proc").directory("sys").directory("dev")

    def data(tar):
        tar.directory("files").file("files/sums", sums.encode()).file("files/loop", LOOP.encode())
        for number in range(FILES):
            tar.file(f"files/{number}", content(number))
    return layers(directory, base, data)


def converted_registry(directory: Path) -> Path:
    """A registry's data directory that has the image and its artifact."""
    image = images.image_of(directory / "layout", image_layers(directory), ["/bin/sh"])
    registry = services.Registry(directory / "registry").start()
    try:
        reference = REFERENCE.replace("127.0.0.1:5000", registry.host)
        images.push(image.layout, reference)
        services.convert(reference)
    finally:
        registry.stop()
    return registry.directory / "data"


def guest_disk(lab, runnel: str, kernel: Path, engines: str) -> Path:
    directory = lab.directory("guest")
    disk = guest.Disk(directory)
    disk.program(Path(runnel), "bin/runnel")
    for name in ("containerd", "containerd-shim-runc-v2", "runc", "ctr"):
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"needs {name}: tools/packages install run")
        disk.program(Path(found), f"bin/{name}")
    for module in (kernel / "modules").iterdir():
        disk.file(module, f"modules/{module.name}")
    shutil.copytree(converted_registry(directory), disk.root / "var/lib/registry")
    certs = "/etc/certs.d"
    disk.text(f"{certs[1:]}/127.0.0.1:5000/hosts.toml",
              'server = "http://127.0.0.1:5000"\n[host."http://127.0.0.1:8578"]\n'
              '  capabilities = ["pull", "resolve"]\n')
    disk.text("etc/containerd.toml", _CONFIG.format(
        root="/var/lib/containerd", socket="/run/containerd.sock", certs=certs,
        snapshotter="runnel",
        pod_image="localhost/none") + _PROXY.format(
            snapshotter="runnel", node_socket="/run/snapshotter.sock"))
    disk.text("image", REFERENCE)
    disk.text("engines", engines)
    disk.text("guest", (HERE / "guest.sh").read_text(), 0o755)
    return disk.make(6000)  # sparse; the cache wants a fifth of it to stay free


def results(lines: list[str]) -> list[list[str]]:
    return [line.split()[1:] for line in lines if line.startswith("RESULT ")]


@pytest.mark.heavy  # an emulated processor: minutes on a busy machine
def test_debians_kernel_streams_and_survives_the_workers_death(lab, runnel):
    reason = guest.missing()
    if reason:
        pytest.skip(reason)
    kernel = guest.kernel()
    disk = guest_disk(lab, runnel, kernel, "".join(f"{line}\n" for line in ENGINES))

    log = lab.directory("guest-log") / "console"
    lines = guest.boot(kernel, disk, log, SECONDS)

    tail = "\n".join(lines[-60:])
    assert "DONE" in lines, tail
    said = results(lines)
    runs = [said.index(["begin", line.split()[0]]) for line in ENGINES] + [len(said)]
    for line, begin, end in zip(ENGINES, runs, runs[1:]):
        run = {name: value for name, value, *_ in said[begin:end]}
        assert run["engine"] == line.split()[0], tail
        assert run["recovery"] == "shared-memory", tail
        assert run["parallel-loops"] == ("true" if run["engine"] == "erofs-loop" else "false"), tail
        assert run["reason"] == "Streaming", tail
        assert (run["kills"], run["bad"], run["left"]) == ("8", "0", "0"), tail
        assert int(run["rounds"]) > 0
        assert ("moved" in run) == (run["engine"] == "erofs-loop"), tail

"""The hot pack comes in behind the mount: nothing depends on its coming, or on its being right."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import known_files
from liar import Liar
from runnel_env import Streaming
from sandbox import daemons, images, services
from tars import Tar
from test_fallback import damage

BOOT = "application/vnd.runnel.boot.v1"
FILES = range(40)
STALL_TIMEOUT = 30  # of the node's requests (remote/gateway.h)
SCRIPT = "echo READY; while :; do /bin/busybox sleep 1; done"


@pytest.fixture
def pushed(lab, request):
    """An image whose guess of a start is busybox: about a megabyte of hot pack."""
    name = request.node.name.replace("[", "-").replace("]", "").replace("_", "-")[:40]
    directory = lab.directory("hot-pack")
    with Tar(directory / "busybox.tar") as tar:
        tar.directory("bin").file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        tar.file("name", name.encode())
    made = lab.push(name, [tar.path, known_files.write_tar(directory / "files.tar", FILES.start,
                                                           len(FILES))],
                    ["/bin/busybox", "sh", "-c", SCRIPT])
    services.convert(made.reference)
    return made


def boot_blob(reference: str) -> dict:
    (entry,) = images.referrers(reference)
    _, artifact = images.manifest_of(f"{reference.rpartition(':')[0]}@{entry['digest']}")
    (found,) = [layer for layer in artifact["layers"] if layer["mediaType"] == BOOT]
    return found


def check_files(root: Path) -> None:
    assert (root / "bin/busybox").read_bytes() == Path("/bin/busybox").read_bytes()
    for number in FILES:
        assert (root / known_files.name(number)).read_bytes() == known_files.content(number)


def run(side: Streaming, reference: str, name: str) -> Path:
    """Starts it; its root as its own processes see it."""
    at = side.containerd
    at.ctr("run", "--detach", "--null-io", "--snapshotter", "runnel", "--cgroup", "",
           "--runc-root", str(at.directory / "runc"), reference, name)
    (row,) = [line.split() for line in at.ctr("tasks", "ls").splitlines() if line.startswith(name)]
    return Path(f"/proc/{row[1]}/root")


def stop(side: Streaming, name: str) -> None:
    side.containerd.ctr("tasks", "rm", "--force", name)
    side.containerd.ctr("containers", "rm", name)


@contextmanager
def endless(lab, engine: str, pushed) -> Iterator[tuple[Streaming, str, Liar]]:
    """A node that streams the image although the last byte of its hot pack never comes."""
    boot = boot_blob(pushed.reference)
    lie = {"path": f"/blobs/{boot['digest']}", "lie": {"kind": "stall", "at": boot["size"] - 1}}
    with Liar(lab.registry.host, lie, seed=3) as liar:
        side = Streaming(lab, engine, registry=liar.host)
        try:
            side.start()
            reference = f"{liar.host}/{pushed.reference.partition('/')[2]}"
            side.pull(reference)
            assert side.image_status(reference)["reason"] == "Streaming"
            assert liar.counters()["lies"]["stall"] == 1, "it is still on its way"
            yield side, reference, liar
        finally:
            liar.honest()
            side.close()


def wait_until_gone(side: Streaming) -> None:
    daemons.wait_until(lambda: not side.node.status()["images"], 60, "the image to go")


def test_a_container_runs_although_the_hot_pack_never_ends(lab, engine, pushed):
    with endless(lab, engine, pushed) as (side, reference, liar):
        root = run(side, reference, "endless")
        assert liar.counters()["lies"]["stall"] == 1, "it is still on its way"
        worker = side.kill_worker()
        side.wait_for_another_worker(worker)
        check_files(root)
        stop(side, "endless")

        side.containerd.remove_image(reference)

        wait_until_gone(side)


def test_an_image_goes_while_its_hot_pack_is_on_its_way(lab, engine, pushed):
    with endless(lab, engine, pushed) as (side, reference, _):
        begin = time.monotonic()
        side.containerd.remove_image(reference)

        assert time.monotonic() - begin < STALL_TIMEOUT / 2, "nobody waits for the registry"
        wait_until_gone(side)


def test_a_hot_pack_that_is_wrong_is_fetched_anew_as_it_is_read(lab, engine, fresh_streaming, pushed):
    boot = boot_blob(pushed.reference)
    damage(lab, boot["digest"], boot["size"] - 100)
    side = fresh_streaming(engine)

    side.pull(pushed.reference)

    assert side.image_status(pushed.reference)["reason"] == "Streaming"
    root = run(side, pushed.reference, "wrong")
    check_files(root)
    stop(side, "wrong")

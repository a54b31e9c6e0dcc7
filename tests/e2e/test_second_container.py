"""A container of an image of which one ran before: what that one read is here, and stays mounted."""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import urllib.request
from pathlib import Path

import pytest

from corpus import layers
from sandbox import scratch, services
from sandbox.daemons import is_running, wait_until

CONTENT = bytes(range(256)) * 4_000


@pytest.fixture(scope="module")
def pushed(lab):
    made = lab.push("second-container", layers(
        lab.directory("second-container"), lambda t: t.directory("d").file("d/f", CONTENT),
        lambda t: t.file("top", b"on top")))
    services.convert(made.reference)
    return made


def node_that_keeps_mounts(lab, fresh_streaming, seconds: int):
    config = lab.directory("idle-mounts") / "node.toml"
    config.write_text(f"version = 1\nkeep_unused_s = {seconds}\n")
    return fresh_streaming("erofs-file", more_arguments=("--config", str(config)))


def mounts_of(side) -> list[str]:
    return [mount.point for mount in scratch.mounts()
            if mount.point.startswith(str(side.node.root) + "/mounts/")]


def metric(side, name: str) -> int:
    with urllib.request.urlopen(f"http://{side.node.status()['metrics']}/metrics", timeout=30) as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return int(float(found[1])) if found else 0


def calls(side, call: str) -> int:
    """How many of containerd's calls succeeded since the worker started."""
    return metric(side, f'runnel_node_snapshotter_calls_total{{call="{call}",code="ok"}}')


def wait_until_nobody_uses_it(side) -> None:
    """containerd removes a snapshot some time after it was told to."""
    given = calls(side, "Prepare") + calls(side, "View")
    assert given > 0
    wait_until(lambda: calls(side, "Remove") == given, 30, "the container's snapshot is removed")


def read(side, pushed) -> None:
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        assert (root / "d/f").read_bytes() == CONTENT
        assert (root / "top").read_bytes() == b"on top"
    wait_until_nobody_uses_it(side)


def test_a_second_container_asks_the_network_for_nothing(fresh_streaming, engine, converted_recipe, through):
    """Nor the node, although the first one is gone: what it read is in the kernel's memory.

    Where the program's memory lies is drawn anew for each process, and with it which pages at the edges of
    mapped files are read around a fault: one start in a hundred reads a page or two that no start before it did.
    """
    far = through("100m-20ms")
    reference = f"{far.host}/{converted_recipe('python').reference.partition('/')[2]}"
    side = fresh_streaming(engine, registry=far.host)
    side.pull(reference)

    def start(number: int) -> tuple[int, int]:
        """What it asked the network for, in requests, and the node, in bytes."""
        asked, read_before = far.traffic().requests, metric(side, "runnel_node_read_bytes_total")
        assert side.containerd.run(reference, f"container-{number}").seconds_to_ready
        wait_until_nobody_uses_it(side)
        wait_until(lambda: metric(side, "runnel_node_fetch_requests_in_flight") == 0, 30, "all that was asked came")
        return far.traffic().requests - asked, metric(side, "runnel_node_read_bytes_total") - read_before

    _, first_read = start(0)
    later = [start(number) for number in range(1, 6)]
    assert statistics.median(requests for requests, _ in later) == 0, later
    assert statistics.median(read for _, read in later) == 0, later
    assert max(read for _, read in later) < first_read / 100, (first_read, later)


def test_a_mount_that_no_container_uses_goes_after_a_while(lab, fresh_streaming, pushed):
    side = node_that_keeps_mounts(lab, fresh_streaming, seconds=2)
    side.pull(pushed.reference)
    read(side, pushed)

    wait_until(lambda: not mounts_of(side), 30, "it is unmounted")

    read(side, pushed)
    assert mounts_of(side)


def test_a_worker_that_starts_anew_finds_the_mounts_that_nobody_uses(lab, fresh_streaming, pushed):
    side = node_that_keeps_mounts(lab, fresh_streaming, seconds=5)
    side.pull(pushed.reference)
    read(side, pushed)
    worker = side.node.running_worker()
    os.kill(worker, signal.SIGKILL)
    assert mounts_of(side), "it died first"
    side.node.running_worker(other_than=worker)

    wait_until(lambda: not mounts_of(side), 30, "it is unmounted")


def test_a_mount_that_no_container_uses_goes_though_nobody_knows_what_it_is_made_of(lab, fresh_streaming, pushed):
    """Until then nothing that the cache has may be deleted."""
    side = node_that_keeps_mounts(lab, fresh_streaming, seconds=5)
    side.pull(pushed.reference)
    read(side, pushed)
    worker = side.node.running_worker()
    for mount in mounts_of(side):
        Path(f"{mount}.json").write_text('{"layers":')
    os.kill(worker, signal.SIGKILL)
    assert mounts_of(side), "it died first"
    side.node.running_worker(other_than=worker)
    wait_until(lambda: "what is mounted there cannot be told" in side.node.daemon.last_words(), 30, "it says so")

    wait_until(lambda: not mounts_of(side), 30, "it is unmounted")

    read(side, pushed)


def test_a_mount_that_is_made_anew_keeps_no_more_than_its_own_layers(lab, fresh_streaming, pushed):
    """The one before it, that nobody used any more, kept all: nobody knew what it was made of."""
    other = lab.push("others-layers", layers(lab.directory("others-layers"), lambda t: t.file("f", CONTENT * 2)))
    services.convert(other.reference)
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    read(side, pushed)
    own = cached(side)
    (mount,) = mounts_of(side)
    side.pull(other.reference)
    with side.containerd.view(other.image.chain_ids[-1]) as root:
        assert (root / "f").read_bytes() == CONTENT * 2
    assert cached(side) > own
    Path(f"{mount}.json").write_text('{"layers":')
    side.kill_worker()

    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        assert (root / "d/f").read_bytes() == CONTENT

        def cleared() -> bool:
            side.node.clear()
            return cached(side) == own
        wait_until(cleared, 30, "the other image's layer is deleted")


def cached(side) -> set[str]:
    return {path.name for path in (side.node.root / "cache").iterdir() if path.is_dir()}


def test_a_mount_that_no_container_uses_goes_though_its_holder_was_killed(lab, fresh_streaming, pushed):
    """Until then its layers cannot be deleted."""
    side = node_that_keeps_mounts(lab, fresh_streaming, seconds=60)
    side.pull(pushed.reference)
    read(side, pushed)
    worker = side.node.running_worker()
    os.kill(side.node.daemon.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(worker), 30, "the worker ends with it")
    assert mounts_of(side), "a holder that is told to end unmounts"
    side.node.start()

    def cleared() -> bool:  # all that nobody uses is unmounted, and deleted
        side.node.clear()
        return not mounts_of(side)
    wait_until(cleared, 30, "it is unmounted")


def test_a_layer_that_was_deleted_stays_so_while_another_of_its_image_waits_to_be_opened(lab, fresh_streaming, pushed):
    """What is tried again every two seconds is no use of the image: its other layers may go, and be gone."""
    side = node_that_keeps_mounts(lab, fresh_streaming, seconds=2)
    side.pull(pushed.reference)
    read(side, pushed)
    wait_until(lambda: not mounts_of(side), 30, "it is unmounted")
    broken, other = sorted(path for path in (side.node.root / "cache").iterdir() if path.is_dir())
    shutil.rmtree(broken)
    broken.write_text("this is no directory")
    side.kill_worker()
    wait_until(lambda: side.reason_now(pushed.reference) == "SourceUnavailable", 30, "one layer cannot be opened")

    side.node.clear()  # of that one, what keeps it from being opened

    wait_until(lambda: side.reason_now(pushed.reference) == "Streaming", 30, "it is opened")
    assert broken.is_dir() and not other.exists()
    read(side, pushed)


def test_a_mount_that_no_container_uses_makes_room_when_asked(fresh_streaming, pushed):
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    read(side, pushed)
    assert mounts_of(side)

    def cleared() -> bool:  # the snapshotter says so a moment after the snapshot's directory went
        side.node.clear()
        return not mounts_of(side)
    wait_until(cleared, 30, "it is unmounted")

    read(side, pushed)


def test_a_mount_is_used_again_until_it_can_do_without_the_node(fresh_streaming, pushed):
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        assert (root / "d/f").read_bytes() == CONTENT
        assert side.mounted_as(pushed.reference) == {"served"}

    def mounted_anew() -> bool:
        read(side, pushed)  # all of it, so that it becomes complete: the background fill is off
        return side.mounted_as(pushed.reference) == {"plain"}
    wait_until(mounted_anew, 30, "a plain mount takes its place")

    read(side, pushed)
    assert side.mounted_as(pushed.reference) == {"plain"}

"""An image that is mounted after all of its layers were complete has no user space in its path."""

from __future__ import annotations

from pathlib import Path

import known_files
import pytest
from runnel_env import Streaming
from sandbox import daemons, images, services
from sandbox.containerd import drop_page_cache, run

FILES = 60


def pull_plain(side: Streaming, reference: str) -> None:
    """Pulls it twice: after the first time every layer is complete."""
    side.pull(reference)
    if side.node.engine != "erofs-loop":  # which may have moved to plain files already
        assert side.mounted_as(reference) == {"served"}
    daemons.wait_until(lambda: all(layer["complete"] for layer in side.image_status(reference)["layers"]),
                       60, "every layer is complete")
    side.containerd.remove_image(reference)
    side.containerd.stop()
    side.node.stop()
    side.start()
    side.pull(reference)
    assert side.mounted_as(reference) == {"plain"}


def test_a_mount_of_complete_layers_is_read_although_the_node_is_stopped(lab, engine, fresh_streaming):
    directory = lab.directory("plain")
    pushed = lab.push(f"plain-{engine}", [known_files.write_tar(directory / "files.tar", 0, FILES)])
    services.convert(pushed.reference)
    side = fresh_streaming(engine, background_fill=True)

    pull_plain(side, pushed.reference)

    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        drop_page_cache()
        with side.stopped_node():
            for number in range(FILES):
                assert (root / known_files.name(number)).read_bytes() == known_files.content(number)


# Direct I/O ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many_known_files(lab) -> images.Image:
    directory = lab.directory("direct-io")
    pushed = lab.push("direct-io", [known_files.write_tar(directory / "files.tar")])
    services.convert(pushed.reference)
    return pushed


def in_page_cache(root: Path) -> int:
    """What the files of a tree keep there: EROFS's own copy of the bytes."""
    paths = [str(root / known_files.name(number)) for number in range(known_files.FILES)]
    return sum(int(size) for size in run(["fincore", "--bytes", "--noheadings", "--output", "RES", *paths]).split())


def page_cache_after_reading_all(side: Streaming, pushed) -> tuple[int, int]:
    """Bytes in the cache's files, as the status has them, and in the files of the mount."""
    pull_plain(side, pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        drop_page_cache()
        for number in range(known_files.FILES):
            assert (root / known_files.name(number)).read_bytes() == known_files.content(number), number
        return side.image_status(pushed.reference)["page_cache_bytes"], in_page_cache(root)


def test_direct_io_halves_the_page_cache_of_an_image(many_known_files, fresh_streaming):
    content = sum(len(known_files.content(number)) for number in range(known_files.FILES))
    found = {}
    for flag in ("--no-direct-io", "--direct-io"):
        side = fresh_streaming("erofs-file", background_fill=True, more_arguments=(flag,))
        status = side.node.status()
        assert status["direct_io"] == (flag == "--direct-io"), status["direct_io_reason"]
        found[flag] = page_cache_after_reading_all(side, many_known_files)
        below, above = found[flag]
        print(f"{flag}: {below / 1e6:.1f} MB below and {above / 1e6:.1f} MB above, of {content / 1e6:.1f} MB")

    below, above = found["--no-direct-io"]
    assert below >= content and above >= content, "twice what is read"
    below, above = found["--direct-io"]
    assert above >= content
    assert below <= 0.02 * content
    assert sum(found["--direct-io"]) <= 0.55 * sum(found["--no-direct-io"])


def test_an_image_of_served_and_of_complete_layers_is_read_through_the_page_cache(
        lab, many_known_files, fresh_streaming):
    """A mount reads all of its devices directly or none, and a plain file has a read-ahead to lose."""
    directory = lab.directory("direct-io-mixed")
    tars = [directory / "files.tar", directory / "more.tar"]
    known_files.write_tar(tars[0])
    known_files.write_tar(tars[1], known_files.FILES, FILES)
    mixed = lab.push("direct-io-mixed", tars)
    services.convert(mixed.reference)
    side = fresh_streaming("erofs-file", background_fill=True)
    pull_plain(side, many_known_files.reference)

    side.pull(mixed.reference)

    assert side.mounted_as(mixed.reference) == {"served", "plain"}
    assert options_of_mounts(side) == [False, False]


def test_direct_io_is_named_where_it_is_made(many_known_files, fresh_streaming):
    side = fresh_streaming("erofs-file", background_fill=True, more_arguments=("--direct-io",))

    pull_plain(side, many_known_files.reference)

    assert options_of_mounts(side) == [True]


@pytest.mark.parametrize("engine", ["erofs-loop", "erofs-file"])
def test_what_the_node_serves_is_in_the_page_cache_of_the_image_alone(many_known_files, fresh_streaming, engine):
    side = fresh_streaming(engine)
    status = side.node.status()
    assert status["parallel_loops"] == (engine == "erofs-loop"), status["parallel_loops_reason"]
    assert status["direct_devices"] == (engine == "erofs-file"), status["direct_devices_reason"]
    side.pull(many_known_files.reference)
    assert options_of_mounts(side) == [engine == "erofs-file"]
    with side.containerd.view(many_known_files.image.chain_ids[-1]) as root:
        drop_page_cache()
        content = sum(len((root / known_files.name(number)).read_bytes()) for number in range(FILES))
        assert in_page_cache(root) >= content
        (layer,) = [layer["digest"].partition(":")[2]
                    for layer in side.image_status(many_known_files.reference)["layers"]]
        kept = int(run(["fincore", "--bytes", "--noheadings", "--output", "RES",
                        str(side.node.root / "devices" / layer)]))
    assert kept == 0


def test_direct_io_is_on_by_itself_where_memory_is_short(fresh_streaming):
    (total,) = [int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()
                if line.startswith("MemTotal:")]
    status = fresh_streaming("erofs-file").node.status()

    assert status["direct_io"] == (total < 4 << 20)
    if not status["direct_io"]:
        assert status["direct_io_reason"] == "off: on by itself below 4 GiB of memory only"


@pytest.mark.parametrize("engine", ["erofs-loop", "fuse"])
def test_other_ways_to_mount_say_that_they_have_no_direct_io(fresh_streaming, engine):
    status = fresh_streaming(engine, more_arguments=("--direct-io",)).node.status()

    assert not status["direct_io"]
    assert status["direct_io_reason"] == f"{engine} has none: it is for erofs-file"


def options_of_mounts(side: Streaming) -> list[bool]:
    """Whether each of the node's images is mounted with `directio`."""
    return ["directio" in line.rpartition(" - ")[2].split(" ")[2].split(",")
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if f" {side.node.root}/mounts/" in line and " - erofs " in line]

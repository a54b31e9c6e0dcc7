"""When another boot blob is made of what nodes tell, how much it brings, how long the one before stays, and
what is left when its making ends in the middle: the artifact that there was, nothing else, and the making to the next
registry."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import later
import pytest
from converting import artifact_manifest
from converting import runnel as run_runnel
from converting import tar
from converting_service import (ConvertingRegistry, artifacts, converted, files_of, lose_link, manifest,
                                noise, one_layer)
from converting_service import registry, served  # noqa: F401  (fixtures)
from needs import needs
from registry_calls import Calls
from sandbox import daemons, images
from told_starts import REPOSITORY, chunks_of, read, recorded, tell

# A quarter of it is a hot pack that takes a while to be made and to be kept.
FILES = [f"srv/part-{number:02}" for number in range(24)]
FILE = 4 << 20
MINUTE = 61  # and a little


class Told:
    """An image of which a node can tell that it reads this or that at its start."""

    def __init__(self, registry: ConvertingRegistry, call: Calls, at: Path, tag: str = "v1",
                 files: list[str] = FILES):
        at.mkdir()
        self.registry = registry
        self.reference = f"{registry.host}/{REPOSITORY}:{tag}"
        self.image = registry.push(images.image_of(at / "layout", [
            tar(at / "layer.tar", lambda t: [t.directory("srv"), t.file("srv/tag", tag.encode()), *(
                t.file(name, noise(FILE, number)) for number, name in enumerate(files))])]),
            f"{REPOSITORY}:{tag}")
        (self.artifact,) = converted(call, REPOSITORY, self.image)
        self.manifest, made = read(call, self.artifact)
        self.chunks = chunks_of(made, *files)

    def vote(self, call: Calls, chunks: list[tuple[int, int]] | None = None) -> None:
        tell(call, self.image, self.manifest, self.chunks if chunks is None else chunks)

    def generations(self, call: Calls) -> list[int]:
        return sorted(int(artifact_manifest(self.reference, each)["annotations"]["dev.runnel.generation"])
                      for each in artifacts(call, REPOSITORY, self.image))

    def check_as_before(self, call: Calls, files: set[str]) -> None:
        """The artifact that there was is the only one and whole, and there is no file that was not."""
        assert artifacts(call, REPOSITORY, self.image) == [self.artifact]
        assert files_of(self.registry) == files
        verified = run_runnel("verify", self.reference)
        assert verified.returncode == 0, verified.stderr

    def check_next_vote(self, call: Calls) -> None:
        self.vote(call)
        self.check_renewed(call)

    def check_renewed(self, call: Calls) -> None:
        renewed = recorded(call, self.image)
        assert renewed["annotations"]["dev.runnel.generation"] == "2"
        assert renewed["layers"][:-1] == self.manifest["layers"][:-1], "the same layer blobs"
        assert renewed["layers"][-1] != self.manifest["layers"][-1]


def kill(registry: ConvertingRegistry) -> None:
    daemons.end([registry.daemon.pid], signal.SIGKILL)
    registry.stop()  # forgets the pid


@pytest.fixture
def told(registry, call, tmp_path):
    return Told(registry, call, tmp_path / "image")


def check_made_up_for(registry: ConvertingRegistry, told: Told, files: set[str]) -> None:
    """The next registry, which nobody tells anything, makes what the one before was to make, and leaves nothing else."""
    registry.start()
    again = Calls(registry.host)
    told.check_renewed(again)
    daemons.wait_until(lambda: len(files_of(registry) - files) == 1, 30, "one file more: the boot blob")
    assert files_of(registry) > files
    verified = run_runnel("verify", told.reference)
    assert verified.returncode == 0, verified.stderr


def test_a_registry_that_dies_right_after_a_vote_leaves_the_boot_blob_to_the_next(registry, call, told):
    files = files_of(registry)
    told.vote(call)
    kill(registry)
    call.close()
    assert files_of(registry) == files, "it had not begun"

    check_made_up_for(registry, told, files)


def test_a_registry_that_is_stopped_leaves_it_as_well(registry, call, told):
    files = files_of(registry)
    told.vote(call)
    registry.hold_worker()
    call.close()
    registry.stop()
    assert files_of(registry) == files

    check_made_up_for(registry, told, files)


def test_a_registry_that_dies_while_a_worker_makes_it_leaves_nothing_of_it(registry, call, told):
    files = files_of(registry)
    told.vote(call)
    worker = registry.hold_worker()
    call.close()

    kill(registry)
    daemons.wait_until(lambda: not daemons.is_running(worker), 30, "the end of the worker")
    assert files_of(registry) == files

    check_made_up_for(registry, told, files)


def at_an_upload(registry: ConvertingRegistry) -> None:
    """Returns when what becomes the boot blob is on its way into the store."""
    uploads = registry.directory / "data/content/uploads"
    deadline = time.monotonic() + 60
    while not any(uploads.iterdir()):
        assert time.monotonic() < deadline, registry.daemon.last_words(5)


def test_a_registry_that_dies_while_it_keeps_it_leaves_nothing_of_it(registry, call, told):
    files = files_of(registry)
    told.vote(call)
    at_an_upload(registry)
    call.close()
    kill(registry)
    assert files_of(registry) > files, "it died in the middle"

    check_made_up_for(registry, told, files)


def test_one_image_has_another_boot_blob_at_most_once_a_minute_whichever_registry_makes_it(
        registry, call, tmp_path):
    library = later.build(tmp_path, needs("cc"))
    start = registry.daemon.start
    # In the order in which the next registry finds them.
    told, other = sorted((Told(registry, call, tmp_path / name, name, FILES[:8])
                          for name in ("one", "two")), key=lambda each: each.image)
    told.vote(call, told.chunks[:20])
    recorded(call, told.image)
    told.vote(call, told.chunks[20:])
    other.vote(call)
    kill(registry)
    call.close()

    registry.start()
    call = Calls(registry.host)
    recorded(call, other.image)
    assert told.generations(call) == [1, 2], "its minute is not over"
    call.close()

    registry.stop()
    registry.daemon.start = lambda argv: start(argv, later.environment(library, MINUTE))
    registry.start()
    call = Calls(registry.host)
    daemons.wait_until(lambda: told.generations(call) == [1, 2, 3], 60, "a third generation")


def test_one_that_takes_too_long_is_given_up_until_the_next_vote(start, tmp_path):
    registry = start("[conversion]\nlongest_renewal_s = 10\n")
    call = Calls(registry.host)
    told = Told(registry, call, tmp_path / "image")
    files = files_of(registry)
    told.vote(call)
    begin = time.monotonic()
    worker = registry.hold_worker()

    daemons.wait_until(lambda: "no new boot blob: it took more than 10 s" in registry.log, 60,
                       "the end of its patience")
    assert time.monotonic() - begin >= 10

    assert not daemons.is_running(worker)
    told.check_as_before(call, files)
    told.check_next_vote(call)


def test_one_that_takes_long_holds_up_no_other(registry, call, tmp_path):
    slow = [Told(registry, call, tmp_path / f"slow-{number}", f"slow-{number}", FILES[:8]) for number in range(3)]
    other = Told(registry, call, tmp_path / "other", "other", FILES[:8])
    held: set[int] = set()
    for each in slow:
        each.vote(call)
        held.add(registry.hold_worker(besides=held))

    other.vote(call)
    recorded(call, other.image)
    assert [each.generations(call) for each in slow] == [[1]] * 3

    for worker in held:
        os.kill(worker, signal.SIGCONT)
    for each in slow:
        recorded(call, each.image)


def test_a_hot_set_has_to_change_by_more_than_a_tenth(registry, call, tmp_path):
    few = FILES[:8]
    library = later.build(tmp_path, needs("cc"))
    start = registry.daemon.start
    told = Told(registry, call, tmp_path / "image", files=few)
    other = Told(registry, call, tmp_path / "other", "other", files=few)
    base = told.chunks[:40]
    told.vote(call, base)
    recorded(call, told.image)
    call.close()
    registry.stop()
    registry.daemon.start = lambda argv: start(argv, later.environment(library, MINUTE))
    registry.start()
    call = Calls(registry.host)

    told.vote(call, [*base[:-2], *told.chunks[40:42]])
    # It is looked at in the order of the votes, and to look takes no worker as the second image does.
    other.vote(call)
    recorded(call, other.image)
    assert told.generations(call) == [1, 2]

    told.vote(call, [*base[:-8], *told.chunks[40:48]])
    daemons.wait_until(lambda: told.generations(call) == [1, 2, 3], 60, "a third generation")


def test_what_was_replaced_is_gone_after_a_day(registry, call, tmp_path):
    library = later.build(tmp_path, needs("cc"))
    start = registry.daemon.start
    told = Told(registry, call, tmp_path / "image", files=FILES[:8])
    told.vote(call)
    recorded(call, told.image)
    assert told.generations(call) == [1, 2]
    (newest,) = set(artifacts(call, REPOSITORY, told.image)) - {told.artifact}
    call.close()

    registry.stop()
    registry.daemon.start = lambda argv: start(
        argv, later.environment(library, later.DAY + later.HOUR))
    registry.start()

    call = Calls(registry.host)
    daemons.wait_until(lambda: artifacts(call, REPOSITORY, told.image) == [newest], 60,
                       "the end of the first one")
    verified = run_runnel("verify", told.reference)
    assert verified.returncode == 0, verified.stderr


@pytest.mark.heavy
def test_a_hot_pack_has_sixty_four_mebibytes_at_most(registry, call, tmp_path):
    told = Told(registry, call, tmp_path / "image",
                files=[f"srv/part-{number:02}" for number in range(68)])
    quarter = sum(each["size"] for each in told.manifest["layers"][:-1]) // 4
    assert quarter > 64 << 20
    told.vote(call)

    size = recorded(call, told.image)["layers"][-1]["size"]

    assert 63 << 20 < size < 65 << 20, "with the image's metadata"


def test_none_is_made_for_an_image_whose_layer_the_repository_does_not_have_any_more(registry, call, tmp_path):
    image = registry.push(one_layer(tmp_path / "image"), f"{REPOSITORY}:v1")
    (artifact,) = converted(call, REPOSITORY, image)
    described, made = read(call, artifact)
    (layer,) = manifest(call, REPOSITORY, image)["layers"]
    lose_link(registry, REPOSITORY, layer["digest"])

    tell(call, image, described, chunks_of(made, "d/noise"))

    line = f"{REPOSITORY}@{image}: no new boot blob: RESOURCE_NOT_FOUND"
    daemons.wait_until(lambda: line in registry.log, 60, line)
    assert artifacts(call, REPOSITORY, image) == [artifact]

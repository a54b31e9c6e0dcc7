"""What tests of conversion in the registry share: a registry with a configuration, images of a known
cost, operations, and workers that stand still until a test lets them go."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from converting import tar
from registry_calls import INDEX, Calls, descriptor, digest, index, push_manifest
from sandbox import daemons, images, services

ARTIFACT = "application/vnd.azure.artifact.streaming.v1"
ENDED = ("Succeeded", "Failed", "Canceled")


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress."""
    return hashlib.shake_256(seed.to_bytes(8, "big")).digest(size)


def is_confined(pid: int) -> bool:
    """Under a seccomp filter (proc(5))."""
    try:
        return "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@contextlib.contextmanager
def before_others():
    """This thread gets a processor as soon as it wants one, however busy the machine is (sched(7)):
    for what has to be quicker than a worker, which lives for a fraction of a second."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class ConvertingRegistry(services.Registry):
    """A registry with `text` as the rest of its configuration."""

    def __init__(self, directory: Path, text: str = ""):
        super().__init__(directory)
        self.text = text

    def _argv(self) -> list[str]:
        config = self.directory / "registry.toml"
        config.write_text("version = 1\n" + self.text)
        return [*super()._argv(), "--config", str(config)]

    @property
    def log(self) -> str:
        return self.daemon.log.read_text(errors="replace")

    def workers(self) -> list[int]:
        """Processes that read a layer for it."""
        found = []
        for task in Path(f"/proc/{self.daemon.pid}/task").iterdir():
            try:
                children = (task / "children").read_text().split()
            except OSError:
                continue
            found += [int(child) for child in children
                      if "convert-worker" in daemons.command_line(int(child))]
        return found

    def hold_worker(self, besides: set[int] = frozenset()) -> int:
        """Waits for a worker that is confined, and stops it: its conversion stands still."""
        deadline = time.monotonic() + 60
        with before_others():
            while time.monotonic() < deadline:
                for worker in set(self.workers()) - besides:
                    if is_confined(worker):
                        os.kill(worker, signal.SIGSTOP)
                        return worker
                time.sleep(0.002)  # daemons.wait_until asks too slowly
        raise daemons.DaemonError(f"waited 60 s for a worker; {self.daemon.last_words(5)}")

    def push(self, image: images.Image, name: str) -> str:
        """The digest of the image, which is then at REPO:TAG `name`."""
        images.push(image.layout, f"{self.host}/{name}")
        return image.manifest_digest


# For files whose every test has a registry of its own that converts; they import the two.


@pytest.fixture
def registry(start) -> ConvertingRegistry:
    return start()


@pytest.fixture
def served(registry):
    return registry


def files_of(registry: ConvertingRegistry) -> set[str]:
    """Blobs, uploads and what conversions work with."""
    data = registry.directory / "data"
    return {str(path) for place in ("content", "work") for path in (data / place).rglob("*")
            if path.is_file()}


def one_layer(at: Path, size: int = 300_000, seed: int = 0) -> images.Image:
    """An image of one layer with so many bytes that do not compress."""
    at.mkdir(parents=True)
    return images.image_of(at / "layout", [
        tar(at / "layer.tar", lambda t: t.directory("d").file("d/noise", noise(size, seed)))])


def slow_image(at: Path, seed: int = 0) -> images.Image:
    """Its worker lives long enough to be held."""
    return one_layer(at, 24 << 20, seed)


def push_index(call: Calls, repository: str, tag: str, children: list[tuple[str, dict]]) -> str:
    """An index of manifests that are there: (digest, platform)."""
    entries = []
    for child, platform in children:
        manifest = call("GET", f"/v2/{repository}/manifests/{child}").body
        entries.append(descriptor(manifest, images.MANIFEST, platform=platform))
    body = index(entries)
    push_manifest(call, repository, tag, body, INDEX)
    return digest(body)


def lose_link(registry: ConvertingRegistry, repository: str, blob: str) -> None:
    """Takes a blob from the repository though its manifests name it, which no request can."""
    path = registry.directory / "data/metadata.sqlite"
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as database, database:
        gone = database.execute("DELETE FROM blob_links WHERE digest = ? AND repository = "
                                "(SELECT id FROM repositories WHERE name = ?)", (blob, repository))
        assert gone.rowcount == 1


def ask(call: Calls, repository: str, name: str) -> str:
    """Asks for a conversion; the operation's id."""
    answer = call("POST", f"/acr/v1/{repository}/_streaming/{name}",
                  b'{"conversionFormat": "overlaybd", "conversionVersion": "v1"}',
                  {"Content-Type": "application/json"})
    assert answer.status == 202, answer
    return answer.json()["id"]


def operation(call: Calls, repository: str, name: str) -> dict:
    answer = call("GET", f"/acr/v1/{repository}/_operations/{name}")
    assert answer.status == 200, answer
    return answer.json()


def ended(call: Calls, repository: str, name: str, seconds: float = 120) -> dict:
    """The operation, once it has ended."""
    daemons.wait_until(lambda: operation(call, repository, name)["status"] in ENDED, seconds,
                       f"the end of operation {name}")
    return operation(call, repository, name)


def converted(call: Calls, repository: str, name: str) -> list[str]:
    """Asks, waits for success; the artifacts."""
    done = ended(call, repository, ask(call, repository, name))
    assert done["status"] == "Succeeded", done
    return artifacts(call, repository, name)


def referrers(call: Calls, repository: str, name: str) -> list[dict]:
    answer = call("GET", f"/v2/{repository}/referrers/{name}?artifactType={ARTIFACT}")
    assert answer.status == 200, answer
    return answer.json()["manifests"]


def artifacts(call: Calls, repository: str, name: str) -> list[str]:
    return [entry["digest"] for entry in referrers(call, repository, name)]


def manifest(call: Calls, repository: str, name: str) -> dict:
    return json.loads(call("GET", f"/v2/{repository}/manifests/{name}").body)


def target(call: Calls, repository: str, tag: str) -> str | None:
    """What a tag points to."""
    answer = call("HEAD", f"/v2/{repository}/manifests/{tag}")
    return answer["Docker-Content-Digest"] if answer.status == 200 else None

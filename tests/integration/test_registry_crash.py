"""What the registry has acknowledged is there after SIGKILL, at whatever moment it comes."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import threading
from dataclasses import dataclass, field

import pytest
from sandbox import daemons, images, services
from sandbox.containerd import run

WRITERS = 4
MANIFEST_TYPE = images.MANIFEST


@dataclass
class Acknowledged:
    """What was answered 201: blobs by digest, tags with the digest that they point to."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Pusher(threading.Thread):
    """Pushes images of one layer, one after the other, until the connection breaks."""

    def __init__(self, port: int, number: int):
        super().__init__()
        self.port, self.number = port, number
        self.seen = Acknowledged()
        self.random = random.Random(os.urandom(8))

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            for count in range(10_000):
                self._push_image(connection, f"{self.number}-{count}")
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _push_image(self, connection, tag: str) -> None:
        layer = self.random.randbytes(self.random.choice([0, 1, 1000, 700_000]))
        config = json.dumps({"tag": tag}).encode()
        blobs = [self._push_blob(connection, data) for data in (config, layer)]
        descriptors = [{"mediaType": "application/octet-stream", "digest": digest, "size": size}
                       for digest, size in blobs]
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPE,
                               "config": descriptors[0], "layers": descriptors[1:]}).encode()
        status = call(connection, "PUT", f"/v2/a/manifests/{tag}", manifest,
                      {"Content-Type": MANIFEST_TYPE})[0]
        assert status == 201
        self.seen.tags[tag] = images.sha256(manifest)

    def _push_blob(self, connection, data: bytes) -> tuple[str, int]:
        digest = images.sha256(data)
        status, headers = call(connection, "POST", "/v2/a/blobs/uploads/")
        assert status == 202
        location = headers["Location"]
        half = self.random.randrange(len(data) + 1)
        if half and self.random.random() < 0.5:
            assert call(connection, "PATCH", location, data[:half])[0] == 202
            rest = data[half:]
        else:
            rest = data
        assert call(connection, "PUT", f"{location}?digest={digest}", rest)[0] == 201
        self.seen.blobs[digest] = data
        return digest, len(data)


def call(connection, method: str, path: str, body: bytes = b"", headers=None):
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.headers


def check_whole(registry) -> None:
    """`fsck` finds nothing, and no file is there but what the data directory is to have."""
    data = registry.directory / "data"
    done = subprocess.run([services.program(), "registry", "fsck", "--data", str(data)],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, "0 findings" in done.stdout) == (0, True), done.stdout + done.stderr
    for path in data.rglob("*"):
        known = (path.is_dir() or path.parent.name in ("uploads", path.name[:2])
                 or path.name in {"layout", "converter.key"} or path.name.startswith("metadata.sqlite"))
        assert known, path


def check(registry, seen: Acknowledged) -> None:
    url = f"http://{registry.host}/v2/a"
    for digest, data in seen.blobs.items():
        status, _, body = images.request(f"{url}/blobs/{digest}")
        assert (status, body) == (200, data), digest
    for tag, digest in seen.tags.items():
        status, headers, body = images.request(f"{url}/manifests/{tag}")
        assert status == 200, tag
        assert images.sha256(body) == digest == headers["docker-content-digest"]


@pytest.mark.parametrize("round_", range(5))
def test_nothing_acknowledged_is_lost(registry, round_):
    pushers = [Pusher(registry.port, number) for number in range(WRITERS)]
    for pusher in pushers:
        pusher.start()
    enough = 20 + 15 * round_
    daemons.wait_until(lambda: sum(len(p.seen.blobs) for p in pushers) >= enough, 60,
                       f"{enough} blobs")
    daemons.end([registry.daemon.pid], signal.SIGKILL)
    for pusher in pushers:
        pusher.join(60)
        assert not pusher.is_alive()

    registry.start()

    for pusher in pushers:
        check(registry, pusher.seen)
    check_whole(registry)


def test_an_upload_goes_on_where_it_was_acknowledged(registry):
    first, second = os.urandom(300_000), os.urandom(200_000)
    digest = images.sha256(first + second)
    url = f"http://{registry.host}"
    _, headers, _ = images.request(f"{url}/v2/a/blobs/uploads/", "POST")
    location = url + headers["location"]
    assert images.request(location, "PATCH", data=first)[0] == 202

    daemons.end([registry.daemon.pid], signal.SIGKILL)
    registry.start()

    status, headers, _ = images.request(location)
    assert (status, headers["range"]) == (204, f"0-{len(first) - 1}")
    status, _, body = images.request(f"{location}?digest={digest}", "PUT",
                                     {"Content-Range": f"{len(first)}-{len(first + second) - 1}"},
                                     second)
    assert status == 201, body
    assert images.request(f"{url}/v2/a/blobs/{digest}")[2] == first + second


def test_bytes_of_a_push_that_was_cut_off_do_not_stay(runnel, tmp_path):
    directory = tmp_path / "registry"
    directory.mkdir()
    config = directory / "registry.toml"
    registry = services.Registry(directory)
    config.write_text(f'version = 1\ndata = "{directory}/data"\nlisten = "{registry.host}"\n'
                      "upload_lifetime_s = 1\n")
    registry._argv = lambda: [runnel, "registry", "--config", str(config)]
    try:
        registry.start()
        _, headers, _ = images.request(f"http://{registry.host}/v2/a/blobs/uploads/", "POST")
        location = f"http://{registry.host}{headers['location']}"
        assert images.request(location, "PATCH", data=b"x" * 100_000)[0] == 202
        uploads = directory / "data/content/uploads"
        assert len(list(uploads.iterdir())) == 1
        daemons.end([registry.daemon.pid], signal.SIGKILL)

        def cleaned() -> bool:
            registry.stop()
            registry.start()
            return images.request(location)[0] == 404 and not list(uploads.iterdir())
        daemons.wait_until(cleaned, 30, "the upload is thrown away")
    finally:
        registry.stop()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)])
    try:
        yield disk
    finally:
        run(["umount", str(disk)])


def test_an_upload_that_fills_the_disk_gives_its_bytes_back(runnel, small_disk):
    registry = services.Registry(small_disk)
    uploads = small_disk / "data/content/uploads"

    def bytes_of_uploads() -> int:
        return sum(path.stat().st_size for path in uploads.iterdir())

    try:
        registry.start()
        url = f"http://{registry.host}"
        large, start = os.urandom(20_000_000), os.urandom(1_000_000)
        _, headers, _ = images.request(f"{url}/v2/a/blobs/uploads/", "POST")
        fresh = url + headers["location"]
        status, _, body = images.request(fresh, "PATCH", data=large)
        assert (status, json.loads(body)["errors"][0]["code"]) == (507, "INSUFFICIENT_STORAGE")
        assert bytes_of_uploads() == 0

        _, headers, _ = images.request(f"{url}/v2/a/blobs/uploads/", "POST")
        begun = url + headers["location"]
        assert images.request(begun, "PATCH", data=start)[0] == 202
        for method, location in (("PATCH", begun),
                                 ("PUT", f"{begun}?digest={images.sha256(start + large)}")):
            assert images.request(location, method, data=large)[0] == 507, method
            assert bytes_of_uploads() == len(start), method

        rest = os.urandom(3_000_000)
        status, _, body = images.request(f"{begun}?digest={images.sha256(start + rest)}", "PUT", data=rest)
        assert status == 201, body
        check_whole(registry)
    finally:
        registry.stop()


def test_a_full_disk_refuses_pushes_and_loses_nothing(runnel, small_disk):
    registry = services.Registry(small_disk)
    seen = Acknowledged()
    try:
        registry.start()
        url = f"http://{registry.host}/v2/a"
        for _ in range(20):
            data = os.urandom(3_000_000)
            digest = images.sha256(data)
            status, _, body = images.request(f"{url}/blobs/uploads/?digest={digest}", "POST",
                                             data=data)
            if status != 201:
                break
            seen.blobs[digest] = data

        assert (status, json.loads(body)["errors"][0]["code"]) == (507, "INSUFFICIENT_STORAGE")
        assert len(seen.blobs) >= 3
        check(registry, seen)
        run(["mount", "-o", "remount,size=64m", str(small_disk)])
        assert images.request(f"{url}/blobs/uploads/?digest={digest}", "POST", data=data)[0] == 201
        seen.blobs[digest] = data
        check(registry, seen)
        assert list((small_disk / "data/content/uploads").iterdir()) == []
        check_whole(registry)
    finally:
        registry.stop()

"""The commands that look after a registry's data directory while registries serve it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import later
import pytest
from converting import runnel
from needs import needs
from sandbox import daemons, images, services

MANIFEST_TYPE = images.MANIFEST


def push_image(url: str, tag: str, layer: bytes) -> str:
    digests = []
    for data in (b"{}", layer):
        digest = images.sha256(data)
        status, _, body = images.request(f"{url}/blobs/uploads/?digest={digest}", "POST", data=data)
        assert status == 201, body
        digests.append({"mediaType": "application/octet-stream", "digest": digest, "size": len(data)})
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": digests[0],
                           "layers": digests[1:]}).encode()
    status, _, body = images.request(f"{url}/manifests/{tag}", "PUT", {"Content-Type": MANIFEST_TYPE},
                                     manifest)
    assert status == 201, body
    return images.sha256(manifest)


def care(command: str, data: Path, *arguments: str, code: int = 0) -> str:
    done = runnel("registry", command, "--data", str(data), *arguments)
    assert done.returncode == code, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


def collect(data: Path, *arguments: str) -> str:
    config = data.parent / "registry.toml"
    config.write_text("version = 1\n")
    return care("gc", data, "--config", str(config), *arguments)


@pytest.fixture
def served(tmp_path):
    """A registry, its data directory, and the URL of a repository."""
    registry = services.Registry(tmp_path)
    registry.start()
    yield registry, tmp_path / "data", f"http://{registry.host}/v2/team/app"
    registry.stop()


def test_what_was_deleted_comes_back(served):
    _, data, url = served
    digest = push_image(url, "v1", b"layer")
    assert images.request(f"{url}/manifests/{digest}", "DELETE")[0] == 202
    assert images.request(f"{url}/manifests/v1")[0] == 404

    deletion = json.loads(care("deleted", data, "--json", "--repository", "team/app"))

    assert (deletion["kind"], deletion["digest"], deletion["tags"]) == ("manifest", digest, ["v1"])
    assert "v1" in care("restore", data, str(deletion["id"]))
    assert images.request(f"{url}/manifests/v1")[0] == 200
    care("restore", data, str(deletion["id"]), code=1)
    assert images.request(f"{url}/manifests/v1", "DELETE")[0] == 202
    care("purge", data, str(json.loads(care("deleted", data, "--json"))["id"]))
    assert care("deleted", data) == ""


def test_usage_collection_check_and_backup_of_a_registry_that_serves(served, tmp_path):
    _, data, url = served
    layer = os.urandom(50_000)
    push_image(url, "v1", layer)
    usage = json.loads(care("usage", data, "--json"))
    assert usage["repositories"][0]["name"] == "team/app"
    assert usage["stored"] > len(layer)

    assert collect(data, "--dry-run").startswith("would be: 0 deletions")
    assert collect(data).startswith("done: 0 deletions")
    assert "0 findings" in care("fsck", data)
    backup = tmp_path / "backup"
    care("backup", data, "--to", str(backup))
    assert "0 findings" in care("fsck", backup)

    (blob,) = data.glob("content/blobs/sha256/*/" + images.sha256(layer).removeprefix("sha256:"))
    blob.write_bytes(b"x" * len(layer))
    assert "has other bytes" in care("fsck", data, code=1)
    assert "repaired: " in care("fsck", data, "--repair")
    assert "is gone" in care("fsck", data, code=1)
    push_image(url, "v1", layer)
    assert "0 findings" in care("fsck", data)


def test_a_backup_names_what_the_registry_lost_and_saves_the_rest(served, tmp_path):
    _, data, url = served
    layer = os.urandom(1000)
    push_image(url, "v1", layer)
    push_image(url, "v2", b"another layer")
    name = images.sha256(layer).removeprefix("sha256:")
    (blob,) = data.glob(f"content/blobs/sha256/*/{name}")
    blob.unlink()

    done = runnel("registry", "backup", "--data", str(data), "--to", str(tmp_path / "backup"))

    assert done.returncode == 1
    assert f"not saved: blob sha256:{name} of team/app: it is gone" in done.stdout.decode()
    assert "1 blobs could not be saved" in done.stderr.decode()
    assert f"blob sha256:{name} of team/app is gone" in care("fsck", tmp_path / "backup", code=1)
    push_image(url, "v1", layer)
    care("backup", data, "--to", str(tmp_path / "backup"))
    assert "0 findings" in care("fsck", tmp_path / "backup")


def keys_of(host: str) -> list[dict]:
    return json.loads(images.request(f"http://{host}/.well-known/runnel/converter-keys")[2])["keys"]


def test_what_a_restored_registry_signs_is_trusted_as_before(served, tmp_path):
    registry, data, _ = served
    trusted = keys_of(registry.host)
    backup = tmp_path / "backup"
    care("backup", data, "--to", str(backup))
    key = backup / "converter.key"
    assert os.stat(key).st_mode & 0o777 == 0o600

    registry.stop()
    shutil.rmtree(data)
    backup.rename(data)
    registry.start()

    assert keys_of(registry.host) == trusted
    assert len(trusted) == 1


def test_commands_make_no_data_directory(tmp_path):
    care("fsck", tmp_path / "none", code=1)
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def in_two_days(tmp_path_factory) -> dict[str, str]:
    """The environment of a process for which it is two days later."""
    library = later.build(tmp_path_factory.mktemp("clock"), needs("cc"))
    return later.environment(library, 2 * later.DAY)


def collect_later(data: Path, environment: dict[str, str], *arguments: str) -> str:
    """Collects as in two days: what nothing needs is old then, however new it is."""
    config = data.parent / "collector.toml"
    config.write_text("version = 1\n")
    done = subprocess.run([services.program(), "registry", "gc", "--data", str(data), "--config",
                           str(config), *arguments], capture_output=True, text=True, timeout=60,
                          env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def removed_blobs(said: str) -> int:
    return int(re.search(r"and (\d+) blobs removed", said)[1])


class Worker(threading.Thread):
    """Pushes images of the same few layers, looks for them at the other registry, deletes them."""

    def __init__(self, name: str, own: str, other: str, rounds: int):
        super().__init__()
        self.repository, self.rounds = name, rounds
        self.own, self.other = f"http://{own}/v2/{name}", f"http://{other}/v2/{name}"
        self.problems: list[str] = []
        self.again = 0  # pushes that were told to come again

    def run(self) -> None:
        try:
            for number in range(self.rounds):
                self.round(number)
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.problems.append(f"{self.repository}: {error!r}")

    def round(self, number: int) -> None:
        layer = b"layer %d" % (number % 3)
        digest = self.push(f"v{number}", layer)
        for url in (self.own, self.other):
            for target in (f"manifests/v{number}", f"manifests/{digest}",
                           f"blobs/{images.sha256(layer)}", f"blobs/{images.sha256(b'{}')}"):
                status, _, body = images.request(f"{url}/{target}")
                if status != 200:
                    self.problems.append(f"{url}/{target}: {status} {body!r}")
        if images.request(f"{self.own}/manifests/{digest}", "DELETE")[0] != 202:
            self.problems.append(f"{self.repository} {number} cannot be deleted")

    def push(self, tag: str, layer: bytes) -> str:
        """As a client that tries again: here a blob is old before its manifest comes."""
        while True:
            blobs = []
            for data in (b"{}", layer):
                digest = images.sha256(data)
                status, _, body = images.request(f"{self.own}/blobs/uploads/?digest={digest}", "POST",
                                                 data=data)
                if status == 503:
                    break
                assert status == 201, body
                blobs.append({"mediaType": "application/octet-stream", "digest": digest,
                              "size": len(data)})
            if len(blobs) == 2:
                manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "tag": tag,
                                       "config": blobs[0], "layers": blobs[1:]}).encode()
                status, _, body = images.request(f"{self.own}/manifests/{tag}", "PUT",
                                                 {"Content-Type": MANIFEST_TYPE}, manifest)
                if status == 201:
                    return images.sha256(manifest)
                assert (status, json.loads(body)["errors"][0]["code"]) == (
                    400, "MANIFEST_BLOB_UNKNOWN"), body
            self.again += 1


def test_two_registries_on_one_directory_push_delete_and_collect_together(tmp_path, in_two_days):
    data = tmp_path / "data"
    registries = []
    for name in ("one", "other"):
        registry = services.Registry(tmp_path / name)
        registry.directory.mkdir()
        config = registry.directory / "registry.toml"
        config.write_text(f'version = 1\ndata = "{data}"\nlisten = "{registry.host}"\n'
                          'soft_delete = false\nmetrics = "off"\n')
        registry._argv = lambda config=config: [services.program(), "registry", "--config",
                                                str(config)]
        registries.append(registry)
    removed = rounds = 0
    try:
        for registry in registries:
            registry.start()
        one, other = (registry.host for registry in registries)
        workers = [Worker("a", one, other, 25), Worker("b", other, one, 25),
                   Worker("shared", one, other, 25), Worker("c", other, one, 25)]
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            removed += removed_blobs(collect_later(data, in_two_days))
            rounds += 1
        for worker in workers:
            worker.join()
        assert [problem for worker in workers for problem in worker.problems] == []
        removed += removed_blobs(collect_later(data, in_two_days))
        assert removed > 0 and rounds > 1
        assert list(data.glob("content/blobs/*/*/*")) == []  # all images are deleted
        assert "0 findings" in care("fsck", data)
    finally:
        for registry in registries:
            registry.stop()


def test_the_dry_run_says_what_the_run_then_does(served, in_two_days):
    _, data, url = served
    push_image(url, "kept", b"kept layer")
    digest = push_image(url, "gone", b"layer of a deleted image")
    assert images.request(f"{url}/manifests/{digest}", "DELETE")[0] == 202
    loose = images.sha256(b"loose")
    assert images.request(f"{url}/blobs/uploads/?digest={loose}", "POST", data=b"loose")[0] == 201
    before = set(data.glob("content/blobs/*/*/*"))

    dry = collect_later(data, in_two_days, "--dry-run")
    assert set(data.glob("content/blobs/*/*/*")) == before
    run = collect_later(data, in_two_days)

    *named, summary = dry.splitlines()
    assert summary.replace("would be: ", "done: ") == run.strip()
    gone = before - set(data.glob("content/blobs/*/*/*"))
    assert named == [loose] and {path.name for path in gone} == {loose.partition(":")[2]}
    assert removed_blobs(collect_later(data, in_two_days)) == 0


def test_a_backup_of_a_registry_that_is_pushed_to_serves_all_that_it_lists(served, tmp_path):
    _, data, url = served
    pushed: dict[str, str] = {}
    stop = threading.Event()
    problems: list[str] = []

    def push(name: str) -> None:
        try:
            for number in range(10_000):
                if stop.is_set():
                    return
                tag = f"{name}{number}"
                pushed[tag] = push_image(url, tag, os.urandom(20_000))
        except Exception as error:  # noqa: BLE001 - shown by the test
            problems.append(repr(error))

    pushers = [threading.Thread(target=push, args=(name,)) for name in ("a", "b", "c")]
    for pusher in pushers:
        pusher.start()
    backup = tmp_path / "backup"
    try:
        daemons.wait_until(lambda: len(pushed) >= 30 or problems, 60, "thirty images")
        acknowledged = dict(pushed)
        care("backup", data, "--to", str(backup))
        after = len(pushed)
        daemons.wait_until(lambda: len(pushed) > after or problems, 60, "pushes go on")
    finally:
        stop.set()
        for pusher in pushers:
            pusher.join()
    assert problems == []

    restored = services.Registry(tmp_path / "restored")
    plain = restored._argv

    def argv() -> list[str]:
        words = plain()
        words[words.index("--data") + 1] = str(backup)
        return words

    restored._argv = argv
    restored.start()
    try:
        again = f"http://{restored.host}/v2/team/app"
        tags = json.loads(images.request(f"{again}/tags/list")[2])["tags"]
        assert set(acknowledged) <= set(tags) <= set(pushed)
        for tag in tags:
            status, _, manifest = images.request(f"{again}/manifests/{tag}")
            assert (status, images.sha256(manifest)) == (200, pushed[tag])
            for blob in json.loads(manifest)["layers"]:
                status, _, body = images.request(f"{again}/blobs/{blob['digest']}")
                assert (status, images.sha256(body)) == (200, blob["digest"])
        digest = push_image(again, "after", b"pushed to the backup")
        assert images.request(f"{again}/manifests/{digest}", "DELETE")[0] == 202
        assert "0 findings" in care("fsck", backup)
    finally:
        restored.stop()


def test_gc_does_not_guess_for_how_long_deletions_can_be_undone(served):
    _, data, _ = served

    done = runnel("registry", "gc", "--data", str(data))

    assert done.returncode == 2  # the command line lacks something
    assert b"gc needs --config" in done.stderr

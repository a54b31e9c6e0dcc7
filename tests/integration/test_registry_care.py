"""The commands that look after a registry's data directory while registries serve it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from converting import runnel
from sandbox import images, services

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


def test_commands_make_no_data_directory(tmp_path):
    care("fsck", tmp_path / "none", code=1)
    assert not (tmp_path / "none").exists()


def test_two_registries_on_one_directory_push_delete_and_collect_together(served, tmp_path):
    first, data, _ = served
    config = tmp_path / "second.toml"
    second = services.Registry(tmp_path / "second")
    (tmp_path / "second").mkdir()
    config.write_text(f'version = 1\ndata = "{data}"\nlisten = "{second.host}"\nsoft_delete = false\n')
    second._argv = lambda: [services.program(), "registry", "--config", str(config)]
    problems: list[str] = []

    def work(host: str, name: str) -> None:
        url = f"http://{host}/v2/{name}"
        for number in range(12):
            digest = push_image(url, "v", b"layer %d" % (number % 3))
            if images.request(f"http://{first.host}/v2/{name}/manifests/v")[0] != 200:
                problems.append(f"{name} {number} is not seen by the other registry")
            if images.request(f"{url}/manifests/{digest}", "DELETE")[0] != 202:
                problems.append(f"{name} {number} cannot be deleted")

    second.start()
    try:
        threads = [threading.Thread(target=work, args=(first.host, "a")),
                   threading.Thread(target=work, args=(second.host, "b"))]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            collect(data)
        for thread in threads:
            thread.join()
    finally:
        second.stop()

    assert not problems
    assert "0 findings" in care("fsck", data)


def test_gc_does_not_guess_for_how_long_deletions_can_be_undone(served):
    _, data, _ = served

    done = runnel("registry", "gc", "--data", str(data))

    assert done.returncode == 2  # the command line lacks something
    assert b"gc needs --config" in done.stderr

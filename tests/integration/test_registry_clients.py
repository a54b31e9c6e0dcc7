"""The registry serves unmodified clients: skopeo, umoci, podman, curl."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from needs import needs
from sandbox import images
from sandbox.containerd import CommandError, run


def skopeo(*arguments: str) -> str:
    return run([needs("skopeo"), "--insecure-policy", *arguments], seconds=120)


def pull_to_layout(reference: str, layout: Path, *options: str) -> Path:
    skopeo("copy", "--quiet", "--src-tls-verify=false", *options, f"docker://{reference}",
           f"oci:{layout}:latest")
    return layout


def blobs_of(layout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}


def curl(*arguments: str) -> str:
    """The answer's body, or with -w what that asks for."""
    return run([needs("curl"), "--silent", "--show-error", "--noproxy", "*", *arguments])


@pytest.fixture
def built(tmp_path) -> Path:
    """An image of two layers, built with umoci from a directory."""
    umoci, layout = needs("umoci"), tmp_path / "built"
    source = tmp_path / "source"
    (source / "etc").mkdir(parents=True)
    (source / "etc/name").write_text("runnel")
    (source / "large").write_bytes(os.urandom(3_000_000))
    run([umoci, "init", "--layout", str(layout)])
    run([umoci, "new", "--image", f"{layout}:latest"])
    run([umoci, "insert", "--rootless", "--image", f"{layout}:latest", str(source), "/data"])
    run([umoci, "insert", "--rootless", "--image", f"{layout}:latest", str(source / "etc"), "/etc"])
    run([umoci, "config", "--image", f"{layout}:latest", "--config.cmd", "/bin/sh"])
    run([umoci, "gc", "--layout", str(layout)])
    return layout


def test_skopeo_gets_back_what_it_pushed(registry, built, tmp_path):
    reference = f"{registry.host}/team/app:1.0"

    images.push(built, reference)
    pulled = pull_to_layout(reference, tmp_path / "pulled")

    assert blobs_of(pulled) == blobs_of(built)
    unpacked = tmp_path / "unpacked"
    run([needs("umoci"), "unpack", "--rootless", "--image", f"{pulled}:latest", str(unpacked)])
    assert (unpacked / "rootfs/etc/name").read_text() == "runnel"


def test_skopeo_reads_what_the_registry_has(registry, built):
    for tag in ("1", "2", "10"):
        images.push(built, f"{registry.host}/team/app:{tag}")

    listed = json.loads(skopeo("list-tags", "--tls-verify=false",
                               f"docker://{registry.host}/team/app"))
    inspected = json.loads(skopeo("inspect", "--tls-verify=false",
                                  f"docker://{registry.host}/team/app:2"))

    assert listed["Tags"] == ["1", "10", "2"]
    assert inspected["Digest"] == images.manifest_of(f"{registry.host}/team/app:2")[0]
    assert inspected["RepoTags"] == ["1", "10", "2"]


def test_skopeo_copies_between_repositories_and_as_docker_schema_2(registry, built, tmp_path):
    source, target = f"{registry.host}/a:1", f"{registry.host}/b/c:1"
    images.push(built, source)

    both = ("copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo(*both, f"docker://{source}", f"docker://{target}")
    skopeo(*both, "--format", "v2s2", f"docker://{source}", f"docker://{registry.host}/d:1")

    assert images.manifest_of(target) == images.manifest_of(source)
    status, headers, body = images.request(f"http://{registry.host}/v2/d/manifests/1")
    assert status == 200
    assert headers["content-type"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert json.loads(body)["mediaType"] == headers["content-type"]
    pull_to_layout(f"{registry.host}/d:1", tmp_path / "d")


def test_skopeo_copies_an_index_with_all_its_images(registry, built, tmp_path):
    layout = json.loads((built / "index.json").read_text())
    child = layout["manifests"][0]
    children = [{k: child[k] for k in ("mediaType", "digest", "size")} |
                {"platform": {"os": "linux", "architecture": name}} for name in ("amd64", "arm64")]
    index = json.dumps({"schemaVersion": 2, "mediaType": images.INDEX,
                        "manifests": children}).encode()
    images.push(built, f"{registry.host}/multi:child")
    status, _, body = images.request(f"http://{registry.host}/v2/multi/manifests/all", "PUT",
                                     {"Content-Type": images.INDEX}, index)
    assert status == 201, body

    both = ("copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo(*both, f"docker://{registry.host}/multi:all", f"docker://{registry.host}/copy:all")

    digest, copied = images.manifest_of(f"{registry.host}/copy:all")
    assert digest == images.sha256(index)
    assert copied["manifests"] == children


def test_skopeo_deletes_an_image(registry, built):
    images.push(built, f"{registry.host}/a:1")

    skopeo("delete", "--tls-verify=false", f"docker://{registry.host}/a:1")

    with pytest.raises(CommandError):
        skopeo("inspect", "--tls-verify=false", f"docker://{registry.host}/a:1")


@pytest.fixture
def podman():
    """podman with a storage of its own, in a short path: it refuses run roots over 50 bytes."""
    program = needs("podman")
    with tempfile.TemporaryDirectory(prefix="rp-", dir="/var/tmp") as directory:
        command = [program, "--root", f"{directory}/storage", "--runroot", f"{directory}/run",
                   "--storage-driver", "vfs"]
        yield command
        run(command + ["rmi", "--all", "--force"])


def test_podman_pulls_and_pushes(registry, built, podman):
    images.push(built, f"{registry.host}/a:1")

    image = run(podman + ["pull", "--quiet", "--tls-verify=false",
                          f"{registry.host}/a:1"]).strip()
    run(podman + ["push", "--quiet", "--tls-verify=false", image, f"{registry.host}/pushed:1"])

    config = images.manifest_of(f"{registry.host}/a:1")[1]["config"]["digest"]
    assert image == config.removeprefix("sha256:")
    assert images.manifest_of(f"{registry.host}/pushed:1")[1]["config"]["digest"] == config

def test_curl_pushes_in_chunks_and_pulls_in_ranges(registry, tmp_path):
    data = os.urandom(1_000_000)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    url = f"http://{registry.host}"
    whole, pulled = tmp_path / "whole", tmp_path / "pulled"
    whole.write_bytes(data)

    location = curl("-X", "POST", "-o", "/dev/null", "-w", "%header{location}",
                    f"{url}/v2/a/blobs/uploads/")
    for start in range(0, len(data), 300_000):
        part = tmp_path / "part"
        part.write_bytes(data[start:start + 300_000])
        end = start + part.stat().st_size - 1
        assert curl("-X", "PATCH", "-H", f"Content-Range: {start}-{end}", "-H",
                    "Content-Type: application/octet-stream", "--data-binary", f"@{part}",
                    "-o", "/dev/null", "-w", "%{http_code} %header{range}",
                    url + location) == f"202 0-{end}"
    assert curl("-X", "PUT", "-o", "/dev/null", "-w", "%{http_code}",
                f"{url}{location}?digest={digest}") == "201"

    curl("-o", str(pulled), f"{url}/v2/a/blobs/{digest}")
    assert pulled.read_bytes() == data
    curl("-o", str(pulled), "-r", "1000-70000", f"{url}/v2/a/blobs/{digest}")
    assert pulled.read_bytes() == data[1000:70001]


def test_curl_streams_a_body_of_unknown_length(registry, tmp_path):
    data = os.urandom(700_000)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    url = f"http://{registry.host}"
    location = curl("-X", "POST", "-o", "/dev/null", "-w", "%header{location}",
                    f"{url}/v2/a/blobs/uploads/")

    sent = subprocess.run([needs("curl"), "-sS", "--noproxy", "*", "-X", "PATCH", "-T", "-",
                           "-o", "/dev/null", "-w", "%{http_code}", url + location],
                          input=data, capture_output=True, timeout=60, check=True)

    assert sent.stdout == b"202"
    assert images.request(f"{url}{location}?digest={digest}", "PUT")[0] == 201
    assert images.request(f"{url}/v2/a/blobs/{digest}")[2] == data


def test_a_second_registry_on_the_same_data_sees_everything(registry, built, tmp_path):
    from sandbox import services
    images.push(built, f"{registry.host}/a:1")
    second = services.Registry(tmp_path / "second")
    (tmp_path / "second").mkdir()
    (tmp_path / "second/data").symlink_to(registry.directory / "data")

    try:
        second.start()
        images.push(built, f"{second.host}/b:1")
        assert images.manifest_of(f"{second.host}/a:1") == images.manifest_of(
            f"{registry.host}/b:1")
    finally:
        second.stop()

"""The client that people have: `az acr` itself, of Azure's package azure-cli, unchanged and over TLS.

It finds a registry at NAME plus the suffix of its cloud; ours is "localhost" plus ":PORT". Nothing of
it goes anywhere else: it is told no account.
"""

from __future__ import annotations

import io
import json
import os
import ssl
import subprocess
import tarfile
from pathlib import Path

import pytest
from converting_service import ConvertingRegistry, noise
from guarded_registry import Certificates
from needs import azure_client
from registry_calls import Calls, basic, digest, push_blob, push_image
from sandbox import daemons
from tls_registry import PASSWORD, USER, TlsRegistry

STREAMING = "application/vnd.azure.artifact.streaming.v1"


class Secure(TlsRegistry):
    """Over TLS, and its workers can be held."""

    workers = ConvertingRegistry.workers
    hold_worker = ConvertingRegistry.hold_worker


@pytest.fixture(scope="module")
def secure(runnel, tmp_path_factory):  # noqa: ARG001
    directory = tmp_path_factory.mktemp("azure")
    made = Secure(directory / "registry", Certificates(directory / "certificates"))
    made.ca = directory / "certificates/ca.pem"
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="module")
def az(secure):
    program = azure_client()
    environment = {**os.environ, "AZURE_CONFIG_DIR": str(secure.directory / "azure"),
                   "AZURE_CORE_COLLECT_TELEMETRY": "no", "REQUESTS_CA_BUNDLE": str(secure.ca)}

    config = Path(environment["AZURE_CONFIG_DIR"])
    config.mkdir()
    # As `az cloud register` writes it, which asks the cloud for more than is needed here.
    (config / "clouds.config").write_text(
        "[ours]\nendpoint_resource_manager = https://127.0.0.1:1/\n"
        "endpoint_active_directory = https://127.0.0.1:1/\n"
        "endpoint_active_directory_resource_id = https://127.0.0.1:1/\n"
        f"suffix_acr_login_server_endpoint = :{secure.port}\n")
    (config / "config").write_text("[cloud]\nname = ours\n")

    def acr(*command: str, code: int = 0):
        """What it prints, and what it says beside that."""
        words = ("acr", *command, "--registry" if command[0] == "manifest" else "--name", "localhost",
                 "--username", USER, "--password", PASSWORD)
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=180,
                              check=False, stdin=subprocess.DEVNULL, env=environment)
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None, done.stderr

    return acr


@pytest.fixture
def call(secure):
    made = Calls(secure.host, basic(USER, PASSWORD), ssl.create_default_context(cafile=str(secure.ca)))
    yield made
    made.close()


def push_layered(call: Calls, repository: str, tag: str, seed: int, size: int = 300_000) -> str:
    """An image that can be converted."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as out:
        file = tarfile.TarInfo("data")
        file.size = size
        out.addfile(file, io.BytesIO(noise(file.size, seed)))
    data = layer.getvalue()
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {
        "type": "layers", "diff_ids": [digest(data)]}}).encode()
    push_blob(call, repository, data)
    return push_image(call, repository, tag, config, layers=[
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(data),
         "size": len(data)}])


def test_az_converts_an_image_and_sees_it(az, call):
    name = push_layered(call, "az/app", "v1", 1)
    image = ("--image", "az/app:v1")

    # By digest: for a tag this command of az looks with the account's login alone, which is none.
    made, said = az("artifact-streaming", "create", "--image", f"az/app@{name}")

    assert made["status"] == "Succeeded"
    assert f"--repository az/app --id {made['id']}" in said
    again, said = az("artifact-streaming", "create", "--image", f"az/app@{name}")
    assert again is None
    assert f"The streaming artifact for image 'az/app@{name}' already exists. Skipping request." in said
    shown, _ = az("artifact-streaming", "operation", "show", *image)
    assert shown["name"] == "ArtifactStreamingConversion"
    assert (shown["resource"], shown["status"]) == (f"az/app@{name}", "Succeeded")
    by_id, _ = az("artifact-streaming", "operation", "show", "--repository", "az/app", "--id",
                  made["id"])
    assert by_id == shown
    _, said = az("artifact-streaming", "operation", "cancel", *image, code=1)
    assert (f"The image 'az/app:v1' does not have any ongoing operation. Operation ID: {made['id']}"
            in said)
    listed, _ = az("manifest", "list-referrers", "--name", "az/app:v1")
    (entry,) = listed["manifests"]
    assert entry["artifactType"] == STREAMING
    assert entry["annotations"]["streaming.platform.arch"] == "amd64"


def test_az_switches_a_repository(az, call):
    push_layered(call, "az/switch", "v1", 2)
    of = ("--repository", "az/switch")

    assert az("artifact-streaming", "show", *of)[0] == {"convertPushedImages": False}
    set_to, _ = az("artifact-streaming", "update", *of, "--enable-streaming", "True")
    assert set_to["convertPushedImages"] is True and set_to["status"] == "Succeeded"
    shown, _ = az("artifact-streaming", "operation", "show", *of, "--id", set_to["id"])
    assert shown["status"] == "Succeeded"
    name = push_layered(call, "az/switch", "v2", 3)
    daemons.wait_until(lambda: call("GET", f"/v2/az/switch/referrers/{name}").json()["manifests"], 60,
                       "the artifact of what was pushed")


def test_az_says_that_an_image_has_no_operation(az, call):
    push_image(call, "az/chart", "v1")
    _, said = az("artifact-streaming", "operation", "show", "--image", "az/chart:v1", code=1)
    assert "No operation found for image 'az/chart:v1'" in said


def test_az_cancels_what_goes_on(az, call, secure):
    name = push_layered(call, "az/cancel", "v1", 4, 64 << 20)
    started = call("POST", f"/acr/v1/az/cancel/_streaming/{name}", b"{}").json()["id"]
    secure.hold_worker()

    nothing, said = az("artifact-streaming", "create", "--image", f"az/cancel@{name}", "--no-wait")
    assert nothing is None and f"--id {started}" in said, "it joins"
    canceled, _ = az("artifact-streaming", "operation", "cancel", "--image", "az/cancel:v1")

    assert canceled["name"] == "Cancel: ArtifactStreamingConversion"
    assert canceled["status"] == "Canceled"
    shown, _ = az("artifact-streaming", "operation", "show", "--repository", "az/cancel", "--id", started)
    assert shown["status"] == "Canceled"


def test_az_lists_shows_changes_and_deletes(az, call):
    first = push_image(call, "az/lists", "v1", b'{"a":1}')
    second = push_image(call, "az/lists", "v2", b'{"a":2}')

    assert "az/lists" in az("repository", "list")[0]
    assert az("repository", "show-tags", "--repository", "az/lists")[0] == ["v1", "v2"]
    shown, _ = az("repository", "show", "--repository", "az/lists")
    assert shown["changeableAttributes"]["deleteEnabled"] is True
    changed, _ = az("repository", "update", "--image", "az/lists:v1", "--write-enabled", "false")
    assert changed["changeableAttributes"]["writeEnabled"] is False
    listed, _ = az("manifest", "list-metadata", "--name", "az/lists")
    assert {each["digest"]: each["tags"] for each in listed} == {first: ["v1"], second: ["v2"]}
    assert az("manifest", "show", "--name", "az/lists:v1")[0]["schemaVersion"] == 2
    az("repository", "untag", "--image", "az/lists:v2")
    assert az("repository", "show-tags", "--repository", "az/lists")[0] == ["v1"]
    az("manifest", "delete", "--name", f"az/lists@{second}", "--yes")
    assert "az/lists" in az("repository", "list-deleted")[0]
    az("manifest", "restore", "--name", "az/lists:v2", "--digest", second, "--yes")
    assert az("repository", "show-tags", "--repository", "az/lists")[0] == ["v1", "v2"]
    az("repository", "delete", "--repository", "az/lists", "--yes")
    assert "az/lists" not in az("repository", "list")[0]

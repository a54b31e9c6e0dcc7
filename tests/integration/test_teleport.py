"""Teleport, the older generation: its routes, its rule of ten, and its scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from converting_service import artifacts, one_layer, slow_image
from needs import needs
from registry_calls import Calls, basic, bcrypt, digest
from sandbox import daemons

REPOSITORY = "team/app"
SECRET = 'se"cret'  # as a shell or a configuration might get it wrong
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def switch(call: Calls, repository: str, to: bool):
    return call("PATCH", f"/acr/v1/{repository}", json.dumps({"teleportEnabled": to}).encode())


def mount(call: Calls, name: str) -> int:
    return call("GET", f"/mount/v1/{REPOSITORY}/_manifests/{name}").status


def test_a_repository_says_whether_its_images_are_expanded(start, tmp_path):
    registry = start()
    call = Calls(registry.host)
    before = registry.push(one_layer(tmp_path / "before"), f"{REPOSITORY}:v0")
    shown = call("GET", f"/acr/v1/{REPOSITORY}").json()["changeableAttributes"]
    assert "teleportEnabled" not in shown
    assert mount(call, before) == 404

    changed = switch(call, REPOSITORY, True)

    assert changed.status == 200
    assert changed.json()["changeableAttributes"]["teleportEnabled"] is True
    assert mount(call, before) == 404  # no backfill
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    worker = registry.hold_worker()
    assert mount(call, name) == 409
    os.kill(worker, signal.SIGCONT)
    daemons.wait_until(lambda: mount(call, name) == 200, 120, "the expansion")
    assert len(artifacts(call, REPOSITORY, name)) == 1
    assert switch(call, REPOSITORY, False).json()["changeableAttributes"]["teleportEnabled"] is False
    assert mount(call, name) == 404
    assert mount(call, digest(b"absent")) == 404


def test_so_many_repositories_may_be_enabled_and_no_more(start, tmp_path):
    registry = start("[teleport]\nrepositories = 2\n")
    call = Calls(registry.host)
    image = one_layer(tmp_path / "app")
    for name in "abc":
        registry.push(image, f"team/{name}:v1")
    assert [switch(call, f"team/{name}", True).status for name in "abc"] == [200, 200, 409]
    assert switch(call, "team/a", False).status == 200
    assert switch(call, "team/c", True).status == 200


def test_a_push_enables_a_repository_where_that_is_configured(start, tmp_path):
    registry = start("[teleport]\nrepositories = 1\nenable_by_push = true\n")
    call = Calls(registry.host)
    image = one_layer(tmp_path / "app")
    name = registry.push(image, f"{REPOSITORY}:v1")
    registry.push(image, "team/second:v1")

    daemons.wait_until(lambda: mount(call, name) == 200, 120, "the expansion")

    shown = call("GET", "/acr/v1/team/second").json()["changeableAttributes"]
    assert "teleportEnabled" not in shown


def test_what_makes_no_sense_is_refused(start, tmp_path):
    registry = start()
    call = Calls(registry.host)
    registry.push(one_layer(tmp_path / "app"), f"{REPOSITORY}:v1")
    assert call("PATCH", f"/acr/v1/{REPOSITORY}", b'{"teleportEnabled": 1}').status == 400
    assert call("PATCH", f"/acr/v1/{REPOSITORY}/_tags/v1", b'{"teleportEnabled": true}').status == 400
    both = call("PATCH", f"/acr/v1/{REPOSITORY}", b'{"teleportEnabled": true, "deleteEnabled": false}')
    assert both.json()["changeableAttributes"] == {
        "deleteEnabled": False, "writeEnabled": True, "readEnabled": True, "listEnabled": True,
        "teleportEnabled": True}


# The scripts --------------------------------------------------------------------------------------


@pytest.fixture
def guarded(start, tmp_path):
    """A registry with people, and one image in it."""
    needs("curl")
    people = tmp_path / "htpasswd"
    people.write_text(f"alice:{bcrypt(SECRET)}\nbob:{bcrypt('b')}\n")
    registry = start(f'[auth]\nhtpasswd = "{people}"\nanonymous_pull = ["public/*"]\n'
                     '[users.bob]\nroles = ["AcrPull"]\n')
    return registry


def push_as_alice(registry, tmp_path) -> None:
    image = one_layer(tmp_path / "image")
    subprocess.run([needs("skopeo"), "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
                    "--dest-creds", f"alice:{SECRET}", f"oci:{image.layout}:latest",
                    f"docker://{registry.host}/{REPOSITORY}:v1"], check=True, timeout=60)


def run(script: str, *arguments: str, user: str = "alice", password: str = SECRET):
    environment = {**os.environ, "ACR_USER": user, "ACR_PWD": password,
                   "TELEPORT_POLL_SECONDS": "0.1"}
    return subprocess.run([str(SCRIPTS / script), *arguments], env=environment, capture_output=True,
                          text=True, timeout=60)


def test_the_scripts_say_what_they_said(guarded, tmp_path):
    push_as_alice(guarded, tmp_path)
    host = guarded.host
    disabled = run("check-expansion.sh", host, REPOSITORY, "v1")
    assert disabled.returncode == 0, disabled.stderr
    lines = disabled.stdout.splitlines()
    assert lines[0] == "Getting Access Token"
    assert lines[1] == f"Finding Digest for {REPOSITORY}:v1 http://{host}/v2/{REPOSITORY}/manifests/v1"
    assert lines[2].startswith(f"Checking http://{host}/mount/v1/{REPOSITORY}/_manifests/sha256:")
    assert lines[3:] == ["Status: 404", f"Teleport: {host}-{REPOSITORY}:v1 not enabled"]

    enabled = run("edit-teleport-attribute.sh", host, REPOSITORY, "enable", "--debug")
    assert enabled.returncode == 0, enabled.stderr
    lines = enabled.stdout.splitlines()
    assert lines[:5] == ["Parameter Validation:", "  ACR_USER: alice", f"  ACR_PWD : {SECRET}",
                         f"  ACR_NAME: {host}", f"  ACR_REPO: {REPOSITORY}"]
    assert lines[5] == "Getting Access Token"
    assert lines[6].startswith("  ACR_ACCESS_TOKEN: ")
    assert lines[7:9] == ['  SET_STATE: {"teleportEnabled": true }',
                          f"Sendng Patch Request for {REPOSITORY}"]
    assert '"teleportEnabled":true' in lines[9]

    push_as_alice(guarded, tmp_path / "again")
    ready = run("check-expansion.sh", host, REPOSITORY, "v1")
    assert ready.returncode == 0
    assert ready.stdout.splitlines()[-2:] == ["Status: 200", "Teleport: layers ready"]

    needs("jq")
    found = run("find-teleport-enabled-repositories.sh", host)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == [f"{REPOSITORY} -> Enabled", "", "Summary:",
                                         "Enabled Repositories:", "", REPOSITORY]


def test_the_scripts_say_what_is_wrong(guarded, tmp_path):
    push_as_alice(guarded, tmp_path)
    denied = run("check-expansion.sh", guarded.host, REPOSITORY, "v1", password="wrong")
    assert denied.returncode == 1
    assert denied.stdout.splitlines()[-1] == (
        "Could not get access token, make sure credentials are accurate and have pull access")
    absent = run("check-expansion.sh", guarded.host, REPOSITORY, "v2")
    assert absent.returncode == 1
    assert absent.stdout.splitlines()[-1] == (
        "Could not return the image digest. Confirm the identity has access to the repo, and the "
        "image exists.")
    assert run("check-expansion.sh", guarded.host).returncode == 2


def test_who_may_only_pull_may_not_switch(guarded, tmp_path):
    push_as_alice(guarded, tmp_path)
    bob = Calls(guarded.host, basic("bob", "b"))
    assert switch(bob, REPOSITORY, True).status == 403
    assert bob("POST", f"/acr/v1/{REPOSITORY}/_streaming", b'{"convertPushedImages":true}').status == 403
    assert bob("GET", f"/acr/v1/{REPOSITORY}/_streaming").status == 200
    nobody = Calls(guarded.host)
    assert nobody("GET", f"/acr/v1/{REPOSITORY}/_streaming").status == 401
    assert nobody("GET", "/runnel/v1/_operations").status == 401
    assert nobody("GET", "/.well-known/runnel/converter-keys").status == 200

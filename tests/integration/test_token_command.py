"""`runnel token`: tokens and scope maps from the command line."""

from __future__ import annotations

import json
import subprocess

import pytest
from registry_calls import Calls, basic, push_blob, push_manifest, image
from sandbox import services
from test_registry_security import PEOPLE, Guarded


@pytest.fixture
def guarded(runnel, tmp_path):  # noqa: ARG001
    made = Guarded(tmp_path / "guarded")
    try:
        yield made.start()
    finally:
        made.stop()


def token(registry, *arguments: str, user: str = "owner") -> subprocess.CompletedProcess:
    return subprocess.run([services.program(), "token", *arguments, "--registry", registry.host,
                           "--user", user], input=PEOPLE[user], capture_output=True, text=True,
                          timeout=60, check=False)


def said(registry, *arguments: str) -> str:
    done = token(registry, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(registry, name: str, password: str) -> int:
    call = Calls(registry.host, basic(name, password))
    try:
        return call("GET", "/v2/team/app/manifests/v1").status
    finally:
        call.close()


def test_a_token_from_its_making_to_its_end(guarded):
    owner = Calls(guarded.host, basic("owner", PEOPLE["owner"]))
    push_blob(owner, "team/app", b"{}")
    push_manifest(owner, "team/app", "v1", image())

    first = said(guarded, "create", "ci", "--action", "repositories/team/*/content/read", "--days",
                 "90").strip()
    assert status(guarded, "ci", first) == 200
    second = said(guarded, "password", "ci", "--second").strip()
    assert status(guarded, "ci", second) == status(guarded, "ci", first) == 200
    assert second not in said(guarded, "list") and "password1 until 20" in said(guarded, "list")
    (listed,) = json.loads(said(guarded, "list", "--json"))["tokens"]
    assert (listed["name"], listed["scopeMap"], listed["status"]) == ("ci", "ci", "enabled")
    assert "repositories/team/*/content/read" in said(guarded, "scope-maps")

    said(guarded, "disable", "ci")
    assert status(guarded, "ci", first) == 401
    said(guarded, "enable", "ci")
    said(guarded, "set-scope-map", "ci", "repositories/elsewhere/content/read")
    assert status(guarded, "ci", first) == 404
    assert "delete the token first" in token(guarded, "delete-scope-map", "ci").stderr
    said(guarded, "delete", "ci")
    said(guarded, "delete-scope-map", "ci")
    assert status(guarded, "ci", first) == 401
    assert "_repositories_pull" in said(guarded, "scope-maps")


def test_errors_say_what_and_where(guarded):
    assert token(guarded, "create", "x").returncode == 2  # no rights
    done = token(guarded, "create", "x", "--scope-map", "none-such")
    assert done.returncode == 1 and "none-such" in done.stderr
    done = token(guarded, "disable", "absent")
    assert done.returncode == 1 and "absent" in done.stderr
    done = token(guarded, "list", user="reader")
    assert done.returncode == 1 and "Owner" in done.stderr

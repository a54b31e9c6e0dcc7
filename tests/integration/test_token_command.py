"""`runnel token` and `runnel scope-map`: rights of names that are no person's."""

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


def runnel(registry, *arguments: str, user: str = "owner") -> subprocess.CompletedProcess:
    return subprocess.run([services.program(), *arguments, "--registry", registry.host,
                           "--username", user, "--password-stdin"], input=PEOPLE[user],
                          capture_output=True, text=True, timeout=60, check=False)


def said(registry, *arguments: str) -> str:
    done = runnel(registry, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answer(registry, *arguments: str):
    return json.loads(said(registry, *arguments))


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

    made = answer(guarded, "token", "create", "-n", "ci", "--repository", "team/*", "content/read",
                  "--expiration-in-days", "90")
    first, second = (each["value"] for each in made["credentials"]["passwords"])
    assert [each["name"] for each in made["credentials"]["passwords"]] == ["password1", "password2"]
    assert made["credentials"]["username"] == made["scopeMapId"] == "ci"
    assert made["status"] == "enabled"
    assert status(guarded, "ci", first) == status(guarded, "ci", second) == 200
    new = said(guarded, "token", "credential", "generate", "-n", "ci", "--password2", "--query",
               "passwords[0].value", "-o", "tsv").strip()
    assert status(guarded, "ci", new) == status(guarded, "ci", first) == 200
    assert status(guarded, "ci", second) == 401
    listed = said(guarded, "token", "list", "--query", "[].[name,status,scopeMapId]", "-o", "tsv")
    assert listed == "ci\tenabled\tci\n"
    shown = said(guarded, "token", "show", "-n", "ci")
    assert first not in shown and '"expiry": "20' in shown
    assert answer(guarded, "scope-map", "show", "-n", "ci")["actions"] == [
        "repositories/team/*/content/read"]

    assert answer(guarded, "token", "update", "-n", "ci", "--status",
                  "disabled")["status"] == "disabled"
    assert status(guarded, "ci", first) == 401
    said(guarded, "token", "update", "-n", "ci", "--status", "enabled")
    assert status(guarded, "ci", first) == 200
    assert "use --yes" in runnel(guarded, "token", "delete", "-n", "ci").stderr
    said(guarded, "token", "delete", "-n", "ci", "--yes")
    assert status(guarded, "ci", first) == 401


def test_a_scope_map_from_its_making_to_its_end(guarded):
    made = answer(guarded, "scope-map", "create", "-n", "build", "--repository", "a",
                  "content/read", "content/write", "--repository", "b", "content/read",
                  "--description", "what builds need")
    assert set(made["actions"]) == {"repositories/a/content/read", "repositories/a/content/write",
                                    "repositories/b/content/read"}
    changed = answer(guarded, "scope-map", "update", "-n", "build", "--add-repository", "c",
                     "content/read", "--remove-repository", "a", "content/write")
    assert set(changed["actions"]) == {"repositories/a/content/read", "repositories/b/content/read",
                                       "repositories/c/content/read"}
    assert changed["description"] == "what builds need"
    assert {"build", "_repositories_pull"} <= set(
        answer(guarded, "scope-map", "list", "--query", "[].name"))
    answer(guarded, "token", "create", "-n", "ci", "--scope-map", "build", "--no-passwords")
    held = runnel(guarded, "scope-map", "delete", "-n", "build", "-y")
    assert held.returncode == 1 and "delete the token first" in held.stderr
    said(guarded, "token", "delete", "-n", "ci", "-y")
    said(guarded, "scope-map", "delete", "-n", "build", "-y")
    assert "build" not in answer(guarded, "scope-map", "list", "--query", "[].name")


def test_errors_say_what_and_where(guarded):
    for command, code, words in [
            (("token", "create", "-n", "x"), 2, "Usage error"),
            (("token", "create", "-n", "x", "--repository", "a"), 2, "content/read"),
            (("token", "create", "-n", "x", "--scope-map", "none-such"), 1, "none-such"),
            (("token", "update", "-n", "absent", "--status", "disabled"), 1, "absent"),
            (("token", "update", "-n", "absent"), 2, "nothing to change"),
            (("scope-map", "update", "-n", "absent", "--add-repository", "a", "content/read"), 1,
             "absent"),
            (("scope-map", "create", "-n", "x"), 2, "Usage error")]:
        done = runnel(guarded, *command)
        assert done.returncode == code and words in done.stderr, (command, done.stderr)
    done = runnel(guarded, "token", "list", user="reader")
    assert done.returncode == 1 and "tokens: " in done.stderr and "Owner" in done.stderr

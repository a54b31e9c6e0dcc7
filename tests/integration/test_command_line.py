"""The commands that speak to a registry's own API, against the real registry."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import random
import re
import shutil
import signal
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest
from converting_service import ConvertingRegistry, slow_image
from needs import needs
from registry_calls import (Calls, basic, bcrypt, digest, image, push_blob, push_image,
                            push_manifest)
from sandbox import daemons, services

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
STREAMING = "application/vnd.azure.artifact.streaming.v1"
PEOPLE = {name: f"{name}-Pa55word" for name in ("owner", "writer", "reader")}
CONFIG = """\
[auth]
htpasswd = "{people}"
anonymous_pull = ["public/*"]
[users.owner]
roles = ["Owner"]
[users.writer]
roles = ["AcrPush", "AcrDelete"]
repositories = ["team/*"]
[users.reader]
roles = ["AcrPull"]
repositories = ["team/*"]
"""


class Guarded(ConvertingRegistry):
    def _argv(self) -> list[str]:
        people = self.directory / "htpasswd"
        people.write_text("".join(f"{name}:{bcrypt(word)}\n" for name, word in PEOPLE.items()))
        self.text = CONFIG.format(people=people)
        return super()._argv()


@pytest.fixture(scope="module")
def guarded(runnel, tmp_path_factory):  # noqa: ARG001
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="module")
def nobody(tmp_path_factory):
    """A directory without any login, for DOCKER_CONFIG."""
    return tmp_path_factory.mktemp("docker")


@pytest.fixture
def run(served, nobody):
    def go(*command: str, code: int = 0, said: str = "", **more) -> str:
        environment = {**os.environ, "RUNNEL_REGISTRY": served.host, "DOCKER_CONFIG": str(nobody),
                       **more}
        done = subprocess.run([services.program(), *command], capture_output=True, text=True,
                              timeout=60, env=environment, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == code, (command, done.stderr)
        assert said in done.stderr, (command, done.stderr)
        return done.stdout

    return go


@pytest.fixture
def ask(run):
    """A command's answer as JSON."""
    return lambda *command, **more: json.loads(run(*command, **more))


def answers_at_a_terminal(answer: str, host: str, *command: str) -> tuple[int, str]:
    """The command asks somebody who types `answer`."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([services.program(), *command, "--registry", host], stdin=theirs,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    try:
        _, error = process.communicate(timeout=60)
    finally:
        os.close(ours)
    return process.returncode, error


# repository ---------------------------------------------------------------------------------------


def test_repositories_and_tags_are_listed(run, ask, call):
    for name in ("list/a", "list/b", "list/c"):
        push_image(call, name, "v1")
    push_image(call, "list/a", "v2")

    assert {"list/a", "list/b", "list/c"} <= set(ask("repository", "list"))
    assert len(ask("repository", "list", "--top", "2")) == 2
    assert ask("repository", "show-tags", "--repository", "list/a") == ["v1", "v2"]
    assert "list/a\nlist/b\n" in run("repository", "list", "-o", "tsv")
    assert "Result" in run("repository", "list", "-o", "table")
    assert ask("repository", "list", "--query", "[?starts_with(@, 'list/')] | length(@)") == 3
    run("repository", "show-tags", "--repository", "list/none", code=1, said="list/none")


def test_attributes_are_shown_and_changed(ask, run, call):
    manifest = push_image(call, "attributes/app", "v1")

    shown = ask("repository", "show", "--repository", "attributes/app")
    assert shown["imageName"] == "attributes/app"
    assert shown["changeableAttributes"] == {"deleteEnabled": True, "writeEnabled": True,
                                             "readEnabled": True, "listEnabled": True}
    tag = ask("repository", "show", "--image", "attributes/app:v1")
    assert (tag["name"], tag["digest"]) == ("v1", manifest)
    changed = ask("repository", "update", "--image", f"attributes/app@{manifest}", "--read-enabled",
                  "False")
    assert changed["digest"] == manifest and not changed["changeableAttributes"]["readEnabled"]
    assert call("GET", "/v2/attributes/app/manifests/v1").status == 403
    ask("manifest", "update-metadata", "-n", f"attributes/app@{manifest}", "--read-enabled", "true")
    metadata = ask("manifest", "show-metadata", "attributes/app:v1")
    assert metadata["digest"] == manifest and metadata["changeableAttributes"]["readEnabled"]
    run("repository", "update", "--repository", "attributes/app", code=2, said="nothing to change")
    run("repository", "show", code=2, said="Usage error: --image IMAGE | --repository REPOSITORY")


def test_nothing_is_deleted_without_a_yes(run, call, served):
    push_image(call, "ask/app", "v1")
    command = ("repository", "delete", "--repository", "ask/app")

    run(*command, code=1, said="use --yes")
    code, said = answers_at_a_terminal("n", served.host, *command)
    assert code == 1 and "Operation cancelled." in said
    assert "delete the repository 'ask/app' and all images under it?" in said
    assert call("GET", "/v2/ask/app/manifests/v1").status == 200
    code, said = answers_at_a_terminal("y", served.host, *command)
    assert code == 0, said
    assert call("GET", "/v2/ask/app/manifests/v1").status == 404


def test_what_is_deleted_is_listed_and_comes_back(ask, run, call):
    first = push_image(call, "undo/app", "v1", config=b'{"a":1}')
    ask("repository", "show", "--image", "undo/app:v1")
    run("repository", "untag", "--image", "undo/app:v1")
    assert call("GET", "/v2/undo/app/manifests/v1").status == 404
    (deleted,) = ask("manifest", "list-deleted-tags", "-n", "undo/app:v1")
    assert (deleted["tag"], deleted["digest"]) == ("v1", first)
    assert deleted["deletedAt"] < deleted["expiresAfter"]
    assert ask("manifest", "restore", "-n", "undo/app:v1")["tags"] == ["v1"]

    run("manifest", "delete", "-n", "undo/app:v1", "--yes")
    (deleted,) = ask("manifest", "list-deleted", "-n", "undo/app")
    assert (deleted["digest"], deleted["tags"]) == (first, ["v1"])
    assert "undo/app" in ask("repository", "list-deleted")
    second = push_image(call, "undo/app", "v1", config=b'{"a":2}')
    kept = ask("manifest", "restore", "-n", "undo/app:v1", "-d", first, said="--force")
    assert kept["keptTags"] == ["v1"]
    assert call("HEAD", "/v2/undo/app/manifests/v1")["docker-content-digest"] == second
    run("manifest", "delete", "-n", f"undo/app@{first}", "-y")
    ask("manifest", "restore", "-n", "undo/app:v1", "-d", first, "--force", "--yes")
    assert call("GET", f"/v2/undo/app/manifests/{first}").status == 200
    run("manifest", "restore", "-n", "undo/app:v9", code=1, said="list-deleted-tags")


@pytest.mark.parametrize("way", ["untagged", "pushed over"])
def test_a_tag_that_was_pushed_again_comes_back_only_by_force(ask, run, call, way):
    repository = f"undo/{way.replace(' ', '-')}"
    first = push_image(call, repository, "v1", config=b'{"a":1}')
    if way == "untagged":
        run("repository", "untag", "--image", f"{repository}:v1")
    second = push_image(call, repository, "v1", config=b'{"a":2}')

    def tag() -> str:
        return call("HEAD", f"/v2/{repository}/manifests/v1")["docker-content-digest"]

    command = ("manifest", "restore", "-n", f"{repository}:v1")
    by_digest = ("manifest", "restore", "-n", f"{repository}@{first}")
    for each in (command, (*command, "-d", first), by_digest):
        run(*each, code=1, said=f"{repository}:v1 is {second} now: --force moves it")
        run(*each, "--force", code=1, said="use --yes")
        assert tag() == second

    assert ask(*command, "--force", "--yes")["tags"] == ["v1"]
    assert tag() == first
    run("repository", "untag", "--image", f"{repository}:v1")
    assert ask(*command, "-d", second)["tags"] == ["v1"]  # it stands in nobody's way
    assert tag() == second


# manifest -----------------------------------------------------------------------------------------


def push_referrer(call, repository: str, subject: str, artifact_type: str) -> str:
    push_blob(call, repository, b"{}")
    held = call("HEAD", f"/v2/{repository}/manifests/{subject}")
    manifest = image(artifactType=artifact_type, annotations={"streaming.format": "x"}, subject={
        "mediaType": held["content-type"], "digest": subject,
        "size": int(held["content-length"])})
    push_manifest(call, repository, digest(manifest), manifest)
    return digest(manifest)


def test_referrers_are_listed_as_recorded(ask, call, served):
    subject = push_image(call, "referrers/app", "v1")
    assert ask("manifest", "list-referrers", "-n", "referrers/app:v1") == {"manifests": []}
    streaming = push_referrer(call, "referrers/app", subject, STREAMING)
    push_referrer(call, "referrers/app", streaming, "application/x-signature")

    (entry,) = ask("manifest", "list-referrers", "-n", "referrers/app:v1")["manifests"]
    assert list(entry) == ["annotations", "artifactType", "digest", "mediaType", "size"]
    assert (entry["artifactType"], entry["digest"]) == (STREAMING, streaming)
    assert ask("manifest", "list-referrers", f"{served.host}/referrers/app:v1", "--query",
               "manifests[].artifactType") == [STREAMING]
    none = ask("manifest", "list-referrers", "-n", f"referrers/app@{subject}", "--artifact-type",
               "application/none")
    assert none == {"manifests": []}
    (entry,) = ask("manifest", "list-referrers", "referrers/app:v1", "--recursive")["manifests"]
    assert [each["artifactType"] for each in entry["referrers"]] == ["application/x-signature"]
    assert ask("manifest", "show", "referrers/app:v1")["schemaVersion"] == 2


def test_manifests_are_listed_with_their_tags(ask, run, call):
    first = push_image(call, "manifests/app", "v1", config=b'{"a":1}')
    push_image(call, "manifests/app", "again", config=b'{"a":1}')
    signature = push_referrer(call, "manifests/app", first, "application/x-signature")
    second = push_image(call, "manifests/app", "v2", config=b'{"a":2}')

    listed = {each["digest"]: each for each in ask("manifest", "list", "-n", "manifests/app")}
    assert set(listed) == {first, second, signature}
    assert (listed[first]["tags"], listed[second]["tags"]) == (["again", "v1"], ["v2"])
    assert listed[signature]["artifactType"] == "application/x-signature"
    assert listed[signature]["tags"] == []
    assert len(ask("manifest", "list", "manifests/app", "--top", "2")) == 2
    call("PATCH", f"/acr/v1/manifests/app/_manifests/{second}", b'{"writeEnabled":false}')
    writable = ask("manifest", "list-metadata", "-n", "manifests/app", "--query",
                   "[?changeableAttributes.writeEnabled].digest")
    assert set(writable) == {first, signature}
    run("manifest", "list", "-n", "manifests/none", code=1, said="manifests/none")


# verify -------------------------------------------------------------------------------------------


def push_layered_image(call, repository: str) -> None:
    """An image of one layer, of which `runnel convert` makes an artifact. No other repository has the layer: what a
    test does to its blobs is no other test's."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as out:
        file = tarfile.TarInfo("data")
        content = random.Random(repository).randbytes(500_000)
        file.size = len(content)
        out.addfile(file, io.BytesIO(content))
    layer = packed.getvalue()
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {
        "type": "layers", "diff_ids": [digest(layer)]}}).encode()
    push_blob(call, repository, layer)
    push_image(call, repository, "v1", config, layers=[
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer),
         "size": len(layer)}])


def test_a_good_artifact_verifies_and_a_damaged_one_does_not(run, ask, call, served):
    push_layered_image(call, "verify/app")
    run("verify", "verify/app:v1", code=1, said="has no streaming artifact")
    run("convert", f"{served.host}/verify/app:v1")

    (proved,) = ask("verify", f"{served.host}/verify/app:v1")
    assert (proved["equal"], proved["layers"], proved["platform"]) == ("bytes", 1, "linux/amd64")
    assert proved["chunks"] >= 4 and proved["bytes"] >= 500_000
    (entry,) = ask("manifest", "list-referrers", "verify/app:v1")["manifests"]
    assert entry["digest"] == proved["artifact"]
    manifest = ask("manifest", "show", f"verify/app@{entry['digest']}")
    (blob,) = [each["digest"] for each in manifest["layers"]
               if each["mediaType"] == "application/vnd.runnel.layer.v1"]
    name = blob.removeprefix("sha256:")
    stored = served.directory / "data/content/blobs/sha256" / name[:2] / name
    with open(stored, "r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    run("verify", "verify/app:v1", code=1, said="verify/app:v1: artifact " + proved["artifact"])


# The real conversion service ----------------------------------------------------------------------


def test_images_are_converted_listed_and_forgotten(run, ask, call):
    push_layered_image(call, "service/app")
    name = ("--image", "service/app:v1")
    held = ask("artifact-streaming", "update", "--repository", "service/app", "--hold-tag", "5")
    assert (held["holdTag"], held["convertPushedImages"]) == (5, False)

    (one,) = ask("artifact-streaming", "create", "--all", "--repository",
                 "service/app")["operations"]
    assert one["status"] == "Succeeded"
    run("artifact-streaming", "create", *name, said="already exists. Skipping request.")
    listed = ask("artifact-streaming", "operation", "list", "--repository", "service/app")
    assert [(each["id"], each["status"]) for each in listed] == [(one["id"], "Succeeded")]
    assert ask("verify", "service/app:v1")[0]["equal"] == "bytes"
    gone = ask("artifact-streaming", "delete", *name, "--yes")["deleted"]
    assert len(gone) == 1
    assert ask("manifest", "list-referrers", "service/app:v1") == {"manifests": []}


# Who asks -----------------------------------------------------------------------------------------


def test_what_nodes_told_of_starts_is_shown(run, ask, call):
    manifest = push_image(call, "team/profiled", "v1")
    image = ("--image", "team/profiled:v1")
    run("artifact-streaming", "profile", "show", *image, code=1, said="no node has told of a start")
    profile = {"version": 1, "image": "i", "layers": ["sha256:" + "ab" * 32],
               "chunks": [[0, 7], [0, 2]]}
    told = call("POST", f"/runnel/v1/team/profiled/_profiles/{manifest}?node=one",
                json.dumps(profile).encode())
    assert told.status == 204, told

    assert ask("artifact-streaming", "profile", "show", *image) == profile | {"votes": 1}


def test_docker_knows_who_asks_or_the_flags_do(guarded, nobody, tmp_path):
    owner = Calls(guarded.host, basic("owner", PEOPLE["owner"]))
    for repository in ("team/app", "hidden/app", "public/app"):
        push_image(owner, repository, "v1")

    def names(*flags: str, config=nobody, text: str = "") -> subprocess.CompletedProcess:
        return subprocess.run([services.program(), "repository", "list", "-n", guarded.host,
                               *flags], capture_output=True, text=True, timeout=60, input=text,
                              env={**os.environ, "DOCKER_CONFIG": str(config)}, check=False)

    refused = names()
    assert refused.returncode == 1 and f"docker login {guarded.host}" in refused.stderr
    reader = names("-u", "reader", "-p", PEOPLE["reader"])
    assert json.loads(reader.stdout) == ["public/app", "team/app"], reader.stderr
    wrong = names("-u", "reader", "--password-stdin", text="wrong")
    assert wrong.returncode == 1 and "401" in wrong.stderr
    assert PEOPLE["reader"] not in reader.stderr
    login = base64.b64encode(f"owner:{PEOPLE['owner']}".encode()).decode()
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {guarded.host: {"auth": login}}}))
    assert json.loads(names(config=tmp_path).stdout) == ["hidden/app", "public/app", "team/app"]


@pytest.mark.parametrize("command", ["convert", "inspect", "ls", "verify"])
def test_who_has_not_logged_in_is_told_how(guarded, run, command):
    run(command, f"{guarded.host}/team/app:v1", code=1, said=f"`runnel login -n {guarded.host}`")


@pytest.fixture
def away():
    """A host at which nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{closed.getsockname()[1]}"


@pytest.mark.parametrize("command", [
    ("convert", "{}/team/app:v1"), ("inspect", "{}/team/app:v1"), ("verify", "{}/team/app:v1"),
    ("repository", "show-tags", "-n", "{}", "--repository", "team/app"),
    ("manifest", "list", "{}/team/app"), ("repository", "list", "-n", "{}")])
def test_a_registry_that_is_away_is_named_with_what_looks_at_it(run, away, command):
    command = [word.format(away) for word in command]

    run(*command, code=1, said=f"connect to 127.0.0.1 port {away.partition(':')[2]}")
    run(*command, code=1, said=f"`runnel check-health -n {away}` looks")


def test_a_call_that_is_of_no_repository_names_the_registry_alone(run, away):
    run("login", "-n", away, "-u", "x", "-p", "y", code=1, said=f"runnel: {away}: login: GET")


def test_the_right_to_change_is_the_registrys_to_give(guarded, nobody):
    def as_user(user: str, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run([services.program(), *command, "-r", guarded.host, "-u", user,
                               "--password-stdin"], capture_output=True, text=True, timeout=60,
                              input=PEOPLE[user], check=False,
                              env={**os.environ, "DOCKER_CONFIG": str(nobody)})

    owner = Calls(guarded.host, basic("owner", PEOPLE["owner"]))
    push_image(owner, "team/own", "v1")
    denied = as_user("reader", "manifest", "delete", "-n", "team/own:v1", "--yes")
    assert denied.returncode == 1 and "content/delete" in denied.stderr
    done = as_user("writer", "manifest", "delete", "-n", "team/own:v1", "--yes")
    assert done.returncode == 0, done.stderr
    listed = as_user("reader", "manifest", "list-deleted", "-n", "team/own")
    assert [each["tags"] for each in json.loads(listed.stdout)] == [["v1"]], listed.stderr
    names = as_user("reader", "repository", "list-deleted", "-o", "tsv")
    assert names.stdout == "team/own\n"


def test_who_may_pull_an_image_may_tell_of_its_starts_and_nobody_else(guarded):
    owner = Calls(guarded.host, basic("owner", PEOPLE["owner"]))
    reader = Calls(guarded.host, basic("reader", PEOPLE["reader"]))  # pulls team/*, pushes nothing
    body = json.dumps({"version": 1, "image": "i", "layers": ["sha256:" + "ab" * 32],
                       "chunks": [[0, 1]]}).encode()

    def profiles(repository: str) -> str:
        return f"/runnel/v1/{repository}/_profiles/{push_image(owner, repository, 'v1')}?node=one"

    may, may_not = profiles("team/told"), profiles("hidden/told")
    assert reader("POST", may, body).status == 204
    assert reader("GET", may).json()["votes"] == 1
    for call, path, status in ((reader, may_not, (403, 404)), (Calls(guarded.host), may, (401,))):
        assert call("POST", path, body).status in status
        assert call("GET", path).status in status
    assert owner("GET", may).json()["votes"] == 1
    assert owner("GET", may_not).json()["errors"][0]["code"] == "PROFILE_UNKNOWN"

    # Everyone pulls this one, and whoever did not log in could be any number of nodes.
    public, nobody = profiles("public/told"), Calls(guarded.host)
    refused = nobody("POST", public, body)
    assert refused.status == 401
    assert 'scope="repository:public/told:pull"' in refused["WWW-Authenticate"]
    assert reader("POST", public, body).status == 204
    assert nobody("GET", public).json()["votes"] == 1


def test_manifests_that_nothing_leads_to_are_listed(run, ask, call):
    lost = push_image(call, "untagged/app", "v1", b'{"a":1}')
    kept = push_image(call, "untagged/app", "v1", b'{"a":2}')
    ask("repository", "update", "--image", "untagged/app@" + kept, "--delete-enabled", "false")

    listed = ask("manifest", "list", "-n", "untagged/app")
    assert {each["digest"]: each["tags"] for each in listed} == {lost: [], kept: ["v1"]}
    page = call("GET", "/acr/v1/untagged/app/_manifests?n=1")
    (one,) = page.json()["manifests"]
    assert one["digest"] == min(lost, kept) and one["mediaType"].endswith("manifest.v1+json")
    (two,) = call("GET", page["Link"].split(">")[0].lstrip("<")).json()["manifests"]
    assert {two["digest"], one["digest"]} == {lost, kept}
    assert {each["digest"]: each["changeableAttributes"]["deleteEnabled"] for each in (one, two)} == {
        lost: True, kept: False}
    assert call("GET", "/acr/v1/untagged/none/_manifests").status == 404
    assert call("GET", "/acr/v1/untagged/app/_manifests?n=x").status == 400


# check-health -------------------------------------------------------------------------------------


@pytest.fixture
def tools(tmp_path):
    """PATH with programs that say what a test wants: tools(docker=("ok", 0))."""
    directory = tmp_path / "tools"
    directory.mkdir()

    def put(**programs: tuple[str, int]) -> str:
        for name, (says, code) in programs.items():
            program = directory / name
            program.write_text(f"#!/bin/sh\necho \"$0 $*\" >> {tmp_path}/asked\necho '{says}'\n"
                               f"exit {code}\n")
            program.chmod(0o755)
        return str(directory)  # nothing else: a machine may have them

    return put


def test_health_is_checked_step_by_step(run, served, guarded, tools):
    said = run("check-health", "-n", served.host, PATH=tools()).splitlines()
    assert said[0].startswith("Runnel version: ")
    assert said[1:] == [f"DNS lookup to {served.host} at IP 127.0.0.1 : OK",
                        f"Challenge endpoint http://{served.host}/v2/ : OK",
                        f"Fetch access token for registry '{served.host}' : OK",
                        f"Conversion service of registry '{served.host}' : OK"]
    run("check-health", "-n", "no-such.invalid", code=1, said="CONNECTIVITY_DNS_ERROR: ")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        run("check-health", "-n", nobody, "--timeout", "2", code=1,
            said="CONNECTIVITY_CHALLENGE_ERROR: ")
    refused = run("check-health", "-n", guarded.host, "-u", "owner", "-p", "wrong", code=1,
                  said="CONNECTIVITY_REFRESH_TOKEN_ERROR: ")
    assert "Challenge endpoint" in refused and "token" not in refused
    run("check-health", "-n", guarded.host, "-u", "owner", "-p", "wrong", "--ignore-errors", code=1,
        said="CONNECTIVITY_ACCESS_TOKEN_ERROR: ", PATH=tools())


def test_health_tells_whether_a_registry_is_reached_within_a_network(run, served, tools):
    said = run("check-health", "-n", served.host, "--vnet", "mine", PATH=tools())
    assert (f"DNS lookup to {served.host} at IP 127.0.0.1 : OK\n"
            "DNS routing to private endpoint : OK\n") in said
    run("check-health", "-n", "192.0.2.1", "--vnet", "mine", code=1,
        said="CONNECTIVITY_DNS_ERROR: DNS routing to private endpoint: \"192.0.2.1\" leads to 192.0.2.1")


@pytest.mark.parametrize("flag", [("-o", "json"), ("--output", "table"), ("--query", "status")])
def test_health_is_no_document_to_pick_from(run, served, tools, flag):
    said = run("check-health", "-n", served.host, *flag, code=2,
               said="check-health prints lines only", PATH=tools())
    assert said == "", "nothing was looked at"


def test_health_has_what_a_login_gives(run, guarded, tools):
    said = run("check-health", "-n", guarded.host, "-u", "owner", "-p", PEOPLE["owner"],
               PATH=tools())
    assert (f"Fetch refresh token for registry '{guarded.host}' : OK\n"
            f"Fetch access token for registry '{guarded.host}' : OK\n") in said


def test_health_tells_of_programs_beside_the_registry(run, served, tools, tmp_path):
    bare = run("check-health", "-n", served.host, said="DOCKER_COMMAND_ERROR: docker is not installed",
               PATH=tools())
    assert "Docker" not in bare and "Helm" not in bare
    run("check-health", "-n", served.host, said="NOTARY_COMMAND_ERROR: ", PATH=tools())
    run("check-health", "-n", served.host, said="HELM_COMMAND_ERROR: ", PATH=tools())

    path = tools(docker=("Docker version 27", 0), helm=("v3.14.0", 0), notary=("notary 0.6", 0))
    said = run("check-health", "-n", served.host, PATH=path).splitlines()
    assert said[-4:] == ["Docker daemon status: available", "Docker version: Docker version 27",
                         "Helm version: v3.14.0", "Notary version: notary 0.6"]
    assert "pull" not in (tmp_path / "asked").read_text()  # nobody said that it may
    pulled = run("check-health", "-n", served.host, "--yes", PATH=path)
    assert "Docker pull of 'mcr.microsoft.com/mcr/hello-world:latest' : OK\n" in pulled
    assert "pull --quiet mcr.microsoft.com/mcr/hello-world:latest" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(("program", "code"), [
    ("docker", "DOCKER_DAEMON_ERROR"), ("helm", "HELM_VERSION_ERROR"),
    ("notary", "NOTARY_VERSION_ERROR")])
def test_health_fails_for_a_program_that_is_there_and_does_not_work(run, served, tools, program, code):
    run("check-health", "-n", served.host, code=1, said=code + ": ",
        PATH=tools(**{program: ("no", 1)}))


# The seed's troubleshooting guide -----------------------------------------------------------------

# Every command of it that speaks to the registry, with `runnel` for `az acr`; ACR stands for the
# registry, TAG and ID for what the guide leaves open.
GUIDE = """
runnel artifact-streaming create --image guide/app:v1
runnel artifact-streaming operation show --registry ACR --image guide/app:v1
runnel artifact-streaming operation cancel --registry ACR --repository guide/app --id ID
runnel manifest list-referrers --registry ACR -n guide/app:v1
runnel manifest list-referrers -n guide/app:v1
runnel repository show --repository guide/app -o jsonc
runnel token create --name teleport-token --registry ACR --scope-map _repositories_pull     --query credentials.passwords[0].value -o tsv
"""


@pytest.fixture
def owner(guarded):
    made = Calls(guarded.host, basic("owner", PEOPLE["owner"]))
    yield made
    made.close()


@pytest.fixture
def guide(guarded, tmp_path):
    """Runs a line of the guide as the owner, whose login docker's config.json holds."""
    login = base64.b64encode(f"owner:{PEOPLE['owner']}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {guarded.host: {"auth": login}}}))

    def go(line: str, operation: str = "") -> subprocess.CompletedProcess:
        command = [guarded.host if word == "ACR" else operation if word == "ID" else word
                   for word in line.split()[1:]]
        return subprocess.run([services.program(), *command], capture_output=True, text=True,
                              timeout=120, check=False, stdin=subprocess.DEVNULL,
                              env={**os.environ, "RUNNEL_REGISTRY": guarded.host,
                                   "DOCKER_CONFIG": str(tmp_path)})

    return go


def test_every_command_of_the_guide_shows_what_the_guide_says(guarded, owner, guide):
    push_layered_image(owner, "guide/app")
    said, operation = {}, ""
    for line in GUIDE.strip().splitlines():
        said[line] = done = guide(line, operation)
        if "create --image" in line:
            operation = json.loads(done.stdout)["id"]
    create, shown, cancel, referrers, again, repository, token = said.values()

    assert json.loads(create.stdout)["status"] == "Succeeded", create
    assert json.loads(shown.stdout)["status"] == "Succeeded", shown
    # It has ended: there is nothing to cancel, and that is said.
    assert cancel.returncode == 1 and "the operation has ended: it is Succeeded" in cancel.stderr
    (entry,) = json.loads(referrers.stdout)["manifests"]
    assert entry["artifactType"] == STREAMING and entry["digest"].startswith("sha256:")
    assert referrers.stdout == again.stdout
    attributes = json.loads(repository.stdout)
    assert attributes["artifactStreaming"] == {"convertPushedImages": False}
    assert "changeableAttributes" in attributes
    password = token.stdout.strip()
    assert token.returncode == 0 and token.stdout == password + "\n", token.stderr
    with_token = Calls(guarded.host, basic("teleport-token", password))
    assert with_token("GET", "/v2/guide/app/manifests/v1").status == 200
    assert with_token("DELETE", "/v2/guide/app/manifests/v1").status in (403, 404)


def push_slow_image(guarded, repository: str, at) -> None:
    subprocess.run([needs("skopeo"), "--insecure-policy", "copy", "--quiet",
                    "--dest-tls-verify=false", "--dest-creds", f"owner:{PEOPLE['owner']}",
                    f"oci:{slow_image(at).layout}:latest",
                    f"docker://{guarded.host}/{repository}:v1"], check=True, timeout=120)


def test_the_guide_cancels_an_operation_that_runs(guarded, guide, tmp_path):
    push_slow_image(guarded, "guide/slow", tmp_path / "slow")
    started = guide("runnel artifact-streaming create --image guide/slow:v1 --no-wait")
    operation = json.loads(started.stdout)["id"]
    guarded.hold_worker()
    show = "runnel artifact-streaming operation show --registry ACR --image guide/slow:v1"
    daemons.wait_until(lambda: json.loads(guide(show).stdout)["status"] == "Running", 60,
                       "a running operation")

    canceled = guide("runnel artifact-streaming operation cancel --registry ACR "
                     "--repository guide/slow --id ID", operation)

    assert canceled.returncode == 0, canceled.stderr
    answer = json.loads(canceled.stdout)
    assert (answer["name"], answer["status"]) == ("Cancel: ArtifactStreamingConversion", "Canceled")
    assert json.loads(guide(show).stdout)["status"] == "Canceled"
    daemons.wait_until(lambda: guarded.workers() == [], 10, "the end of the worker")


def test_the_guide_makes_the_artifact_of_a_restored_image_again(owner, guide):
    """It comes back with the image; one that was deleted before is made again."""
    create = "runnel artifact-streaming create --image guide/back:v1"
    restore = "runnel manifest restore --registry ACR -n guide/back:v1"

    def delete(what: str) -> None:
        done = guide(f"runnel {what} --registry ACR --image guide/back:v1 --yes")
        assert done.returncode == 0, done.stderr

    def artifacts() -> list[str]:
        shown = guide("runnel manifest list-referrers --registry ACR -n guide/back:v1")
        return [each["digest"] for each in json.loads(shown.stdout)["manifests"]]

    push_layered_image(owner, "guide/back")
    assert guide(create).returncode == 0
    made = artifacts()
    assert len(made) == 1
    delete("repository delete")
    assert guide(restore).returncode == 0
    again = guide(create)
    assert again.returncode == 0 and "already exists. Skipping request." in again.stderr
    assert artifacts() == made

    delete("artifact-streaming delete")
    delete("repository delete")
    assert guide(restore).returncode == 0
    assert artifacts() == []
    again = guide(create)
    assert again.returncode == 0 and json.loads(again.stdout)["status"] == "Succeeded", again
    assert artifacts() == made


def test_the_guides_token_sees_the_layers_expand(guarded, owner, guide, tmp_path):
    needs("curl")
    made = guide("runnel token create --name expansion-token --registry ACR "
                 "--scope-map _repositories_pull --query credentials.passwords[0].value -o tsv")
    push_layered_image(owner, "guide/old")
    environment = {**os.environ, "ACR_USER": "expansion-token", "ACR_PWD": made.stdout.strip(),
                   "TELEPORT_POLL_SECONDS": "0.1"}
    check = [str(SCRIPTS / "check-expansion.sh"), guarded.host, "guide/old", "v1", "--debug"]
    before = subprocess.run(check, env=environment, capture_output=True, text=True, timeout=60,
                            check=False)
    assert before.returncode == 0, before.stderr
    assert before.stdout.splitlines()[-2:] == [
        "Status: 404", f"Teleport: {guarded.host}-guide/old:v1 not enabled"]

    assert owner("PATCH", "/acr/v1/guide/old", b'{"teleportEnabled": true}').status == 200
    push_slow_image(guarded, "guide/old", tmp_path / "slow")
    worker = guarded.hold_worker()
    with subprocess.Popen(check, env=environment, stdout=subprocess.PIPE, text=True) as script:
        try:
            lines = iter(script.stdout.readline, "")
            assert "Teleport: expanding layers\n" in lines
            os.kill(worker, signal.SIGCONT)
            assert [*lines][-2:] == ["Status: 200\n", "Teleport: layers ready\n"]
            assert script.wait(60) == 0
        finally:
            script.kill()


# Usage --------------------------------------------------------------------------------------------


def test_wrong_usage_is_exit_code_2_and_a_missing_registry_says_where_to_name_it(run):
    run("repository", "list", "--query", "[", code=2, said="query: at 2")
    run("repository", "list", "-o", "xml", code=2, said="xml")
    run("manifest", "show", code=2)
    run("nosuch", code=2, said="there is no command `runnel nosuch`: `runnel --help` lists")
    run("repository", "nosuch", code=2, said="`runnel repository --help` lists")
    run("repository", "list", code=2, said="RUNNEL_REGISTRY", RUNNEL_REGISTRY="")
    run("repository", "list", "-r", "https://a.example", code=2, said="without https://")
    run("repository", "list", "-r", "no-such", "--suffix", "invalid", "--timeout", "5", code=1,
        said="no-such.invalid")


# Standard output ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_list(served):
    """A command that prints lines through standard output's buffer, more than it holds."""
    call = Calls(served.host)
    for n in range(40):
        push_image(call, "output/app", f"v{n}")
        assert call("DELETE", f"/v2/output/app/manifests/v{n}").status == 202
    call.close()
    return ("registry", "deleted", "--json", "--repository", "output/app", "--data",
            str(served.directory / "data"))


SHORT = ("version",)
HELP = ("node", "--help")


def prints_to(target: int, *command: str, **more) -> tuple[int, str]:
    done = subprocess.run([services.program(), *command], stdout=target, stderr=subprocess.PIPE,
                          text=True, timeout=60, check=False, **more)
    return done.returncode, done.stderr


def prints_to_nobody(*command: str, **more) -> tuple[int, str]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return prints_to(writer, *command, **more)
    finally:
        os.close(writer)


def test_output_that_cannot_be_written_is_a_failure(long_list):
    done = subprocess.run([services.program(), *long_list], capture_output=True, timeout=60,
                          check=True)
    assert len(done.stdout) > 6000
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        for command in (SHORT, long_list):
            assert prints_to(full, *command) == (
                1, "runnel: standard output: No space left on device\n"), command
        code, said = prints_to(full, *HELP)
        assert code == 1 and said.startswith("runnel: standard output: ")
        # A failure of the command itself stays what it was.
        code, said = prints_to(full, "registry", "usage", "--no-such-flag")
        assert code == 2 and "standard output" not in said
    finally:
        os.close(full)


def test_a_reader_that_has_gone_is_no_failure(long_list):
    for command in (SHORT, HELP, long_list):
        assert prints_to_nobody(*command) == (-signal.SIGPIPE, ""), command
    # Below a supervisor that ignores SIGPIPE, which children inherit.
    for command in (SHORT, HELP):
        assert prints_to_nobody(*command, restore_signals=False) == (0, ""), command
    assert prints_to_nobody(*long_list, restore_signals=False) == (1, "")  # it was cut short


# Help and completion ------------------------------------------------------------------------------


def tree_of(*path: str) -> dict[tuple[str, ...], str]:
    """Every command's help, by its words."""
    done = subprocess.run([services.program(), *path, "--help"], capture_output=True, text=True,
                          timeout=60, check=True)
    found = {path: done.stdout}
    below = done.stdout.partition("\nSubcommands:\n")[2].partition("\n\n")[0]
    for line in below.splitlines():
        if line[:2] == "  " and line[2:3].strip():
            found |= tree_of(*path, line.split()[0])
    return found


def test_every_command_has_help_with_an_example_of_itself(runnel):  # noqa: ARG001
    tree = tree_of()

    assert len(tree) > 50, sorted(tree)
    for path, text in tree.items():
        (example,) = [line for line in text.splitlines() if line.startswith("Example: ")]
        assert " ".join(("runnel", *path)) in example, path


def said_on_pages() -> str:
    return "\n".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def flags_of(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", text))


def test_every_flag_of_a_command_is_on_a_page(runnel):  # noqa: ARG001
    offered_flags = {flag for text in tree_of().values() for line in text.splitlines()
                     if re.match(r" {2,4}-", line)
                     for flag in flags_of(re.split(r" {2,}| TEXT", line.strip())[0])}

    assert {"--hosts-dir", "--no-unpack", "-t"} <= offered_flags
    assert offered_flags - flags_of(said_on_pages()) == {"-h", "--version"}


def test_every_command_that_a_page_shows_is_there_with_its_flags(runnel):  # noqa: ARG001
    tree = tree_of()
    shown = re.findall(r"(?:^ {4}|`)runnel ([a-z][^`\n#]*)", said_on_pages(), re.MULTILINE)

    assert len(shown) > 60
    for words in shown:
        path: tuple[str, ...] = ()
        for word in words.split():
            if (*path, word) not in tree:
                break
            path = (*path, word)
        assert path, words
        assert flags_of(re.split(r" {3,}", words)[0]) <= flags_of(tree[path]), words


def completed(*words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = ('source <("$0" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
              'declare -F _runnel >/dev/null || exit 9; complete -p runnel >/dev/null || exit 8; '
              '_runnel; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, services.program(), *words], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.split()


def test_bash_completes_commands_and_flags(runnel):  # noqa: ARG001
    assert completed("runnel", "arti") == ["artifact-streaming"]
    assert set(completed("runnel", "artifact-streaming", "operation", "")) >= {
        "show", "list", "cancel", "--help"}
    assert completed("runnel", "manifest", "list-d") == ["list-deleted", "list-deleted-tags"]
    assert completed("runnel", "manifest", "list-deleted", "--regi") == ["--registry"]
    assert completed("runnel", "manifest", "list-referrers", "-r", "host", "--na") == ["--name"]
    assert completed("runnel", "node", "--wor") == []  # hidden: the node's own business
    assert completed("runnel", "convert") == ["convert"]  # not convert-worker
    assert completed("runnel", "nonsense", "manif") == ["manifest"]


@pytest.mark.parametrize("command", [
    ("artifact-streaming", "create"), ("artifact-streaming", "create", "--all"),
    ("artifact-streaming", "update", "--repository", "a"),
    ("artifact-streaming", "operation", "show"),
    ("artifact-streaming", "operation", "cancel", "--id", "x"),
    ("repository", "show"), ("repository", "untag", "--image", "a@sha256:" + "0" * 64),
    ("repository", "update", "--repository", "a"), ("repository", "show", "--image", "A:B:C"),
    ("manifest", "list", "-n", "a//b"), ("verify", "NOT AN IMAGE"), ("ls", "NOT AN IMAGE"),
    ("convert", "NOT AN IMAGE"), ("pull", "NOT AN IMAGE"), ("node", "profile", "NOT AN IMAGE"),
    ("node", "repull", "NOT AN IMAGE"), ("node", "why", "x", "-o", "picture.png"),
    ("registry", "gc"), ("config", "soft-delete", "update"),
    ("repository", "list", "--registry", "https://a.b"), ("token", "update", "-n", "ci")])
def test_wrong_usage_is_told_from_failure(run, command):
    assert run(*command, code=2, said="runnel: Usage error: ") == ""


def test_a_command_that_knows_no_registry_is_wrong_usage(run):
    run("repository", "list", code=2, said="which registry?", RUNNEL_REGISTRY="")


def offered(shell: str, script: str, *arguments: str) -> list[str]:
    """What another shell than bash offers, one a line."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed: tools/packages install test")
    done = subprocess.run([program, "-c", script, *arguments], capture_output=True, text=True,
                          timeout=60, check=False, env={**os.environ, "R": services.program()})
    assert done.returncode == 0 and done.stderr == "", done
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


def test_zsh_completes_commands_and_flags(runnel):  # noqa: ARG001
    def completed(*typed: str) -> list[str]:
        # compadd and compdef are there while somebody types only: these stand for them.
        return offered("zsh", 'compdef() { :; }; compadd() { shift; print -l -- "$@"; }; '
                              'eval "$("$R" completion zsh)"; words=("$0" "$@"); CURRENT=${#words}; '
                              '_runnel', *typed)

    assert "artifact-streaming" in completed("runnel", "")
    assert set(completed("runnel", "artifact-streaming", "operation", "")) >= {
        "show", "list", "cancel", "--help"}
    assert "--registry" in completed("runnel", "manifest", "list-deleted", "-r", "host", "")
    assert "convert-worker" not in completed("runnel", "")


def test_fish_completes_commands_and_flags(runnel):  # noqa: ARG001
    def completed(line: str) -> list[str]:
        return offered("fish", f'"$R" completion fish | source; complete -C "{line}"')

    assert completed("runnel arti") == ["artifact-streaming"]
    assert set(completed("runnel artifact-streaming operation ")) >= {"show", "list", "cancel"}
    assert completed("runnel manifest list-deleted --regi") == ["--registry"]
    assert "convert-worker" not in completed("runnel ")


def test_completion_of_every_shell_has_every_command(runnel):  # noqa: ARG001
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([services.program(), "completion", shell], capture_output=True,
                                text=True, timeout=60, check=True).stdout
        for path in tree_of():
            assert not path or path[-1] in script, (shell, path)
    assert subprocess.run([services.program(), "completion", "tcsh"], capture_output=True,
                          check=False).returncode == 2

"""`runnel role assignment` and `runnel config soft-delete`: what an Owner manages at run time."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
from registry_calls import Calls, basic, image, push_blob, push_manifest
from sandbox import daemons, services
from test_registry_security import bcrypt

PEOPLE = {"owner": "own", "alice": "al", "bob": "bo"}
CONFIG = """\
version = 1
soft_delete_days = 5
[auth]
htpasswd = "{people}"
default_roles = {roles}
[users.owner]
roles = ["Owner"]
"""


class Managed(services.Registry):
    """Who is in no [users.NAME] may do what `roles` say: nothing, unless a test says otherwise."""

    roles = "[]"

    def _argv(self) -> list[str]:
        people = self.directory / "htpasswd"
        people.write_text("".join(f"{name}:{bcrypt(word)}\n" for name, word in PEOPLE.items()))
        config = self.directory / "registry.toml"
        config.write_text(CONFIG.format(people=people, roles=self.roles))
        return [*super()._argv(), "--config", str(config)]

    def start_again_after_a_kill(self) -> None:
        daemons.end([self.daemon.pid], signal.SIGKILL)
        self.start()


@pytest.fixture
def managed(runnel, tmp_path):  # noqa: ARG001
    made = Managed(tmp_path / "managed")
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def run(managed):
    def go(*command: str, user: str = "owner", code: int = 0, said: str = "") -> str:
        done = subprocess.run([services.program(), *command, "--registry", managed.host, "-u", user,
                               "--password-stdin"], input=PEOPLE[user], capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.returncode == code, (command, done.stderr)
        assert said in done.stderr, (command, done.stderr)
        return done.stdout

    return go


@pytest.fixture
def ask(run):
    return lambda *command, **more: json.loads(run(*command, **more))


@pytest.fixture
def status(managed):
    def of(user: str, target: str, method: str = "GET") -> int:
        call = Calls(managed.host, basic(user, PEOPLE[user]))
        try:
            return call(method, target).status
        finally:
            call.close()

    return of


@pytest.fixture
def pushed(managed):
    """The digest of team/app:v1."""
    call = Calls(managed.host, basic("owner", PEOPLE["owner"]))
    push_blob(call, "team/app", b"{}")
    digest = push_manifest(call, "team/app", "v1", image())["Docker-Content-Digest"]
    call.close()
    return digest


ROLE = ("role", "assignment")
V1 = "/v2/team/app/manifests/v1"


def test_a_role_assignment_from_its_making_to_its_end(ask, run, status, managed, pushed):  # noqa: ARG001
    assert status("alice", V1) == 404  # not even that it is there

    made = ask(*ROLE, "create", "--assignee", "alice", "--role", "AcrPull", "--scope", "team/*")
    assert made["principalName"] == "alice" and made["principalType"] == "User"
    assert made["roleDefinitionName"] == "AcrPull" and made["scope"] == "team/*"
    assert made["createdBy"] == "user:owner" and made["createdOn"].endswith("Z")
    assert made["id"].endswith("/" + made["name"])
    assert status("alice", V1) == 200
    assert status("bob", V1) == 404
    assert status("alice", "/v2/team/app/manifests/" + pushed, "DELETE") == 403

    assert ask(*ROLE, "create", "--assignee", "alice", "--role", "AcrPull", "--scope",
               "team/*") == made  # asked for twice, made once
    ask(*ROLE, "create", "--assignee", "alice", "--role", "AcrDelete", "--scope", "team/app")
    listed = run(*ROLE, "list", "--assignee", "alice", "--query",
                 "[].[principalName,roleDefinitionName,scope]", "-o", "tsv")
    assert sorted(listed.splitlines()) == ["alice\tAcrDelete\tteam/app", "alice\tAcrPull\tteam/*"]

    managed.start_again_after_a_kill()  # acknowledged is durable
    assert status("alice", V1) == 200
    run(*ROLE, "delete", "--assignee", "alice", "--role", "AcrDelete")
    assert status("alice", "/v2/team/app/manifests/" + pushed, "DELETE") == 403
    run(*ROLE, "delete", "--ids", made["id"])
    assert status("alice", V1) == 404
    assert ask(*ROLE, "list", "--assignee", "alice") == []
    run(*ROLE, "delete", "--assignee", "alice", code=1,
        said="No matched assignments were found to delete")


def test_scopes_choose_which_assignments_are_listed(ask):
    azure = ("/subscriptions/0/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/r")
    ask(*ROLE, "create", "--assignee", "bob", "--role", "AcrPush", "--scope", azure)
    ask(*ROLE, "create", "--assignee", "bob", "--role", "AcrPull",
        "--scope", f"{azure}/repositories/team/app")
    ask(*ROLE, "create", "--assignee", "bob", "--role", "AcrPull", "--scope", "team/*")

    def scopes(*more: str) -> list[str]:
        return sorted(each["scope"] for each in ask(*ROLE, "list", "--assignee", "bob", *more))

    assert scopes() == scopes("--all") == ["*", "team/*", "team/app"]
    assert scopes("--scope", "team/app") == ["team/app"]
    assert scopes("--scope", "team/app", "--include-inherited") == ["*", "team/*", "team/app"]
    assert scopes("--scope", azure) == ["*"]
    assert scopes("--role", "acrpush") == ["*"]


def test_what_the_configuration_gives_is_listed_and_stays(ask, run, status):
    owner = ask(*ROLE, "list", "--assignee", "owner")
    assert [(each["roleDefinitionName"], each["scope"], each["createdBy"]) for each in owner] == [
        ("Owner", "*", "registry.toml")]
    run(*ROLE, "delete", "--assignee", "owner", code=1, said="registry.toml")
    assert status("owner", "/runnel/v1/_tokens") == 200


def test_only_an_owner_gives_roles_and_an_assigned_one_does(run, ask):
    for command in [("list",), ("create", "--assignee", "alice", "--role", "Owner"),
                    ("delete", "--assignee", "bob")]:
        run(*ROLE, *command, user="alice", code=1, said="Owner")
    ask(*ROLE, "create", "--assignee", "alice", "--role", "Owner")
    assert ask(*ROLE, "list", "--assignee", "alice", user="alice")[0]["scope"] == "*"
    run(*ROLE, "delete", "--assignee", "alice")
    run(*ROLE, "list", user="alice", code=1, said="Owner")


def test_all_assignments_are_deleted_only_when_somebody_says_so(run, ask):
    ask(*ROLE, "create", "--assignee", "alice", "--role", "AcrPull")
    run(*ROLE, "delete", code=1, said="use --yes")
    assert len(ask(*ROLE, "list", "--assignee", "alice")) == 1
    run(*ROLE, "delete", "--yes")
    assert ask(*ROLE, "list", "--assignee", "alice") == []


def test_a_role_that_cannot_be_given_says_why(run):
    for more, words in [(("--assignee", "nobody", "--role", "AcrPull"), "password file"),
                        (("--assignee", "token:ci", "--role", "AcrPull"), "scope map"),
                        (("--assignee", "alice", "--role", "King"), "AcrPull, AcrPush"),
                        (("--assignee", "alice", "--role", "AcrPull", "--scope", "a*b"), "pattern")]:
        run(*ROLE, "create", *more, code=1, said=words)
    run(*ROLE, "create", "--assignee", "alice", code=2, said="--role")
    run(*ROLE, "create", "--assignee", "alice", "--role", "AcrPull", "--scope", "/subscriptions/0",
        code=2, said="resource ID of a registry")
    run(*ROLE, "delete", "--ids", "x", "--role", "AcrPull", code=2, said="--ids")
    run(*ROLE, "delete", "--ids", "none-such", code=1, said="none-such")


def test_who_is_not_configured_has_the_default_roles(ask, managed, status, pushed):  # noqa: ARG001
    managed.stop()
    managed.roles = '["AcrPull"]'
    managed.start()
    assert status("bob", V1) == 200
    ask(*ROLE, "create", "--assignee", "bob", "--role", "AcrDelete", "--scope", "team/app")
    assert status("bob", "/v2/team/app/manifests/v1", "DELETE") == 202


# config soft-delete -------------------------------------------------------------------------------

POLICY = ("config", "soft-delete")


def test_the_soft_delete_policy_is_the_configurations_until_it_is_changed(ask, run, managed):
    assert ask(*POLICY, "show") == {"lastUpdatedTime": None, "retentionDays": 5,
                                    "status": "enabled"}
    changed = ask(*POLICY, "update", "--days", "30")
    assert changed["retentionDays"] == 30 and changed["status"] == "enabled"
    assert changed["lastUpdatedTime"].endswith("Z")
    managed.start_again_after_a_kill()  # acknowledged is durable
    assert ask(*POLICY, "show") == changed
    off = ask(*POLICY, "update", "--status", "Disabled", "-y")
    assert off["status"] == "disabled" and off["retentionDays"] == 30
    assert run(*POLICY, "show", "--query", "status", "-o", "tsv") == "disabled\n"


def test_the_soft_delete_policy_decides_what_can_come_back(ask, run, pushed, managed):
    run("manifest", "delete", "-n", "team/app@" + pushed, "--yes")
    kept = ask("manifest", "list-deleted", "-n", "team/app")
    assert [each["digest"] for each in kept] == [pushed]
    ask(*POLICY, "update", "--days", "90")
    later = ask("manifest", "list-deleted", "-n", "team/app")
    assert later[0]["expiresAfter"] > kept[0]["expiresAfter"]
    run("manifest", "restore", "-n", "team/app:v1", "--yes")

    run(*POLICY, "update", "--status", "disabled", code=1, said="use --yes")
    run(*POLICY, "update", "--status", "disabled", "--yes", said="cannot")
    call = Calls(managed.host, basic("owner", PEOPLE["owner"]))
    assert call("DELETE", "/v2/team/app/manifests/" + pushed).status == 202
    call.close()
    assert ask("manifest", "list-deleted", "-n", "team/app") == []


def test_only_an_owner_changes_the_soft_delete_policy(run):
    run(*POLICY, "show", user="alice", code=1, said="Owner")
    run(*POLICY, "update", "--days", "3", "--yes", user="alice", code=1, said="Owner")


def test_a_wrong_soft_delete_policy_is_wrong_usage(run):
    run(*POLICY, "update", code=2, said="--days or --status")
    run(*POLICY, "update", "--days", "91", code=2)
    run(*POLICY, "update", "--status", "maybe", code=2)
    run(*POLICY, "update", "--days", "1", code=1, said="use --yes")  # shorter: something is lost

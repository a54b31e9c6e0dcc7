"""Unmodified clients log in to the registry, and get what they may have."""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import json
import urllib.error
import urllib.parse
import urllib.request

import pytest
from needs import needs
from sandbox import images, services
from sandbox.containerd import CommandError, run
from test_registry_clients import built  # noqa: F401  (a fixture)

PEOPLE = {"writer": "w-secret", "reader": "r-secret", "pusher": "p-secret"}


def bcrypt(password: str) -> str:
    """As `htpasswd -B` hashes it, at the lowest cost."""
    library = ctypes.CDLL(ctypes.util.find_library("crypt"))
    library.crypt.restype = ctypes.c_char_p
    return library.crypt(password.encode(), b"$2y$04$abcdefghijklmnopqrstuu").decode()


class GuardedRegistry(services.Registry):
    def _argv(self) -> list[str]:
        people = self.directory / "htpasswd"
        people.write_text("".join(f"{name}:{bcrypt(password)}\n" for name, password in PEOPLE.items()))
        config = self.directory / "registry.toml"
        config.write_text(
            "version = 1\n"
            "[auth]\n"
            f"htpasswd = \"{people}\"\n"
            "anonymous_pull = [\"public/*\"]\n"
            "[users.reader]\nroles = [\"AcrPull\"]\nrepositories = [\"team/*\"]\n"
            "[users.pusher]\nroles = [\"AcrPush\"]\n"
            "[users.writer]\nroles = [\"Converter\"]\n")
        return [*super()._argv(), "--config", str(config)]


@pytest.fixture
def guarded(runnel, tmp_path):  # noqa: ARG001
    made = GuardedRegistry(tmp_path / "registry")
    try:
        yield made.start()
    finally:
        made.stop()


def creds(name: str) -> str:
    return f"{name}:{PEOPLE[name]}"


def push(layout, reference: str, *options: str) -> str:
    return run([needs("skopeo"), "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", *options,
                f"oci:{layout}:latest", f"docker://{reference}"], seconds=120)


def inspect(reference: str, *options: str) -> dict:
    return json.loads(run([needs("skopeo"), "inspect", "--tls-verify=false", *options,
                           f"docker://{reference}"], seconds=60))


def test_skopeo_pushes_and_pulls_what_its_name_may(guarded, built):  # noqa: F811
    reference = f"{guarded.host}/team/app:1"

    push(built, reference, "--dest-creds", creds("writer"))

    assert inspect(reference, "--creds", creds("reader"))["RepoTags"] == ["1"]
    with pytest.raises(CommandError, match="unauthorized|authentication required"):
        inspect(reference, "--creds", "reader:wrong")
    with pytest.raises(CommandError, match="unauthorized|authentication required|log in|needs"):
        inspect(reference)
    with pytest.raises(CommandError, match="may not do this|denied"):
        push(built, f"{guarded.host}/team/app:2", "--dest-creds", creds("reader"))


def test_everyone_pulls_what_is_public(guarded, built):  # noqa: F811
    reference = f"{guarded.host}/public/app:1"
    push(built, reference, "--dest-creds", creds("writer"))

    assert inspect(reference)["RepoTags"] == ["1"]


def test_podman_logs_in(guarded, tmp_path):
    podman = needs("podman")
    auth = tmp_path / "auth.json"

    run([podman, "login", "--tls-verify=false", "--authfile", str(auth), "-u", "reader", "-p", PEOPLE["reader"],
         guarded.host])

    assert guarded.host in json.loads(auth.read_text())["auths"]
    with pytest.raises(CommandError):
        run([podman, "login", "--tls-verify=false", "--authfile", str(auth), "-u", "reader", "-p", "wrong",
             guarded.host])


def log_in(guarded, name: str, tmp_path, monkeypatch) -> None:
    config = tmp_path / "docker"
    config.mkdir()
    secret = base64.b64encode(creds(name).encode()).decode()
    (config / "config.json").write_text(json.dumps({"auths": {guarded.host: {"auth": secret}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))


def test_runnel_converts_with_dockers_configuration(guarded, built, tmp_path, monkeypatch):  # noqa: F811
    reference = f"{guarded.host}/team/app:1"
    push(built, reference, "--dest-creds", creds("writer"))
    log_in(guarded, "writer", tmp_path, monkeypatch)

    services.convert(reference)

    assert "128.0 KiB" in run([services.program(), "inspect", reference])
    status, headers, _ = images.request(f"http://{guarded.host}/v2/")
    assert status == 401 and headers["www-authenticate"].startswith("Bearer realm=\"http://")


@pytest.mark.parametrize("name, needs_right", [("reader", "content/write"), ("pusher", "content/convert")])
def test_a_conversion_by_who_may_not_push_it_ends_before_it_begins(
        guarded, built, tmp_path, monkeypatch, name, needs_right):  # noqa: F811
    reference = f"{guarded.host}/team/app:1"
    push(built, reference, "--dest-creds", creds("writer"))
    kept = lambda: sorted((guarded.directory / "data" / "content").rglob("*"))
    before = kept()
    assert any(path.is_file() for path in before)
    log_in(guarded, name, tmp_path, monkeypatch)

    with pytest.raises(CommandError) as refused:
        services.convert(reference)

    words = str(refused.value)
    assert (f"runnel: {reference}: nothing was converted, for it cannot be pushed: {guarded.host}/team/app: "
            in words)
    assert f"user:{name} may not do this in team/app: it needs {needs_right}" in words
    assert (f"--assignee NAME --role Converter --scope team/app`), or have the registry convert it with "
            f"`runnel artifact-streaming create -n {guarded.host} --image team/app:1`" in words)
    assert kept() == before


NOBODY = "00000000-0000-0000-0000-000000000000"


def token_for(guarded, scope: str, user: str, password: str, **more: str) -> dict:
    form = urllib.parse.urlencode({"grant_type": "password", "username": user, "password": password,
                                   "service": guarded.host, "scope": scope, **more})
    with urllib.request.urlopen(f"http://{guarded.host}/oauth2/token", form.encode(),
                                timeout=30) as answer:
        return json.load(answer)


def test_a_token_gives_another_one_that_may_no_more_and_ends_no_later(guarded):
    """As ACR's clients do it: a token to push with asks for one to pull with."""
    both = token_for(guarded, "repository:team/app:pull,push", "writer", PEOPLE["writer"])
    reader = token_for(guarded, "repository:team/app:pull", NOBODY, both["access_token"],
                       access_type="offline")
    more = token_for(guarded, "repository:team/app:pull,push repository:team/other:pull", NOBODY,
                     reader["access_token"])

    assert both["scope"] == "repository:team/app:pull,push"
    assert reader["scope"] == more["scope"] == "repository:team/app:pull"
    assert reader["expires_in"] <= both["expires_in"]
    assert "refresh_token" not in reader
    for wrong in ("reader", "somebody"):  # a token is no password of a name
        with pytest.raises(urllib.error.HTTPError) as refused:
            token_for(guarded, "repository:team/app:pull", wrong, both["access_token"])
        assert refused.value.code == 401

"""What ends in its time, and what is kept until then: a registry that is started again later."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import later
import pytest
from later import DAY, HOUR
from needs import needs
from registry_calls import (IMAGE, Calls, basic, descriptor, digest, image, push_blob, push_image,
                            push_manifest)
from sandbox import daemons, services
from test_registry_care import care, collect, removed_blobs
from test_registry_security import PEOPLE, Guarded, bearer, token_of


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return later.build(tmp_path_factory.mktemp("clock"), needs("cc"))


class InTime:
    """A registry that can be started again at another time, and calls to it."""

    def __init__(self, registry, library):
        self.registry, self.library = registry, library
        self.calls: list[Calls] = []
        start = registry.daemon.start
        self.ahead = 0
        registry.daemon.start = lambda argv, env=None: start(
            argv, later.environment(self.library, self.ahead))

    def at(self, seconds: int) -> "InTime":
        self.stop()
        self.ahead = seconds
        self.registry.start()
        return self

    def stop(self) -> None:
        for call in self.calls:
            call.close()
        self.calls.clear()
        self.registry.stop()

    def call(self, name: str | None = None, password: str | None = None) -> Calls:
        authorization = basic(name, password or PEOPLE[name]) if name else None
        self.calls.append(Calls(self.registry.host, authorization))
        return self.calls[-1]

    @property
    def data(self):
        return self.registry.directory / "data"

    def is_stored(self, content: bytes) -> bool:
        name = digest(content).partition(":")[2]
        return (self.data / "content/blobs/sha256" / name[:2] / name).exists()


@pytest.fixture
def plain(runnel, tmp_path, library):  # noqa: ARG001
    registry = services.Registry(tmp_path / "registry")
    registry.directory.mkdir()
    config = registry.directory / "registry.toml"
    config.write_text("version = 1\nsoft_delete_days = 3\n")
    argv = registry._argv
    registry._argv = lambda: [*argv(), "--config", str(config)]
    made = InTime(registry, library)
    yield made
    made.stop()


@pytest.fixture
def guarded(runnel, tmp_path, library):  # noqa: ARG001
    made = InTime(Guarded(tmp_path / "guarded"), library)
    yield made
    made.stop()


# What the collector leaves ------------------------------------------------------------------------


def test_a_blob_stays_that_head_said_need_not_be_pushed(plain, monkeypatch):
    call = plain.at(0).call()
    asked, other, source = b"asked for", b"not asked for", b"mounted"
    for data in (asked, other, source):
        push_blob(call, "a", data)
    call = plain.at(23 * HOUR).call()
    assert call("HEAD", f"/v2/a/blobs/{digest(asked)}").status == 200
    mounted = call("POST", f"/v2/b/blobs/uploads/?mount={digest(source)}&from=a")
    assert mounted.status == 201

    for name, value in later.environment(plain.library, 25 * HOUR).items():
        monkeypatch.setenv(name, value)
    assert removed_blobs(collect(plain.data)) == 1
    monkeypatch.undo()

    call = plain.at(25 * HOUR).call()
    assert call("HEAD", f"/v2/a/blobs/{digest(other)}").status == 404
    assert call("HEAD", f"/v2/a/blobs/{digest(source)}").status == 404
    assert call("GET", f"/v2/b/blobs/{digest(source)}").body == source
    push_blob(call, "a", b"{}")
    push_manifest(call, "a", "v1", image(layers=[descriptor(asked, "application/x-layer")]))
    assert call("GET", f"/v2/a/blobs/{digest(asked)}").body == asked


def test_deletions_end_after_the_configured_days(plain, monkeypatch):
    call = plain.at(0).call()
    layer = b"of a deleted image"
    push_image(call, "a/b", "v1", layer)
    assert call("DELETE", "/acr/v1/a/b").status == 202
    push_blob(call, "c", b"nothing needs this")

    # It collects when it starts, but a clock that is ahead then may be set soon.
    call = plain.at(3 * DAY + HOUR).call()
    daemons.wait_until(lambda: not plain.is_stored(b"nothing needs this"), 30, "a collection")

    def is_kept() -> bool:
        listed = len(call("GET", "/runnel/v1/_soft-delete").json()["deletions"]) == 1
        assert plain.is_stored(layer) == listed
        return listed

    assert is_kept()
    for ahead, kept in ((3 * DAY - HOUR, True), (3 * DAY + HOUR, False)):
        with monkeypatch.context() as patch:
            for name, value in later.environment(plain.library, ahead).items():
                patch.setenv(name, value)
            care("gc", plain.data, "--config", str(plain.data.parent / "registry.toml"))
        assert is_kept() == kept


# What passwords begin -----------------------------------------------------------------------------


TARGET = "/v2/team/app/manifests/v1"
SCOPE = "repository:team/app:pull"


def make(owner: Calls, which: str, days: int) -> str:
    made = owner("POST", "/runnel/v1/_tokens/ci:generate",
                 json.dumps({"name": which, "days": days}).encode())
    assert made.status == 200
    return made.json()["value"]


def begin(guarded: InTime) -> Calls:
    """An owner of a registry with an image and a token that may pull it."""
    owner = guarded.at(0).call("owner")
    push_image(owner, "team/app", "v1")
    assert owner("PUT", "/runnel/v1/_tokens/ci", b'{"scopeMap": "_repositories_pull"}').status == 200
    return owner


def refresh_token(call: Calls) -> str:
    answer = call("GET", f"/oauth2/token?service=x&offline_token=true&scope={SCOPE}")
    assert answer.status == 200
    return answer.json()["refresh_token"]


def refreshed(call: Calls, token: str):
    return call("POST", "/oauth2/token", urlencode({
        "grant_type": "refresh_token", "service": "x", "access_type": "offline", "scope": SCOPE,
        "refresh_token": token}).encode())


def test_each_password_of_a_token_ends_at_its_own_time(guarded):
    owner = begin(guarded)
    one, other = make(owner, "password1", 1), make(owner, "password2", 30)

    def statuses() -> list[int]:
        return [guarded.call("ci", password)("HEAD", TARGET).status for password in (one, other)]

    assert statuses() == [200, 200]
    guarded.at(DAY - 120)
    assert statuses() == [200, 200]
    guarded.at(DAY + 120)
    assert statuses() == [401, 200]
    guarded.at(30 * DAY + 120)
    assert statuses() == [401, 401]


def test_what_came_of_a_password_ends_with_it(guarded):
    owner = begin(guarded)
    password = make(owner, "password1", 1)
    ci = guarded.at(DAY - 120).call("ci", password)
    access, refresh = token_of(ci, SCOPE), refresh_token(ci)
    assert bearer(guarded.call(), access)("HEAD", TARGET).status == 200
    assert refreshed(guarded.call(), refresh).status == 200

    guarded.at(DAY + 60)

    assert bearer(guarded.call(), access)("HEAD", TARGET).status == 401
    assert refreshed(guarded.call(), refresh).status == 401
    assert guarded.call("anybody", refresh)("HEAD", TARGET).status == 401


@pytest.mark.parametrize("anew", ["the password", "the token"])
def test_what_came_of_a_password_ends_when_it_is_made_anew(guarded, anew):
    owner = begin(guarded)
    ci = guarded.call("ci", make(owner, "password1", 30))
    access, refresh = token_of(ci, SCOPE), refresh_token(ci)
    owner = guarded.at(60).call("owner")
    assert bearer(guarded.call(), access)("HEAD", TARGET).status == 200

    if anew == "the token":
        assert owner("DELETE", "/runnel/v1/_tokens/ci").status == 204
        assert owner("PUT", "/runnel/v1/_tokens/ci",
                     b'{"scopeMap": "_repositories_admin"}').status == 200
    password = make(owner, "password1", 30)

    assert bearer(guarded.call(), access)("HEAD", TARGET).status == 401
    assert refreshed(guarded.call(), refresh).status == 401
    assert guarded.call("ci", password)("HEAD", TARGET).status == 200
    assert refreshed(guarded.call(), refresh_token(guarded.call("ci", password))).status == 200


def test_a_clock_that_goes_back_locks_no_token_out(guarded):
    begin(guarded)
    password = make(guarded.at(2 * HOUR).call("owner"), "password1", 30)

    ci = guarded.at(0).call("ci", password)

    assert bearer(guarded.call(), token_of(ci, SCOPE))("HEAD", TARGET).status == 200
    assert refreshed(guarded.call(), refresh_token(ci)).status == 200


def test_what_came_of_a_password_ends_when_it_is_made_anew_by_a_clock_that_went_back(guarded):
    begin(guarded)
    owner = guarded.at(2 * HOUR).call("owner")
    old = guarded.call("ci", make(owner, "password1", 30))
    other = guarded.call("ci", make(owner, "password2", 30))
    access, refresh, others = token_of(old, SCOPE), refresh_token(old), refresh_token(other)
    make(guarded.at(0).call("owner"), "password1", 30)

    guarded.at(2 * HOUR)

    assert bearer(guarded.call(), access)("HEAD", TARGET).status == 401
    assert refreshed(guarded.call(), refresh).status == 401
    assert refreshed(guarded.call(), others).status == 200


def test_a_login_is_not_renewed_by_what_came_of_it(guarded):
    begin(guarded)
    refresh = refresh_token(guarded.call("reader"))
    renewed = refreshed(guarded.call(), refresh).json()
    ask = f"/oauth2/token?service=x&offline_token=true&scope={SCOPE}"
    by_password = guarded.call("anybody", refresh)("GET", ask).json()
    by_access = bearer(guarded.call(), renewed["token"])("GET", ask).json()
    form = urlencode({"grant_type": "password", "username": "anybody", "password": refresh,
                      "service": "x", "access_type": "offline", "scope": SCOPE}).encode()
    by_form = guarded.call()("POST", "/oauth2/token", form).json()
    for answer in (renewed, by_password, by_access, by_form):
        assert answer["token"] and "refresh_token" not in answer

    guarded.at(3 * HOUR - 60)
    assert refreshed(guarded.call(), refresh).status == 200
    guarded.at(3 * HOUR + 60)
    assert refreshed(guarded.call(), refresh).status == 401


def test_a_right_to_images_has_its_day_and_no_more(guarded):
    owner = begin(guarded)
    password = make(owner, "password1", 1)
    ci = guarded.at(DAY - HOUR).call("ci", password)
    form = urlencode({"grant_type": "access_token", "service": "x", "image": digest(image()),
                      "access_token": token_of(ci, SCOPE)}).encode()
    exchanged = guarded.call()("POST", "/oauth2/exchange", form)
    assert exchanged.status == 200
    right = exchanged.json()["refresh_token"]

    guarded.at(DAY + HOUR)
    assert guarded.call("ci", password)("HEAD", TARGET).status == 401
    again = refreshed(guarded.call(), right)
    assert again.status == 200 and "refresh_token" not in again.json()
    assert bearer(guarded.call(), again.json()["token"])("HEAD", TARGET).status == 200
    guarded.at(2 * DAY - HOUR + 60)
    assert refreshed(guarded.call(), right).status == 401

"""Who may do what, over raw HTTP: tokens, and the holes that other registries had.

Each of the second half is named after what somebody found elsewhere and tried here.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import tarfile
from urllib.parse import quote

import pytest
from converting_service import artifacts, ask, converted, ended, manifest
from registry_calls import (IMAGE, Calls, basic, bcrypt, descriptor, digest, image, push_blob,
                            push_image, push_manifest, target_of, with_query)
from sandbox import services

OUTSIDE = "https://registry.example:8443"
PEOPLE = {name: f"{name}-Pa55word" for name in ("owner", "writer", "reader", "other")}
CONFIG = """\
version = 1
external_url = "{outside}"
[auth]
htpasswd = "{people}"
anonymous_pull = ["public/*"]
[users.owner]
roles = ["Owner"]
[users.writer]
roles = ["AcrPush"]
repositories = ["team/*"]
[users.reader]
roles = ["AcrPull"]
repositories = ["team/*"]
[users.other]
roles = ["AcrPush", "AcrDelete"]
repositories = ["other/*"]
[limits]
failed_logins_per_minute = 3
manifests_per_minute = 50
[notices]
"public/old" = "moved to \\"public/new\\""
"""


class Guarded(services.Registry):
    def __init__(self, directory, more: str = ""):
        super().__init__(directory)
        self.more = more

    def _argv(self) -> list[str]:
        people = self.directory / "htpasswd"
        people.write_text("".join(f"{name}:{bcrypt(word)}\n" for name, word in PEOPLE.items()))
        config = self.directory / "registry.toml"
        config.write_text(CONFIG.format(outside=OUTSIDE, people=people) + self.more)
        return [*super()._argv(), "--config", str(config)]

    @property
    def said(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.directory.glob("*.log"))


@pytest.fixture(scope="module")
def guarded(runnel, tmp_path_factory):  # noqa: ARG001
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def login(guarded):
    """Calls as a person; as nobody in particular without a name."""
    made = []

    def as_(name: str | None = None, password: str | None = None) -> Calls:
        made.append(Calls(guarded.host, basic(name, password or PEOPLE.get(name, "")) if name else None))
        return made[-1]

    yield as_
    for call in made:
        call.close()


def bearer(call: Calls, token: str) -> Calls:
    call.authorization = f"Bearer {token}"
    return call


def token_of(call: Calls, *scopes: str) -> str:
    query = "&".join(f"scope={quote(scope)}" for scope in scopes)
    answer = call("GET", f"/oauth2/token?service=x&{query}")
    assert answer.status == 200
    assert answer.json()["token"] == answer.json()["access_token"]
    assert answer.json()["expires_in"] >= 60
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer.json()["issued_at"])
    return answer.json()["token"]


def make_token(login, name: str, actions: list[str], days: int | None = None) -> str:
    """The password of a new token."""
    owner = login("owner")
    assert owner("PUT", f"/runnel/v1/_scope-maps/{name}",
                 json.dumps({"actions": actions}).encode()).status == 200
    assert owner("PUT", f"/runnel/v1/_tokens/{name}",
                 json.dumps({"scopeMap": name}).encode()).status == 200
    made = owner("POST", f"/runnel/v1/_tokens/{name}:generate",
                 json.dumps({"name": "password1"} | ({"days": days} if days else {})).encode())
    assert made.status == 200
    return made.json()["value"]


# Tokens ------------------------------------------------------------------------------------------


def test_the_challenge_names_the_realm_that_clients_can_reach(login):
    ping = login()("GET", "/v2/")
    pull = login()("GET", "/v2/team/app/manifests/v1")
    push = login()("POST", "/v2/team/app/blobs/uploads/")

    assert [answer.status for answer in (ping, pull, push)] == [401, 401, 401]
    (line,) = ping.all("WWW-Authenticate")
    assert line.startswith(f'Bearer realm="{OUTSIDE}/oauth2/token",service="')
    assert "error=" not in line and "scope=" not in line
    assert 'scope="repository:team/app:pull"' in pull["WWW-Authenticate"]
    assert re.search(r'scope="repository:team/app:(pull,push|push,pull)"', push["WWW-Authenticate"])
    assert pull.code == "UNAUTHORIZED"


def test_an_error_is_named_only_to_who_showed_a_token(login):
    small = token_of(login("writer"), "repository:team/app:pull")

    pushed = bearer(login(), small)("POST", "/v2/team/app/blobs/uploads/")
    wrong = bearer(login(), "a.b.c")("GET", "/v2/team/app/tags/list")

    assert pushed.status == wrong.status == 401
    assert 'error="insufficient_scope"' in pushed["WWW-Authenticate"]
    assert 'error="invalid_token"' in wrong["WWW-Authenticate"]


def test_a_token_is_what_was_asked_for_and_may_be_had(login):
    reader = login("reader")
    answer = reader("GET", "/oauth2/token?service=x&scope=repository:team/a:pull,push"
                    "&scope=repository:other/a:pull&scope=repository:host:5000/odd:pull")
    assert answer.status == 200 and answer.json()["scope"] == "repository:team/a:pull"

    form = f"grant_type=password&username=reader&password={PEOPLE['reader']}&service=x" \
           "&access_type=offline&scope=repository:team/a:pull%20repository:team/b:pull"
    posted = login()("POST", "/oauth2/token", form.encode())
    assert posted.json()["scope"] == "repository:team/a:pull repository:team/b:pull"
    again = login()("POST", "/oauth2/token", (
        f"grant_type=refresh_token&refresh_token={posted.json()['refresh_token']}"
        "&scope=repository:team/a:pull").encode())
    assert again.status == 200 and again.json()["scope"] == "repository:team/a:pull"
    by_any_name = login("00000000-0000-0000-0000-000000000000", posted.json()["refresh_token"])
    assert by_any_name("GET", "/v2/").status == 200


def test_the_catalog_has_what_one_may_see(login):
    for name in ("team/seen", "other/hidden", "public/seen"):
        push_blob(login("owner"), name, b"{}")

    listed = login("reader")("GET", "/v2/_catalog").json()["repositories"]

    assert {"team/seen", "public/seen"} <= set(listed) and "other/hidden" not in listed
    assert login("reader")("GET", "/v2/_catalog?n=1").json()["repositories"] == listed[:1]
    assert login()("GET", "/v2/_catalog").status == 401
    limited = token_of(login("reader"), "repository:team/seen:pull")
    assert bearer(login(), limited)("GET", "/v2/_catalog").status == 401


def test_a_mount_needs_the_source_as_well(login):
    name = push_blob(login("owner"), "other/source", b"not for the team")

    for query in (f"mount={name}&from=other/source", f"mount={name}"):
        assert login("writer")("POST", f"/v2/team/mount/blobs/uploads/?{query}").status == 202
    limited = token_of(login("owner"), "repository:team/mount:pull,push")
    assert bearer(login(), limited)(
        "POST", f"/v2/team/mount/blobs/uploads/?mount={name}&from=other/source").status == 202
    both = token_of(login("owner"), "repository:team/mount:pull,push", "repository:other/source:pull")
    assert bearer(login(), both)(
        "POST", f"/v2/team/mount/blobs/uploads/?mount={name}&from=other/source").status == 201


def test_a_denial_says_which_rule(login):
    answer = login("reader")("POST", "/v2/team/app/blobs/uploads/")

    assert (answer.status, answer.code) == (403, "DENIED")
    detail = answer.json()["errors"][0]["detail"]
    assert detail["principal"] == "user:reader" and detail["needs"] == "content/write"
    assert "reader" in detail["rule"]


def test_whatever_is_denied_is_denied_with_its_rule(login):
    owner = login("owner")
    name, blob = push_image(owner, "team/denied", "v1"), digest(b"{}")
    push_manifest(owner, "team/denied", "v2", image())
    assert owner("DELETE", "/v2/team/denied/manifests/v2").status == 202
    (deletion,) = owner("GET", "/runnel/v1/_soft-delete?repository=team/denied").json()["deletions"]
    deleted = f"/runnel/v1/_soft-delete/{deletion['id']}"
    for who, needs, requests in [
            ("reader", "content/write", [
                ("POST", "/v2/team/denied/blobs/uploads/"),
                ("POST", f"/v2/team/denied/blobs/uploads/?mount={blob}"),
                ("PATCH", "/v2/team/denied/blobs/uploads/0"),
                ("PUT", "/v2/team/denied/manifests/v3"),
                ("PUT", f"/v2/team/denied/manifests/{name}?tag=v3"),
                ("POST", f"{deleted}:restore"),
                ("POST", "/acr/v1/team/denied/_streaming"),
                ("POST", f"/acr/v1/team/denied/_streaming/{name}"),
                ("POST", "/runnel/v1/team/denied/_streaming")]),
            ("reader", "content/delete", [
                ("DELETE", "/v2/team/denied/manifests/v1"),
                ("DELETE", f"/v2/team/denied/manifests/{name}"),
                ("DELETE", f"/v2/team/denied/blobs/{blob}"),
                ("DELETE", "/acr/v1/team/denied"), ("DELETE", deleted),
                ("DELETE", f"/runnel/v1/team/denied/_artifact/{name}")]),
            ("reader", "metadata/write", [
                ("PATCH", "/acr/v1/team/denied"), ("PATCH", "/acr/v1/team/denied/_tags/v1"),
                ("PATCH", f"/acr/v1/team/denied/_manifests/{name}")]),
            ("writer", "content/write", [("PUT", "/v2/other/app/manifests/v1")]),
            ("writer", "content/delete", [("DELETE", "/v2/team/denied/manifests/v1")]),
            ("writer", "Owner", [
                ("GET", "/runnel/v1/_tokens"), ("PUT", "/runnel/v1/_tokens/t"),
                ("POST", "/runnel/v1/_tokens/t:generate"), ("DELETE", "/runnel/v1/_tokens/t"),
                ("PUT", "/runnel/v1/_scope-maps/m"), ("POST", "/runnel/v1/_role-assignments"),
                ("PATCH", "/runnel/v1/_config/soft-delete")])]:
        for method, target in requests:
            body = None if method in ("GET", "DELETE") else b"{}"
            answer = login(who)(method, target, body, {"Content-Type": IMAGE})
            assert (answer.status, answer.code) == (403, "DENIED"), (method, target, answer.body)
            detail = answer.json()["errors"][0].get("detail", {})
            assert detail.get("principal") == f"user:{who}", (method, target, answer.body)
            assert detail["needs"] == needs and who in detail["rule"], (method, target, detail)


def test_a_push_needs_no_right_to_delete_to_cancel(login):
    writer = login("writer")
    place = writer("POST", "/v2/team/cancel/blobs/uploads/")["Location"]

    assert writer("DELETE", place).status == 204
    push_image(writer, "team/cancel", "v1")
    assert writer("DELETE", "/v2/team/cancel/manifests/v1").status == 403


SYSTEM_MAPS = {
    "_repositories_pull": "content/read",
    "_repositories_pull_metadata_read": "content/read metadata/read",
    "_repositories_push": "content/read content/write",
    "_repositories_push_metadata_write": "content/read content/write metadata/read metadata/write",
    "_repositories_admin":
        "content/read content/write content/delete metadata/read metadata/write",
}
ACTIONS = ("content/read", "content/write", "content/delete", "metadata/read", "metadata/write")


def deeds(call: Calls, repository: str, name: str) -> dict[str, list[int]]:
    """The statuses of what each action is needed for."""
    put = call("PUT", f"/v2/{repository}/manifests/new", image(), {"Content-Type": IMAGE})
    return {
        "content/read": [call(method, f"/v2/{repository}/{target}").status
                         for target in ("manifests/v1", f"manifests/{name}",
                                        f"blobs/{digest(b'{}')}")
                         for method in ("GET", "HEAD")],
        "metadata/read": [call("GET", f"/v2/{repository}/tags/list").status,
                          call("GET", f"/acr/v1/{repository}").status,
                          call("GET", f"/acr/v1/{repository}/_tags/v1").status],
        "content/write": [call("POST", f"/v2/{repository}/blobs/uploads/").status, put.status],
        "metadata/write": [call("PATCH", f"/acr/v1/{repository}", b"{}").status,
                           call("PATCH", f"/acr/v1/{repository}/_tags/v1", b"{}").status],
        "content/delete": [call("DELETE", f"/v2/{repository}/manifests/spare").status],
    }


@pytest.mark.parametrize("scope_map", [*SYSTEM_MAPS, *ACTIONS])
def test_a_scope_map_allows_what_it_says_and_nothing_else(login, scope_map):
    owner = login("owner")
    label = scope_map.strip("_").replace("/", "-").replace("_", "-")
    repository = f"maps/{label}"
    name = push_image(owner, repository, "v1")
    push_manifest(owner, repository, "spare", image())
    system = scope_map in SYSTEM_MAPS
    allowed = SYSTEM_MAPS[scope_map].split() if system else [scope_map]
    password = make_token(login, label, [f"repositories/maps/*/{action}" for action in allowed])
    if system:
        assert owner("PUT", f"/runnel/v1/_tokens/{label}",
                     json.dumps({"scopeMap": scope_map}).encode()).status == 200

    done = deeds(login(label, password), repository, name)

    for action, statuses in done.items():
        for status in statuses:
            if action in allowed:
                assert status in (200, 201, 202), (action, statuses)
            else:
                assert status in (403, 404), (action, statuses)
    assert login(label, password)("PUT", "/runnel/v1/_tokens/x", b"{}").status == 403


@pytest.mark.parametrize(("pattern", "matching", "other"), [
    ("wild/app", ["wild/app"], ["wild/app2", "wild/app/x", "wild"]),
    ("wild/app*", ["wild/app", "wild/app2", "wild/app/x"], ["wild/ap", "wild", "w/wild/app"]),
    ("wild/*", ["wild/app", "wild/app/x"], ["wild", "wilder/app"]),
    ("*", ["wild/app", "anything"], []),
])
def test_a_star_stands_for_the_rest_of_a_name(login, pattern, matching, other):
    owner = login("owner")
    label = "star" + pattern.replace("/", "-").replace("*", "S")
    password = make_token(login, label, [f"repositories/{pattern}/content/read"])
    bad = json.dumps({"actions": ["repositories/*/app/content/read"]}).encode()
    assert owner("PUT", f"/runnel/v1/_scope-maps/{label}-bad", bad).status == 400

    for repository in (*matching, *other):
        name = push_blob(owner, repository, b"{}")
        expected = 200 if repository in matching else 404
        assert login(label, password)("HEAD", f"/v2/{repository}/blobs/{name}").status == expected


# Limits and warnings -----------------------------------------------------------------------------


def test_wrong_passwords_are_not_looked_at_for_ever(login):
    for _ in range(3):
        assert login("victim", "guess")("GET", "/v2/").status == 401

    late = login("victim", "guess")("GET", "/v2/")

    assert (late.status, late.code) == (429, "TOOMANYREQUESTS")
    assert 1 <= int(late["Retry-After"]) <= 20
    form = b"grant_type=password&username=victim&password=guess&service=x"
    assert login()("POST", "/oauth2/token", form).status == 429
    assert login("other")("GET", "/v2/").status == 200


def test_guesses_at_a_tokens_name_do_not_lock_the_token_out(login):
    password = make_token(login, "robot", ["repositories/team/*/content/read"])
    for _ in range(4):
        login("robot", "guess")("GET", "/v2/")

    assert login("robot", "guess")("GET", "/v2/").status == 429
    assert login("robot", password)("GET", "/v2/").status == 200


def test_who_has_not_logged_in_learns_no_name_from_the_numbers_of_deletions(login):
    owner = login("owner")
    push_blob(owner, "secret/app", b"{}")
    push_manifest(owner, "secret/app", "v1", image())
    assert owner("DELETE", "/v2/secret/app/manifests/v1").status == 202
    newest = json.loads(owner("GET", "/runnel/v1/_soft-delete?repository=secret/app").body)
    number = re.search(r'"id":\s*(\d+)', json.dumps(newest))[1]

    there = login()("GET", f"/runnel/v1/_soft-delete/{number}")
    absent = login()("GET", "/runnel/v1/_soft-delete/999999")

    assert (there.status, there.body) == (absent.status, absent.body) == (401, absent.body)
    assert there["WWW-Authenticate"] == absent["WWW-Authenticate"]
    assert b"secret" not in there.body and "secret" not in there["WWW-Authenticate"]


def test_manifests_are_limited_and_blobs_are_not(login):
    password = make_token(login, "eager", ["repositories/limited/*/content/read"])
    owner = login("owner")
    name = push_blob(owner, "limited/app", b"{}")
    push_manifest(owner, "limited/app", "v1", image())
    eager = login("eager", password)

    answers = [eager("GET", "/v2/limited/app/manifests/v1") for _ in range(60)]

    late = [answer for answer in answers if answer.status == 429]
    assert len(late) >= 5 and all(answer.status == 200 for answer in answers[:50])
    assert late[0].code == "TOOMANYREQUESTS" and int(late[0]["Retry-After"]) >= 1
    assert eager("HEAD", "/v2/limited/app/manifests/v1").status == 200
    assert eager("GET", f"/v2/limited/app/blobs/{name}").status == 200


def test_notices_come_as_warnings(login):
    owner = login("owner")
    pushed = push_blob(owner, "public/old", b"{}")
    push_manifest(owner, "public/old", "v1", image())
    push_blob(owner, "public/new", b"{}")
    push_manifest(owner, "public/new", "v1", image())

    old = login()("HEAD", "/v2/public/old/manifests/v1")

    assert old.all("Warning") == ['299 - "moved to \\"public/new\\""']
    assert login()("GET", f"/v2/public/old/blobs/{pushed}").all("Warning") == []
    assert login()("HEAD", "/v2/public/new/manifests/v1").all("Warning") == []


def test_warnings_are_four_kibibytes_in_all_at_most(runnel, tmp_path):  # noqa: ARG001
    text = '\\"' * 1000  # twice as long when it is quoted
    made = Guarded(tmp_path, "".join(f'"{pattern}" = "{text}"\n'
                                     for pattern in ("loud*", "loud/*", "loud/a*", "loud/app")))
    made.start()
    try:
        owner = Calls(made.host, basic("owner", PEOPLE["owner"]))
        push_blob(owner, "loud/app", b"{}")
        push_manifest(owner, "loud/app", "v1", image())
        warnings = owner("HEAD", "/v2/loud/app/manifests/v1").all("Warning")
        owner.close()
    finally:
        made.stop()

    assert len(warnings) == 2 and len(warnings[0]) > 2000
    assert sum(len(f"Warning: {each}\r\n") for each in warnings) <= 4096


def test_a_password_that_soon_ends_is_warned_of(login):
    actions = ["repositories/team/*/content/read"]
    soon = login("soon", make_token(login, "soon", actions, days=3))
    later = login("later", make_token(login, "later", actions, days=30))

    (warning,) = soon("GET", "/v2/").all("Warning")
    assert re.match(r'299 - "the passwords of token soon end at \d{4}-', warning)
    token = token_of(soon, "repository:team/app:pull")
    assert len(bearer(login(), token)("GET", "/v2/team/app/manifests/v9").all("Warning")) == 1
    assert later("GET", "/v2/").all("Warning") == []


# Holes that others had ---------------------------------------------------------------------------


def test_a_blob_of_another_repository_is_not_found_by_its_digest(login):
    name = push_blob(login("owner"), "other/secret", b"secret layer")
    push_blob(login("writer"), "team/probe", b"{}")

    for method in ("HEAD", "GET"):
        assert login("reader")(method, f"/v2/team/probe/blobs/{name}").status == 404
    absent = login("reader")("GET", f"/v2/no/where/blobs/{name}")
    hidden = login("reader")("GET", f"/v2/other/secret/blobs/{name}")
    assert absent.status == hidden.status == 404
    assert absent.body.replace(b"no/where", b"R") == hidden.body.replace(b"other/secret", b"R")
    # What refers to something there is not seen either.
    assert login("reader")("GET", f"/v2/other/secret/referrers/{name}").json()["manifests"] == []


LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FAR = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def layer_with(secret: bytes) -> tuple[bytes, str]:
    """A layer with that in its one file, and its diff ID."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as out:
        entry = tarfile.TarInfo("secret")
        entry.size = len(secret)
        out.addfile(entry, io.BytesIO(secret))
    return gzip.compress(plain.getvalue()), digest(plain.getvalue())


def config_with(diff_id: str) -> bytes:
    return json.dumps({"os": "linux", "architecture": "amd64",
                       "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()


@pytest.mark.parametrize(("way", "media_type", "more"), [
    ("urls", LAYER, {"urls": ["https://elsewhere.example/layer"]}), ("type", FAR, {})])
def test_a_conversion_opens_no_layer_of_another_repository(login, way, media_type, more):
    """A layer that may lie elsewhere is no reason to refuse a manifest, so it can name any."""
    other, writer = login("other"), login("writer")
    data, diff_id = layer_with(b"not for the team " + way.encode())
    source, target = f"other/{way}", f"team/{way}"
    push_blob(other, source, data)
    (made,) = converted(other, source, push_image(other, source, "v1", config_with(diff_id),
                                                  layers=[descriptor(data, LAYER)]))
    of_it = [each["digest"] for each in manifest(other, source, made)["layers"]]

    told = set()
    for named, said in ((data, digest(b"a guess")), (data, diff_id), (b"absent", diff_id)):
        name = push_image(writer, target, "v1", config_with(said),
                          layers=[descriptor(named, media_type, **more)])
        done = ended(writer, target, ask(writer, target, name))
        assert done["status"] == "Failed" and done["error"]["code"] == "RESOURCE_NOT_FOUND", done
        assert artifacts(writer, target, name) == []
        told.add(done["details"])

    assert len(told) == 1  # the same as of a layer that nobody has
    for each in (digest(data), *of_it):
        assert writer("HEAD", f"/v2/{target}/blobs/{each}").status == 404

    # With the layer, the same image is converted: what was made of it already is taken.
    push_blob(writer, target, data)
    name = push_image(writer, target, "v1", config_with(diff_id),
                      layers=[descriptor(data, media_type, **more)])
    (own,) = converted(writer, target, name)
    assert [each["digest"] for each in manifest(writer, target, own)["layers"]][:-1] == of_it[:-1]


def test_a_blob_that_was_deleted_does_not_come_back_with_another_repository(login):
    other, owner = login("other"), login("owner")
    name = push_blob(other, "other/deleted", b"once here")
    assert other("DELETE", f"/v2/other/deleted/blobs/{name}").status == 202

    push_blob(owner, "team/has-it", b"once here")
    assert owner("HEAD", f"/v2/team/has-it/blobs/{name}").status == 200

    assert other("HEAD", f"/v2/other/deleted/blobs/{name}").status == 404


def test_the_number_of_a_deletion_opens_nothing_to_who_has_no_right_there(login):
    owner, other = login("owner"), login("other")
    push_image(owner, "team/numbered", "v1")
    assert owner("DELETE", "/v2/team/numbered/manifests/v1").status == 202
    (deletion,) = owner("GET", "/runnel/v1/_soft-delete?repository=team/numbered").json()["deletions"]
    number = str(deletion["id"])

    for method, what in (("GET", ""), ("POST", ":restore"), ("DELETE", "")):
        there = other(method, f"/runnel/v1/_soft-delete/{number}{what}")
        absent = other(method, f"/runnel/v1/_soft-delete/987654{what}")
        assert there.status == absent.status == 404
        assert there.body.replace(number.encode(), b"N") == absent.body.replace(b"987654", b"N")
    assert other("GET", "/runnel/v1/_soft-delete?repository=team/numbered").json()["deletions"] == []

    assert owner("HEAD", "/v2/team/numbered/manifests/v1").status == 404
    assert owner("POST", f"/runnel/v1/_soft-delete/{number}:restore").status == 200


def test_an_upload_belongs_to_who_began_it_and_to_its_repository(login):
    place = login("writer")("POST", "/v2/team/mine/blobs/uploads/")["Location"]
    assert login("writer")("PATCH", place, b"abc").status == 202
    identifier = target_of(place).rsplit("/", 1)[1]
    finish = with_query(place, f"digest={digest(b'abc')}")

    for who, where in (("owner", place), ("writer", f"/v2/team/other/blobs/uploads/{identifier}")):
        assert login(who)("GET", where).status == 404
        assert login(who)("PATCH", where, b"x").status == 404
        assert login(who)("PUT", where + finish[len(place):], b"").status == 404
        assert login(who)("DELETE", where).status == 404
    assert login("writer")("PUT", finish).status == 201


def test_what_is_taken_away_is_gone_at_once(login):
    password = make_token(login, "revoked", ["repositories/team/*/content/read"])
    push_blob(login("owner"), "team/app", b"{}")
    target = f"/v2/team/app/blobs/{digest(b'{}')}"
    signed = token_of(login("revoked", password), "repository:team/app:pull")
    assert bearer(login(), signed)("HEAD", target).status == 200

    narrower = json.dumps({"actions": ["repositories/elsewhere/content/read"]}).encode()
    assert login("owner")("PUT", "/runnel/v1/_scope-maps/revoked", narrower).status == 200
    assert bearer(login(), signed)("HEAD", target).status == 404
    disabled = json.dumps({"status": "disabled"}).encode()
    assert login("owner")("PUT", "/runnel/v1/_tokens/revoked", disabled).status == 200
    assert bearer(login(), signed)("HEAD", target).status == 401
    assert login("revoked", password)("GET", "/v2/").status == 401


def test_a_token_that_says_how_it_is_to_be_checked_is_not_believed(login):
    token = token_of(login("reader"), "repository:team/app:pull")
    head, body, signature = token.split(".")

    def encoded(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    forged = [
        f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{body}.{signature}",
        f"{encoded(header | {'jwk': {'kty': 'oct', 'k': 'AAAA'}})}.{body}.{signature}",
        f"{head}.{encoded(claims | {'sub': 'user:owner'})}.{signature}",
        f"{head}.{encoded({k: v for k, v in claims.items() if k != 'exp'})}.{signature}",
        f"{head}.{body}.", f"{head}.{body}", "..", f"{head}.{body}.{signature}x",
    ]
    assert bearer(login(), token)("GET", "/v2/").status == 200
    for attempt in forged:
        assert bearer(login(), attempt)("GET", "/v2/").status == 401, attempt


def test_only_an_owner_makes_tokens_and_no_token_does(login):
    body = json.dumps({"scopeMap": "_repositories_admin"}).encode()
    for who in ("writer", "reader", "other"):
        assert login(who)("PUT", "/runnel/v1/_tokens/mine", body).status == 403
    assert login()("GET", "/runnel/v1/_tokens").status == 401
    password = make_token(login, "admin", ["repositories/*/content/read"])
    assert login("owner")("PUT", "/runnel/v1/_tokens/admin", body).status == 200
    assert login("admin", password)("GET", "/runnel/v1/_tokens").status == 403
    listed = login("owner")("GET", "/runnel/v1/_tokens").body
    assert password.encode() not in listed and b"hash" not in listed


def test_deletion_that_is_switched_off_is_off_for_every_kind(runnel, tmp_path):  # noqa: ARG001
    registry = services.Registry(tmp_path / "keeps")
    registry.directory.mkdir()
    config = registry.directory / "registry.toml"
    config.write_text("version = 1\ndeletion = false\n")
    plain = registry._argv
    registry._argv = lambda: [*plain(), "--config", str(config)]
    try:
        call = Calls(registry.start().host)
        name = push_image(call, "a/b", "v1")
        for target in ("manifests/v1", f"manifests/{name}", f"blobs/{digest(b'{}')}"):
            answer = call("DELETE", f"/v2/a/b/{target}")
            assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        assert call("HEAD", "/v2/a/b/manifests/v1").status == 200
        call.close()
    finally:
        registry.stop()


def test_a_streaming_artifact_is_taken_from_converters_only(login):
    push_blob(login("writer"), "team/fake", b"{}")
    for kind in ("application/vnd.azure.artifact.streaming.v1", "application/vnd.runnel.streaming.v1"):
        answer = login("writer")("PUT", "/v2/team/fake/manifests/v1", image(artifactType=kind),
                                 {"Content-Type": IMAGE})
        assert (answer.status, answer.code) == (403, "DENIED")


def test_no_secret_is_in_the_log(guarded, login):
    password = make_token(login, "logged", ["repositories/team/*/content/read"])
    token = token_of(login("logged", password), "repository:team/app:pull")
    assert login("writer", "Wr0ng-guess")("GET", f"/v2/?access_token={token}").status == 401
    bearer(login(), token)("GET", f"/v2/team/app/manifests/v1?token={token}&password={password}")

    said = guarded.said
    assert guarded.host in said
    for secret in (*PEOPLE.values(), password, token.rsplit(".", 1)[1], "Wr0ng-guess"):
        assert secret not in said

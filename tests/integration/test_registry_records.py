"""What the registry writes down of requests, whether it says that it is well, and how it ends."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading

import pytest
from registry_calls import (Calls, basic, digest, image, push_blob, push_image, push_manifest,
                            with_query)
from sandbox import daemons, services
from test_registry_security import PEOPLE, Guarded, make_token, token_of


@pytest.fixture
def recorded(runnel, tmp_path):  # noqa: ARG001
    made = Guarded(tmp_path / "guarded")
    made.directory.mkdir()
    plain = made._argv

    def argv() -> list[str]:
        given = plain()
        config = made.directory / "registry.toml"
        config.write_text(config.read_text().replace(
            "version = 1\n", f'version = 1\naccess_log = "{made.directory}/access.log"\n'))
        return given

    made._argv = argv
    try:
        yield made.start()
    finally:
        made.stop()


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_audit_log_says_who_did_what_and_who_was_refused(recorded):
    audit = recorded.directory / "data/audit.log"
    owner = Calls(recorded.host, basic("owner", PEOPLE["owner"]))

    def login(name, password=None):
        return Calls(recorded.host, basic(name, password or PEOPLE[name]))

    password = make_token(login, "ci", ["repositories/team/*/content/read",
                                        "repositories/team/*/content/write"])
    ci = login("ci", password)
    blob = push_blob(ci, "team/app", b"{}")
    push_manifest(ci, "team/app", "v1", image())
    assert ci("DELETE", "/v2/team/app/manifests/v1?secret=1").status == 403
    assert login("reader", "wr0ng")("GET", "/v2/team/app/tags/list").status == 401
    assert login("reader")("GET", "/v2/team/app/tags/list").status == 200
    assert owner("DELETE", "/v2/team/app/manifests/v1").status == 202

    told = [(line["principal"], line["method"], line["path"], line["status"], line["result"])
            for line in lines(audit)]
    assert told == [
        ("user:owner", "PUT", "/runnel/v1/_scope-maps/ci", 200, "done"),
        ("user:owner", "PUT", "/runnel/v1/_tokens/ci", 200, "done"),
        ("user:owner", "POST", "/runnel/v1/_tokens/ci:generate", 200, "done"),
        ("token:ci", "POST", "/v2/team/app/blobs/uploads/", 201, "done"),
        ("token:ci", "PUT", "/v2/team/app/manifests/v1", 201, "done"),
        ("token:ci", "DELETE", "/v2/team/app/manifests/v1", 403, "denied"),
        ("", "GET", "/v2/team/app/tags/list", 401, "denied"),
        ("user:owner", "DELETE", "/v2/team/app/manifests/v1", 202, "done")]
    pushed = lines(audit)[4]
    assert pushed["repository"] == "team/app" and pushed["reference"] == "v1"
    assert pushed["digest"] == digest(image()) and pushed["via"] == "password"
    assert lines(audit)[3]["digest"] == blob
    text = audit.read_text()
    assert all(secret not in text for secret in (*PEOPLE.values(), password, "wr0ng", "secret=1"))
    assert oct(audit.stat().st_mode & 0o777) == "0o640"


def test_every_change_is_in_the_audit_log(recorded):
    """By whoever made it, also with a token; steps that change nothing are not."""
    owner = Calls(recorded.host, basic("owner", PEOPLE["owner"]))
    name = push_image(owner, "team/app", "v1")
    push_manifest(owner, "team/app", "v2", image())
    other = push_image(owner, "team/app", "other", b"{ }")
    loose = push_blob(owner, "team/app", b"loose")
    begun = len(lines(recorded.directory / "data/audit.log"))

    def deletion(call) -> str:
        return str(call("GET", "/runnel/v1/_soft-delete").json()["deletions"][0]["id"])

    changes = [
        ("PATCH", "/acr/v1/team/app", b'{"listEnabled": true}', 200),
        ("PATCH", "/acr/v1/team/app/_tags/v1", b'{"listEnabled": true}', 200),
        ("PATCH", f"/acr/v1/team/app/_manifests/{name}", b'{"listEnabled": true}', 200),
        ("POST", f"/v2/team/base/blobs/uploads/?mount={loose}&from=team/app", b"", 201),
        ("DELETE", f"/v2/team/app/blobs/{loose}", None, 202),
        ("DELETE", "/v2/team/app/manifests/v2", None, 202),
        ("POST", "/runnel/v1/_soft-delete/{deletion}:restore", b"", 200),
        ("DELETE", f"/v2/team/app/manifests/{other}", None, 202),
        ("DELETE", "/runnel/v1/_soft-delete/{deletion}", None, 204),
        ("POST", "/acr/v1/team/app/_streaming", b'{"convertPushedImages": false}', 202),
        ("DELETE", "/acr/v1/team/base", None, 202),
        ("PUT", "/runnel/v1/_scope-maps/m", b'{"actions": ["repositories/a/content/read"]}', 200),
        ("PUT", "/runnel/v1/_tokens/t", b'{"scopeMap": "m"}', 200),
        ("POST", "/runnel/v1/_tokens/t:generate", b"{}", 200),
        ("DELETE", "/runnel/v1/_tokens/t", None, 204),
        ("DELETE", "/runnel/v1/_scope-maps/m", None, 204),
        ("PATCH", "/runnel/v1/_config/soft-delete", b'{"retentionDays": 8}', 200),
    ]
    expected = []
    for method, path, body, status in changes:
        path = path.format(deletion=deletion(owner)) if "{" in path else path
        answer = owner(method, path, body)
        assert answer.status == status, (method, path, answer)
        expected.append(("user:owner", "password", method, path.partition("?")[0], status, "done"))
    told = lines(recorded.directory / "data/audit.log")[begun:]
    assert [(line["principal"], line["via"], line["method"], line["path"], line["status"],
             line["result"]) for line in told] == expected
    assert all(line["time"].startswith("20") and ":" in line["peer"] for line in told)
    place = owner("POST", "/v2/team/app/blobs/uploads/")["Location"]
    assert owner("PATCH", place, b"bytes").status == 202
    assert owner("DELETE", place).status == 204
    assert len(lines(recorded.directory / "data/audit.log")) == begun + len(expected)


def test_the_audit_log_tells_tokens_apart_and_has_wrong_passwords_in_forms(recorded):
    audit = recorded.directory / "data/audit.log"

    def with_token(token: str) -> str:
        """The jti of the token that pushed."""
        writer = Calls(recorded.host)
        writer.authorization = f"Bearer {token}"
        push_blob(writer, "team/app", b"{}")
        line = lines(audit)[-1]
        assert (line["principal"], line["via"]) == ("user:writer", "bearer")
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        assert line["token"] == claims["jti"]
        return line["token"]

    writer = Calls(recorded.host, basic("writer", PEOPLE["writer"]))
    tokens = [token_of(writer, "repository:team/app:pull,push") for _ in range(2)]
    assert len({with_token(token) for token in tokens}) == 2
    assert all(token not in audit.read_text() for token in tokens)

    guess = b"grant_type=password&username=writer&password=gu3ss&service=x"
    assert Calls(recorded.host)("POST", "/oauth2/token", guess).status == 401
    line = lines(audit)[-1]
    assert (line["path"], line["status"], line["result"]) == ("/oauth2/token", 401, "denied")
    assert "gu3ss" not in audit.read_text()


def test_the_page_of_metrics_counts_what_was_done(runnel, tmp_path):  # noqa: ARG001
    registry = services.Registry(tmp_path / "registry")
    page_port = daemons.free_port()
    plain = registry._argv
    registry._argv = lambda: [word.replace("127.0.0.1:0", f"127.0.0.1:{page_port}")
                              for word in plain()]
    page = Calls(f"127.0.0.1:{page_port}")

    def metric(name: str) -> float | None:
        text = page("GET", "/metrics").body.decode()
        found = re.findall(rf"^runnel_registry_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[0]) if found else None

    try:
        call = Calls(registry.start().host)
        data = os.urandom(100_000)
        name = push_image(call, "a/b", "v1", data)
        for _ in range(2):
            assert call("GET", "/v2/a/b/manifests/v1").status == 200
        assert call("HEAD", "/v2/a/b/manifests/v1").status == 200
        part = call("GET", f"/v2/a/b/blobs/{digest(data)}", headers={"Range": "bytes=0-999"})
        assert part.status == 206
        assert call("GET", "/v2/a/b/manifests/none").status == 404

        assert (metric("pushes_total"), metric("pulls_total")) == (1, 2)
        manifest = 'requests_total{{method="{}",route="manifest",code="{}"}}'
        assert metric(manifest.format("GET", 200)) == 2
        assert metric(manifest.format("GET", 404)) == 1
        assert metric(manifest.format("HEAD", 200)) == 1
        assert metric(manifest.format("PUT", 201)) == 1
        assert metric('requests_total{method="GET",route="blob",code="206"}') == 1
        assert metric('request_seconds_count{route="manifest"}') == 5
        assert metric('request_seconds_sum{route="manifest"}') > 0
        size = len(image(data))
        assert metric("received_bytes_total") == len(data) + size
        sent = metric("sent_bytes_total")
        assert 1000 + 2 * size < sent < 1000 + 2 * size + 1000  # and some errors and dates of JSON
        assert call("DELETE", f"/v2/a/b/manifests/{name}").status == 202

        registry.stop()
        page.close()
        registry.start()
        daemons.wait_until(lambda: metric("stored_bytes{what=\"blobs\"}") is not None, 30,
                           "it has measured")
        assert metric("stored_bytes{what=\"blobs\"}") == len(data)  # the deleted can come back
        assert metric("stored_blobs") == 1
        assert metric("stored_bytes{what=\"metadata\"}") >= 4096
    finally:
        page.close()
        registry.stop()


def test_a_registry_whose_database_cannot_be_read_is_not_ready_and_still_alive(registry):
    call = Calls(registry.host)
    push_image(call, "a/b", "v1")
    assert call("GET", "/readyz").status == 200
    database = sqlite3.connect(registry.directory / "data/metadata.sqlite", isolation_level=None)
    database.execute("ALTER TABLE repositories RENAME TO gone")

    answers = [call("GET", path) for path in ("/readyz", "/healthz")]

    assert [answer.status for answer in answers] == [503, 200]
    assert b"database" in answers[0].body
    database.execute("ALTER TABLE gone RENAME TO repositories")
    database.close()
    assert call("GET", "/readyz").status == 200


def test_the_access_log_has_every_request_and_goes_on_in_a_new_file(recorded):
    access = recorded.directory / "access.log"
    reader = Calls(recorded.host, basic("reader", PEOPLE["reader"]))
    token = token_of(reader, "repository:team/app:pull")
    assert reader("GET", f"/v2/?token={token}", headers={"User-Agent": 'a"\n b'.replace("\n", " ")}).status == 200
    daemons.wait_until(lambda: len(access.read_text().splitlines()) == 2, 30, "both lines")
    line = lines(access)[1]
    assert (line["principal"], line["method"], line["path"], line["status"], line["bytes"]) == (
        "user:reader", "GET", "/v2/", 200, 2)
    assert line["agent"] == 'a"  b' and line["seconds"] >= 0 and ":" in line["peer"]
    assert token not in access.read_text()

    moved = access.rename(recorded.directory / "access.log.1")
    os.kill(recorded.daemon.pid, signal.SIGHUP)
    daemons.wait_until(access.exists, 30, "the new file")
    assert reader("GET", "/v2/").status == 200
    daemons.wait_until(lambda: len(access.read_text().splitlines()) == 1, 30, "a line in it")
    assert len(lines(moved)) == 2


def test_health_needs_no_login(recorded):
    call = Calls(recorded.host)
    for path, text in (("/healthz", b"ok\n"), ("/readyz", b"ready\n")):
        answer = call("GET", path)
        assert (answer.status, answer.body) == (200, text)
    assert call("POST", "/healthz").status == 404


def test_a_push_that_runs_ends_well_when_the_registry_is_told_to_stop(registry):
    call = Calls(registry.host)
    idle = Calls(registry.host)
    assert idle("GET", "/v2/").status == 200
    data = os.urandom(200_000)
    place = call("POST", "/v2/a/b/blobs/uploads/")["Location"]
    target = with_query(place, f"digest={digest(data)}")
    with socket.create_connection(("127.0.0.1", registry.port), timeout=60) as pushing:
        pushing.sendall(f"PUT {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(data)}\r\n"
                        "Expect: 100-continue\r\n\r\n".encode())
        assert pushing.recv(65536).startswith(b"HTTP/1.1 100 ")  # now the request runs
        pushing.sendall(data[:100_000])
        stopping = threading.Thread(target=registry.stop)
        stopping.start()
        daemons.wait_until(lambda: not daemons.accepts(registry.port), 30, "no new connections")
        pushing.sendall(data[100_000:])
        answer = pushing.recv(65536)
        stopping.join(timeout=60)
    assert answer.startswith(b"HTTP/1.1 201 ") and b"Connection: close" in answer
    registry.start()
    fresh = Calls(registry.host)
    assert fresh("GET", f"/v2/a/b/blobs/{digest(data)}").body == data


def test_a_registry_serves_though_nobody_reads_its_log_any_more(runnel, tmp_path):  # noqa: ARG001
    registry = services.Registry(tmp_path)
    reader, log = os.pipe()
    os.close(reader)
    process = subprocess.Popen(registry._argv(), stdout=subprocess.DEVNULL, stderr=log)
    os.close(log)
    try:
        daemons.wait_until(lambda: process.poll() is not None or daemons.accepts(registry.port), 30,
                           f"it listens on {registry.host}")
        assert process.poll() is None
        assert Calls(registry.host)("GET", "/v2/").status == 200
    finally:
        process.terminate()
    assert process.wait(30) == 0

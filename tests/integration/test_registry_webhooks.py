"""Webhooks: what receivers get, and that no event of an answered request is lost."""

from __future__ import annotations

import json
import signal
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from guarded_registry import Certificates
from registry_calls import Calls, push_image
from sandbox import daemons, services


class Receiver:
    """Keeps what came; answers with `status`."""

    def __init__(self, context: ssl.SSLContext | None = None):
        self.events: list[dict] = []
        self.authorizations: set[str | None] = set()
        self.refused = 0
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.status == 200:
                    receiver.authorizations.add(self.headers["Authorization"])
                    receiver.events.append(json.loads(body))
                else:
                    receiver.refused += 1
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server.server_port}/hook"

    def actions(self) -> list[tuple[str, str]]:
        return [(event["action"], event["repository"]) for event in self.events]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture
def telling(runnel, tmp_path, receiver):  # noqa: ARG001
    made = services.Registry(tmp_path / "registry")
    made.directory.mkdir()
    config = made.directory / "registry.toml"
    config.write_text('version = 1\n[webhooks.ci]\n' f'url = "{receiver.url}"\n'
                      'repositories = ["team/*"]\nauthorization = "Bearer hook-secret"\n')
    plain = made._argv
    made._argv = lambda: [*plain(), "--config", str(config)]
    try:
        yield made.start()
    finally:
        made.stop()


def test_pushes_deletions_and_restorings_are_told(telling, receiver):
    call = Calls(telling.host)
    name = push_image(call, "team/app", "v1")
    push_image(call, "elsewhere/app", "v1")
    assert call("DELETE", "/v2/team/app/manifests/v1").status == 202
    (deletion,) = call("GET", "/runnel/v1/_soft-delete?repository=team/app").json()["deletions"]
    assert call("POST", f"/runnel/v1/_soft-delete/{deletion['id']}:restore").status == 200
    assert call("DELETE", "/acr/v1/team/app").status == 202
    assert call("DELETE", "/v2/team/app/manifests/absent").status == 404

    daemons.wait_until(lambda: len(receiver.events) >= 4, 60, "four events")

    assert receiver.actions() == [("push", "team/app"), ("delete", "team/app"),
                                  ("restore", "team/app"), ("delete", "team/app")]
    push = receiver.events[0]
    assert (push["reference"], push["digest"]) == ("v1", name) and push["time"]
    assert len({event["id"] for event in receiver.events}) == 4
    assert receiver.authorizations == {"Bearer hook-secret"}


def test_no_event_is_lost_by_a_kill_while_the_receiver_is_down(telling, receiver):
    receiver.status = 503
    call = Calls(telling.host)
    push_image(call, "team/app", "v1")
    push_image(call, "team/app", "v2")
    daemons.wait_until(lambda: receiver.refused >= 1, 60, "an attempt")

    daemons.end([telling.daemon.pid], signal.SIGKILL)
    telling.stop()  # forgets the pid
    receiver.status = 200
    telling.start()

    daemons.wait_until(lambda: {event["reference"] for event in receiver.events} == {"v1", "v2"}, 60,
                       "both events")
    text = telling.daemon.log.read_text(errors="replace")
    assert "503" in text and "hook-secret" not in text


@pytest.fixture
def secure(runnel, tmp_path):  # noqa: ARG001
    """Two receivers with one private authority, which only the first one's webhook knows."""
    certificates = Certificates(tmp_path / "certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, certificates.server))
    known, unknown = Receiver(context), Receiver(context)
    made = services.Registry(tmp_path / "registry")
    made.directory.mkdir()
    config = made.directory / "registry.toml"
    config.write_text(f'version = 1\n[webhooks.known]\nurl = "{known.url}"\nca = "{certificates.ca}"\n'
                      f'[webhooks.unknown]\nurl = "{unknown.url}"\n')
    plain = made._argv
    made._argv = lambda: [*plain(), "--config", str(config)]
    try:
        yield made.start(), known, unknown
    finally:
        made.stop()
        known.stop()
        unknown.stop()


def test_a_receiver_of_a_private_authority_is_told_when_its_webhook_names_it(secure):
    registry, known, unknown = secure

    push_image(Calls(registry.host), "team/app", "v1")

    daemons.wait_until(lambda: known.events, 60, "an event over TLS")
    assert known.actions() == [("push", "team/app")]
    daemons.wait_until(lambda: "webhook unknown: event" in registry.daemon.log.read_text(), 60,
                       "the refusal of the other one")
    assert not unknown.events

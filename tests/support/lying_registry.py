#!/usr/bin/python3
"""The lying registry: stands before a real one and passes on what its rules let it (lies.py).

    tests/support/lying_registry.py --upstream 127.0.0.1:5000 [--port N] [--control-port N]
                                    [--rules FILE] [--seed N]

It prints one line of JSON with its two addresses when it listens, and ends when its standard input
does: it never outlives the test that started it. Python tests start it through liar.Liar.

Control, on a port of its own, JSON over HTTP:

  GET  /counters   requests, bytes, lies by kind and by rule, connections, tokens
  GET  /requests   the last requests: method, path, range, kind of lie, status
  POST /rules      {"rules": […], "seed": N}, or {"script": [steps], "repeat": bool, "seed": N}
  POST /tokens     {"life": seconds, "says": seconds}: from now on a bearer token of this registry is
                   needed, works for `life` and says that it works for `says`; {} takes that back
  POST /revoke     no token given out so far is good any more
  POST /down /up   nobody listens, connections break; the same port listens again
  POST /release    what stalls without end goes on
  POST /forget     counters start at zero
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import re
import secrets
import select
import socket
import struct
import sys
import threading
import time
import urllib.parse
from collections import Counter, deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import lies  # noqa: E402
from lies import Close, Lie, Pause  # noqa: E402

PIECE = 64 * 1024
SIGNED = "/signed/"
TOKEN = "/token"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "date"}


class State:
    """What the control port changes and every connection looks at."""

    def __init__(self, upstream: str):
        self.upstream = upstream
        self.rules = lies.Rules()
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.requests: deque[list] = deque(maxlen=5000)
        self.released = threading.Event()
        self.key = secrets.token_hex(16)
        self.tokens: dict[str, float] = {}  # until when they are good
        self.token_life: float | None = None
        self.token_says: float | None = None

    def count(self, name: str, number: int = 1) -> None:
        with self.lock:
            self.counts[name] += number

    def release(self) -> None:
        with self.lock:
            old, self.released = self.released, threading.Event()
        old.set()

    def signature(self, path: str, expires: str) -> str:
        return hashlib.sha256(f"{self.key} {path} {expires}".encode()).hexdigest()

    def make_token(self) -> dict:
        token = secrets.token_urlsafe(24)
        life = self.token_life or 0
        with self.lock:
            self.tokens[token] = time.monotonic() + life
            self.counts["tokens"] += 1
        return {"token": token, "expires_in": int(self.token_says or life)}

    def token_is_good(self, header: str | None) -> bool:
        scheme, _, token = (header or "").partition(" ")
        with self.lock:
            return scheme.lower() == "bearer" and self.tokens.get(token, 0) > time.monotonic()


class Hangup(Exception):
    """The connection to the client ends here."""


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, and its own connection to the true registry."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for a head
    state: State
    upstream: http.client.HTTPConnection | None = None

    def log_message(self, *_) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def finish(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
        try:
            super().finish()
        except OSError:
            pass  # the client went first

    # One request ----------------------------------------------------------------------------------

    def answer(self) -> None:
        state = self.state
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = lies.Request(self.command, self.path, parse_range(self.headers.get("Range")))
        self.released = state.released  # before it is counted: whoever saw the count can release it
        lie = state.rules.decide(request)
        state.count("requests")
        self.entry = [self.command, self.path, self.headers.get("Range"), lie.kind, None]
        state.requests.append(self.entry)
        try:
            self._answer(request, lie, sent)
            self.wfile.flush()
        except Hangup:
            self.close_connection = True
        except (OSError, http.client.HTTPException):
            state.count("broken")
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def _answer(self, request: lies.Request, lie: Lie, sent: bytes) -> None:
        state = self.state
        if lie.kind == "drop":
            self._hang_up(Close(lie.get("reset", False)))
        if lie.kind == "stall" and (lie.get("at") or 0) < 0:
            self._pause(Pause(lie.get("seconds")))
        if lie.kind == "status":
            return self._say(*lies.refusal(lie))
        path = request.path
        if path.partition("?")[0] == TOKEN:
            return self._say(200, {"Content-Type": "application/json"},
                             json.dumps(state.make_token()).encode())
        if path.startswith(SIGNED):
            path = self._signed_path(path)
            if path is None:
                return
        elif state.token_life is not None and not state.token_is_good(
                self.headers.get("Authorization")):
            return self._challenge(path)
        elif lie.kind == "redirect":
            return self._redirect(path, lie)
        self._pass_on(request, path, lie, sent)

    def _challenge(self, path: str) -> None:
        self.state.count("challenges")
        name = re.match(r"/v2/(.+)/(?:manifests|blobs|referrers|tags)/", path)
        scope = f',scope="repository:{name[1]}:pull,push"' if name else ""
        realm = f'Bearer realm="http://{self.headers["Host"]}{TOKEN}",service="lying"{scope}'
        self._say(401, {"WWW-Authenticate": realm, "Content-Type": "application/json"},
                  lies.error_body("a token is needed", "UNAUTHORIZED"))

    def _redirect(self, path: str, lie: Lie) -> None:
        expires = str(time.time() + lie.get("seconds", lie.random.uniform(0.2, 3)))
        host = lie.get("host") or self.headers["Host"]
        query = urllib.parse.urlencode(
            {"expires": expires, "signature": self.state.signature(path, expires)})
        self._say(302, {"Location": f"http://{host}{SIGNED}{path.lstrip('/')}?{query}"}, b"")

    def _signed_path(self, address: str) -> str | None:
        """The path that a signed address stands for; None after a refusal was sent."""
        path, _, query = address.rpartition("?")
        path = "/" + path.removeprefix(SIGNED)
        given = dict(urllib.parse.parse_qsl(query))
        expires = given.get("expires", "0")
        if self.headers.get("Authorization"):
            self.state.count("authorization_leaked")
        if given.get("signature") != self.state.signature(path, expires) \
                or float(expires) < time.time():
            self.state.count("expired_redirects")
            self._say(403, {"Content-Type": "application/xml"},
                      b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
            return None
        return path

    # The true registry ------------------------------------------------------------------------------

    def _ask(self, path: str, sent: bytes, range_: tuple[int, int] | None):
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() not in HOP_BY_HOP | {"range"}}
        if self.state.token_life is not None:
            headers.pop("Authorization", None)
        if range_ is not None:
            headers["Range"] = "bytes={}-{}".format(*range_)
        elif self.headers.get("Range") and parse_range(self.headers["Range"]) is None:
            headers["Range"] = self.headers["Range"]  # of a form that is not lied about
        for fresh in (False, True):  # a connection that was kept may have been closed meanwhile
            if fresh or self.upstream is None:
                self.upstream = http.client.HTTPConnection(self.state.upstream, timeout=60)
            try:
                self.upstream.request(self.command, path, sent or None, headers)
                return self.upstream.getresponse()
            except (OSError, http.client.HTTPException):
                self.upstream.close()
                if fresh:
                    raise
        raise AssertionError

    def _pass_on(self, request: lies.Request, path: str, lie: Lie, sent: bytes) -> None:
        wanted = lies.range_to_ask(lie, request.range)
        got = self._ask(path, sent, wanted)
        head = dict(got.headers)
        if lie.kind in ("other_range", "wrong_range"):
            length = request.range[1] - request.range[0] + 1
            if got.status != 206 or got.length != length:  # there is no such other range
                got.read()
                got, lie = self._ask(path, sent, request.range), Lie("garbage", {}, lie.random)
                head = dict(got.headers)
            elif lie.kind == "other_range":
                whole = head.get("Content-Range", "").rpartition("/")[2]
                head["Content-Range"] = "bytes {}-{}/{}".format(*request.range, whole)
        status = 200 if lie.kind == "part_as_whole" and got.status == 206 else got.status
        if status == 200:
            head.pop("Content-Range", None)
        if lie.kind == "body":
            got.read()
            return self._say(status, head, lie.get("text", "").encode())
        self._send_head(status, head)
        if self.command == "HEAD" or status in (204, 304):
            got.read()
            return
        length = int(head.get("Content-Length") or 0)
        self._send_body(lies.distort(lie, pieces_of(got), length))

    # The client -------------------------------------------------------------------------------------

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.entry[4] = status
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.end_headers()

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        headers = {n: v for n, v in headers.items() if n.lower() != "content-length"}
        self._send_head(status, {**headers, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_body(self, events: Iterator[bytes | Pause | Close]) -> None:
        for event in events:
            if isinstance(event, bytes):
                self.wfile.write(event)
                self.state.count("bytes", len(event))
            elif isinstance(event, Pause):
                self.wfile.flush()
                self._pause(event)
            else:
                self.wfile.flush()
                self._hang_up(event)

    def _pause(self, pause: Pause) -> None:
        """Ends early when the client has closed, so that no thread stays for nobody."""
        released = self.released
        end = None if pause.seconds is None else time.monotonic() + pause.seconds
        gone = select.poll()
        gone.register(self.connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while not (pause.seconds is None and released.is_set()):
            left = 0.1 if end is None else min(0.1, end - time.monotonic())
            if left <= 0:
                return
            if gone.poll(left * 1000):
                raise Hangup

    def _hang_up(self, close: Close) -> None:
        if close.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Hangup


def parse_range(header: str | None) -> tuple[int, int] | None:
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", header or "")
    return (int(found[1]), int(found[2])) if found else None


def pieces_of(response) -> Iterator[bytes]:
    while piece := response.read(PIECE):
        yield piece


# Listening ----------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, handler):
        super().__init__(("127.0.0.1", port), handler)
        self.open: set[socket.socket] = set()
        self.guard = threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def process_request(self, request, client_address):
        with self.guard:
            self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.guard:
            self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # a client that went away is nothing to report
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Nobody listens any more, and every connection breaks."""
        self.shutdown()
        self.thread.join()
        self.server_close()
        with self.guard:
            for connection in self.open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class LyingRegistry:
    """The server and its control port. `down` and `up` may be called in any order."""

    def __init__(self, upstream: str, port: int = 0, control_port: int = 0):
        self.state = State(upstream)
        self._handler = type("ForState", (Handler,), {"state": self.state})
        self._lock = threading.Lock()
        self._server: Server | None = Server(port, self._handler)
        self.port = self._server.server_address[1]
        control = type("ForRegistry", (Control,), {"registry": self})
        self._control = Server(control_port, control)
        self.control_port = self._control.server_address[1]

    def down(self) -> None:
        with self._lock:
            if self._server is not None:
                self._server.close()
                self._server = None

    def up(self) -> None:
        with self._lock:
            if self._server is None:
                self._server = Server(self.port, self._handler)

    def counters(self) -> dict:
        state = self.state
        with state.lock:
            counts = {"requests": 0, "bytes": 0, "broken": 0, "tokens": 0, "challenges": 0,
                      "expired_redirects": 0, "authorization_leaked": 0, **state.counts}
        return {**counts, **state.rules.counters(), "up": self._server is not None}


class Control(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: LyingRegistry

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/counters":
            return self._say(200, self.registry.counters())
        if self.path == "/requests":
            return self._say(200, list(self.registry.state.requests))
        self._say(404, {"error": f"no {self.path}"})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._change(json.loads(text or b"{}"))
        except (ValueError, KeyError, TypeError, re.error) as error:
            return self._say(400, {"error": str(error)})
        self._say(200, {})

    def _change(self, wanted: dict) -> None:
        state = self.registry.state
        match self.path:
            case "/rules" if "script" in wanted:
                state.rules.script(wanted["script"], wanted.get("repeat", False), wanted.get("seed"))
            case "/rules":
                state.rules.set(wanted["rules"], wanted.get("seed"))
            case "/tokens":
                state.token_life, state.token_says = wanted.get("life"), wanted.get("says")
            case "/revoke":
                with state.lock:
                    state.tokens.clear()
            case "/down": self.registry.down()
            case "/up": self.registry.up()
            case "/release": state.release()
            case "/forget":
                with state.lock:
                    state.counts.clear()
                    state.requests.clear()
                state.rules.forget()
            case _: raise ValueError(f"no {self.path}")

    def _say(self, status: int, answer) -> None:
        body = json.dumps(answer).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--upstream", required=True, help="host:port of the true registry")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--rules", type=Path, help="a file as POST /rules takes it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    registry = LyingRegistry(options.upstream, options.port, options.control_port)
    rules = json.loads(options.rules.read_text()) if options.rules else {"rules": []}
    if "script" in rules:
        registry.state.rules.script(rules["script"], rules.get("repeat", False), options.seed)
    else:
        registry.state.rules.set(rules["rules"], options.seed)
    print(json.dumps({"host": f"127.0.0.1:{registry.port}",
                      "control": f"127.0.0.1:{registry.control_port}"}), flush=True)
    while os.read(0, 4096):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())

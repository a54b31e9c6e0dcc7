"""A registry that wants to know who asks: it stands before a real one, with a token server of its own.

Runs in threads of the test's process. Users have passwords and repositories; tokens are good for
`life` seconds and say so. Everything that came is in `seen`, with what it carried, so that a test
can ask who sent which secret where.

With `basic` there are no tokens, users and passwords go to the registry itself. With `storage` the
bytes of blobs are at another host, to which requests are redirected. With `tls` it speaks TLS.
What is in `lies` it answers by itself, whatever the registry has there.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "date", "server"}


@dataclass(frozen=True)
class Lie:
    body: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Seen:
    method: str
    path: str  # without the query
    headers: dict[str, str]  # names in lower case
    status: int

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")

    @property
    def by_the_node(self) -> bool:
        """The node's own requests; the mirror passes its client's User-Agent on."""
        return self.headers.get("user-agent", "").startswith("runnel/")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a client went away; tests look at what was seen


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Listening:
    """A server on a free port of loopback that can go and come back."""

    def __init__(self, handler, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"):
        self._handler, self._tls, self.address = handler, tls, address
        self.port = 0
        self._server: _Server | None = None

    def start(self) -> None:
        kind = _Server6 if ":" in self.address else _Server
        self._server = kind((self.address, self.port), self._handler)
        self.port = self._server.server_address[1]
        if self._tls:
            # The handshake is made in the connection's own thread, at its first read.
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True,
                                                        do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class Storage:
    """Where blobs are redirected to. A signed address is good for `uses` requests."""

    def __init__(self, upstream: str, uses: int = 1 << 30):
        self.upstream, self.uses = upstream, uses
        self.seen: list[Seen] = []
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()
        storage = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            log_message = lambda *_: None

            def do_GET(self):
                path, _, query = self.path.partition("?")
                status = 200 if storage._take(query) else 403
                storage.seen.append(Seen("GET", path, _lowered(self.headers), status))
                if status == 200:
                    _pass_on(self, storage.upstream, path)
                else:
                    _answer(self, 403, {}, b"expired")

        self._listening = _Listening(Handler)

    def _take(self, signature: str) -> bool:
        with self._lock:
            if self._left.get(signature, 0) <= 0:
                return False
            self._left[signature] -= 1
            return True

    def sign(self, path: str) -> str:
        signature = "sig=" + secrets.token_hex(8)
        with self._lock:
            self._left[signature] = self.uses
        return f"http://127.0.0.1:{self._listening.port}{path}?{signature}"

    def start(self) -> "Storage":
        self._listening.start()
        return self

    def stop(self) -> None:
        self._listening.stop()


class GuardedRegistry:
    def __init__(self, upstream: str, users: dict[str, str], life: float = 60, basic: bool = False,
                 storage: Storage | None = None, tls: ssl.SSLContext | None = None,
                 jwt: bool = False, address: str = "127.0.0.1",
                 repositories: dict[str, list[str]] | None = None):
        """`repositories` says which prefixes a user may read; a user who is not in it, all.

        Without users everybody may read everything.
        """
        self.upstream, self.users, self.life = upstream, dict(users), life
        self.basic, self.storage, self.jwt = basic, storage, jwt
        self.scheme = "https" if tls else "http"
        self.repositories = repositories or {}
        self.seen: list[Seen] = []
        self.lies: dict[str, Lie] = {}  # by the end of the path: "blobs/sha256:…"
        self._tokens: dict[str, tuple[float, str]] = {}  # token: end, user
        self.ranges_may_go = threading.Event()  # cleared: ranged reads wait
        self.ranges_may_go.set()
        self._lock = threading.Lock()
        guard = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            log_message = lambda *_: None

            def do_GET(self):
                guard._serve(self)

            do_HEAD = do_POST = do_GET

        self._listening = _Listening(Handler, tls, address)

    @property
    def host(self) -> str:
        address = self._listening.address
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"

    @property
    def port(self) -> int:
        return self._listening.port

    def start(self) -> "GuardedRegistry":
        self._listening.start()
        return self

    def stop(self) -> None:
        self._listening.stop()

    def requests(self, path_part: str = "", by_the_node: bool | None = None) -> list[Seen]:
        return [one for one in list(self.seen) if path_part in one.path
                and (by_the_node is None or one.by_the_node == by_the_node)]

    def tokens_given(self) -> int:
        return sum(one.status == 200 for one in self.requests("/token"))

    def all_tokens_expired(self) -> bool:
        with self._lock:
            return all(end < time.time() for end, _ in self._tokens.values())

    def token(self, user: str, life: float) -> str:
        """One for whoever the test wants."""
        end = time.time() + life
        text = secrets.token_urlsafe(24)
        if self.jwt:
            part = lambda claims: base64.urlsafe_b64encode(
                json.dumps(claims).encode()).decode().rstrip("=")
            text = f'{part({"alg": "none"})}.{part({"exp": int(end)})}.{text}'
        with self._lock:
            self._tokens[text] = (end, user)
        return text

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        path, _, query = handler.path.partition("?")
        if "://" in path:  # asked as a proxy
            path = "/" + path.split("/", 3)[3]
        if handler.headers["range"]:
            self.ranges_may_go.wait(60)
        length = int(handler.headers.get("content-length") or 0)
        body = handler.rfile.read(length)
        headers = _lowered(handler.headers)
        if path == "/token":
            status = self._give_token(handler, headers, query)
        else:
            status = self._guard(handler, headers, path)
        self.seen.append(Seen(handler.command, path, headers, status))
        del body

    def _user_of_basic(self, authorization: str) -> str | None:
        if not authorization.startswith("Basic "):
            return None
        user, _, password = base64.b64decode(authorization[6:]).decode().partition(":")
        return user if self.users.get(user) == password else None

    def _give_token(self, handler, headers: dict[str, str], query: str) -> int:
        user = self._user_of_basic(headers.get("authorization", ""))
        if handler.command != "GET":
            return _answer(handler, 405, {}, b"")
        if user is None:
            return _answer(handler, 401, {"Content-Type": "application/json"},
                           b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}')
        token = self.token(user, self.life)
        said = json.dumps({"token": token, "expires_in": max(1, int(self.life))})
        return _answer(handler, 200, {"Content-Type": "application/json"}, said.encode())

    def _may(self, headers: dict[str, str], path: str) -> bool:
        authorization = headers.get("authorization", "")
        if not self.users:
            return True
        if self.basic:
            user = self._user_of_basic(authorization)
        else:
            with self._lock:
                end, user = self._tokens.get(authorization.removeprefix("Bearer "), (0, ""))
            if end < time.time():
                return False
        if not user:
            return False
        prefixes = self.repositories.get(user)
        return path == "/v2/" or prefixes is None or any(path.startswith(f"/v2/{p}/") for p in prefixes)

    def _guard(self, handler, headers: dict[str, str], path: str) -> int:
        if not self._may(headers, path):
            challenge = 'Basic realm="guarded"' if self.basic else (
                f'Bearer realm="{self.scheme}://{self.host}/token",service="guarded"')
            return _answer(handler, 401, {"WWW-Authenticate": challenge},
                           b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
        if self.storage and "/blobs/" in path and handler.command == "GET":
            return _answer(handler, 307, {"Location": self.storage.sign(path)}, b"")
        lie = self.lies.get("/".join(path.split("/")[-2:]))
        if lie:
            return _tell(handler, lie)
        return _pass_on(handler, self.upstream, path)


def _lowered(headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _answer(handler, status: int, headers: dict[str, str], body: bytes) -> int:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
    return status


def _tell(handler, lie: Lie) -> int:
    headers = {"Content-Type": lie.media_type}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers["range"] or "")
    if not asked:
        return _answer(handler, 200, headers, lie.body)
    begin = int(asked[1])
    part = lie.body[begin:int(asked[2]) + 1 if asked[2] else None]
    headers["Content-Range"] = f"bytes {begin}-{begin + len(part) - 1}/{len(lie.body)}"
    return _answer(handler, 206, headers, part)


def _pass_on(handler, upstream: str, path: str) -> int:
    connection = http.client.HTTPConnection(upstream, timeout=60)
    try:
        wanted = {n: handler.headers[n] for n in ("Range", "Accept") if handler.headers[n]}
        query = handler.path.partition("?")[2]
        target = path if not query or query.startswith("sig=") else f"{path}?{query}"
        connection.request(handler.command, target, headers=wanted)
        answer = connection.getresponse()
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                handler.send_header(name, value)
        body = answer.read()
        if not answer.getheader("content-length"):
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)
        return answer.status
    finally:
        connection.close()


# Certificates -------------------------------------------------------------------------------------


class Certificates:
    """An authority, a server's certificate for 127.0.0.1 and a client's, as PEM files."""

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ca = directory / "ca.pem"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-days", "2", "-subj", "/CN=a private authority",
                      "-keyout", directory / "ca.key", "-out", self.ca)
        self.server = self._issue("server", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        self.client = self._issue("client", "extendedKeyUsage=clientAuth")

    def _openssl(self, *arguments) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def _issue(self, name: str, extension: str) -> tuple[Path, Path]:
        at = self.directory
        key, request, certificate = at / f"{name}.key", at / f"{name}.csr", at / f"{name}.pem"
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        (at / f"{name}.ext").write_text(extension + "\n")
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", at / "ca.key",
                      "-CAcreateserial", "-days", "2", "-extfile", at / f"{name}.ext",
                      "-out", certificate)
        return certificate, key

    def context(self, ask_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.server)
        if ask_client:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

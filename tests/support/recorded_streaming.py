"""A registry that answers the conversion API as the real service was recorded to do.

It keeps nothing but what a test tells it: tags, referrers, the switch of the repository, and for an
operation the states that it goes through, one for each look. Everything that came is in `seen`.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

UNKNOWN = {"errors": [{"code": "OPERATION_UNKNOWN",
                       "message": "The specified operation does not exist"}]}
CORRELATION = "5f4b1c9e-0000-4000-8000-1234567890ab"


@dataclass
class Operation:
    digest: str
    states: list[tuple[str, str]]  # status, progress: the last one stays
    details: str = ""  # of the last one, when it is Failed
    looks: int = 0

    def state(self) -> tuple[str, str]:
        return self.states[min(self.looks, len(self.states) - 1)]


@dataclass
class Recorded:
    tags: dict[str, str] = field(default_factory=dict)
    referrers: dict[str, list[dict]] = field(default_factory=dict)
    convert_pushed: dict = field(default_factory=lambda: {"convertPushedImages": False})
    operations: dict[str, Operation] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)  # digest: operation
    next_operation: tuple[str, Operation] | None = None
    post_status: int = 202
    seen: list[tuple[str, str, str]] = field(default_factory=list)  # method, target, body

    def start(self) -> "Recorded":
        recorded = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            log_message = lambda *_: None

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                recorded.seen.append((self.command, self.path, body))
                status, answer, headers = recorded.answer(self.command, self.path, body)
                data = json.dumps(answer).encode() if answer is not None else b""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("X-Ms-Correlation-Request-Id", CORRELATION)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_POST = do_HEAD = do_DELETE = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def requests(self, method: str) -> list[str]:
        return [target for verb, target, _ in self.seen if verb == method]

    def document(self, repository: str, operation: Operation) -> dict:
        status, progress = operation.state()
        resource = f"{repository}@{operation.digest}"
        what = "started" if status == "NotStarted" else "ongoing"
        details = f"Conversion {what} for resource {resource}"
        if status == "Failed":
            details = operation.details
        return {"name": "ArtifactStreamingConversion", "resource": resource, "status": status,
                "startTime": "2025-04-28T03:54:17Z", "progress": progress, "details": details}

    def answer(self, method: str, target: str, body: str) -> tuple[int, object, dict]:
        path = urlsplit(target).path
        for pattern, handle in ROUTES:
            found = re.fullmatch(pattern, path)
            if found:
                return handle(self, method, *found.groups(), **(
                    {"body": body} if handle in WITH_BODY else {}))
        return 404, {"errors": [{"code": "UNSUPPORTED", "message": f"nothing at {target}"}]}, {}

    # What the routes do ---------------------------------------------------------------------------

    def ping(self, _method):
        return 200, {}, {}

    def tag(self, _method, repository, tag):
        if tag not in self.tags:
            return 404, {"errors": [{"code": "TAG_UNKNOWN",
                                     "message": "the specified tag does not exist"}]}, {}
        return 200, {"registry": self.host, "imageName": repository,
                     "tag": {"name": tag, "digest": self.tags[tag]}}, {}

    def list_referrers(self, _method, _repository, digest):
        return 200, {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                     "manifests": self.referrers.get(digest, [])}, {}

    def switch(self, method, _repository, body):
        if method == "GET":
            return 200, self.convert_pushed, {}
        self.convert_pushed = {**json.loads(body), "status": "Succeeded", "id": "switch-id"}
        return 202, self.convert_pushed, self.headers("switch-id")

    def headers(self, operation: str) -> dict:
        return {"operation-id": operation}

    def image(self, method, repository, digest):
        if method == "GET":
            if digest not in self.last:
                return 404, UNKNOWN, {}
            operation = self.last[digest]
            status = self.operations[operation].state()[0]
            return 200, {"id": operation, "status": status}, self.headers(operation)
        if self.post_status != 202:
            return self.post_status, {"said": "as it is"}, {}
        name, operation = self.next_operation
        self.operations[name] = operation
        self.last[digest] = name
        return 202, {"id": name, "status": "NotStarted"}, self.headers(name)

    def operation(self, method, repository, name):
        cancel = name.endswith(":cancel")
        name = name.removesuffix(":cancel")
        if name not in self.operations:
            return 404, UNKNOWN, {}
        operation = self.operations[name]
        if cancel:
            assert method == "POST"
            started = self.document(repository, operation)
            operation.states, operation.looks = [("Canceled", "0%")], 0
            return 200, {**started, "name": "Cancel: ArtifactStreamingConversion",
                         "status": "Canceled"}, {}
        document = self.document(repository, operation)
        operation.looks += 1
        return 200, document, {}

    def list_operations(self, _method):
        query = parse_qs(urlsplit(self.seen[-1][1]).query)
        wanted = query.get("status", [None])[0]
        listed = [{"id": name, **self.document("team/app", operation)}
                  for name, operation in self.operations.items()]
        return 200, {"operations": [each for each in listed
                                    if wanted in (None, each["status"])]}, {}

    def start_all(self, method, repository):
        assert method == "POST"
        return 202, {"operations": [{"id": name, "digest": operation.digest,
                                     "status": "NotStarted"}
                                    for name, operation in self.operations.items()],
                     "skipped": 1}, {}

    def artifact(self, method, _repository, digest):
        assert method == "DELETE"
        return 202, {"deleted": [each["digest"] for each in self.referrers.pop(digest, [])]}, {}


ROUTES = [
    (r"/v2/", Recorded.ping),
    (r"/acr/v1/([^_]+)/_tags/(.+)", Recorded.tag),
    (r"/v2/(.+)/referrers/(.+)", Recorded.list_referrers),
    (r"/acr/v1/([^_]+)/_streaming", Recorded.switch),
    (r"/acr/v1/([^_]+)/_streaming/(.+)", Recorded.image),
    (r"/acr/v1/([^_]+)/_operations/(.+)", Recorded.operation),
    (r"/runnel/v1/_operations", Recorded.list_operations),
    (r"/runnel/v1/([^_]+)/_streaming", Recorded.start_all),
    (r"/runnel/v1/([^_]+)/_artifact/(.+)", Recorded.artifact),
]
WITH_BODY = {Recorded.switch}

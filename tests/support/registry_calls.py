"""Raw HTTP calls to a registry, and the smallest things to push to it."""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import hashlib
import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        return self.headers[name]

    def all(self, name: str) -> list[str]:
        return self.headers.get_all(name) or []

    def json(self):
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the first error in the body."""
        assert self["Content-Type"] == "application/json; charset=utf-8", self
        return self.json()["errors"][0]["code"]


class Calls:
    """Requests over one kept connection, exactly as they are given."""

    def __init__(self, host: str, authorization: str | None = None, context=None):
        self.host = host
        self.authorization = authorization
        self.connection = (http.client.HTTPSConnection(host, timeout=30, context=context) if context
                           else http.client.HTTPConnection(host, timeout=30))

    def __call__(self, method: str, target: str, body: bytes | None = None,
                 headers: dict[str, str] | list[tuple[str, str]] = ()) -> Answer:
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if self.authorization:
            pairs.append(("Authorization", self.authorization))
        names = {name.lower() for name, _ in pairs}
        if "content-length" not in names and (body is not None or method in ("POST", "PUT", "PATCH")):
            pairs.append(("Content-Length", str(len(body or b""))))
        try:
            self.connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in pairs:
                self.connection.putheader(name, value)
            self.connection.endheaders(body)
            answer = self.connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except Exception:
            self.connection.close()
            raise

    def close(self) -> None:
        self.connection.close()


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def bcrypt(password: str) -> str:
    """As `htpasswd -B` hashes it, at the lowest cost."""
    library = ctypes.CDLL(ctypes.util.find_library("crypt"))
    library.crypt.restype = ctypes.c_char_p
    return library.crypt(password.encode(), b"$2y$04$abcdefghijklmnopqrstuu").decode()


def target_of(location: str) -> str:
    """A Location without scheme and host, as a client resolves it."""
    parts = urlsplit(location)
    return parts.path + ("?" + parts.query if parts.query else "")


def with_query(location: str, query: str) -> str:
    target = target_of(location)
    return target + ("&" if "?" in target else "?") + query


def push_blob(call: Calls, repository: str, data: bytes) -> str:
    name = digest(data)
    answer = call("POST", f"/v2/{repository}/blobs/uploads/?digest={name}", data)
    assert answer.status == 201, answer
    return name


def descriptor(data: bytes, media_type: str, **more) -> dict:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def image(config: bytes = b"{}", **more) -> bytes:
    return json.dumps({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [], **more}).encode()


def index(manifests: list[dict], **more) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests,
                       **more}).encode()


def push_manifest(call: Calls, repository: str, reference: str, manifest: bytes,
                  media_type: str = IMAGE) -> Answer:
    answer = call("PUT", f"/v2/{repository}/manifests/{reference}", manifest,
                  {"Content-Type": media_type})
    assert answer.status == 201, answer
    return answer


def push_image(call: Calls, repository: str, tag: str, config: bytes = b"{}", **more) -> str:
    """The digest of an image that has nothing but a configuration."""
    push_blob(call, repository, config)
    manifest = image(config, **more)
    push_manifest(call, repository, tag, manifest)
    return digest(manifest)

"""What the servers hold, and looking at it once: ratios of wrong answers say nothing."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import ssl
from urllib.parse import urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class BenchError(Exception):
    """A server does not answer what it must."""


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Client:
    """A few requests over one connection, checked."""

    def __init__(self, host: str, context: ssl.SSLContext | None = None):
        self.host = host
        self.connection = (http.client.HTTPSConnection(host, timeout=60, context=context) if context
                           else http.client.HTTPConnection(host, timeout=60))

    def ask(self, method: str, target: str, expected: int, body: bytes | None = None,
            headers: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request(method, target, body, headers or {})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != expected:
            raise BenchError(f"{method} {self.host}{target}: {answer.status}, not {expected}: "
                             f"{content[:200]!r}")
        return answer, content

    def push_blob(self, repository: str, content: bytes) -> str:
        digest = digest_of(content)
        answer, _ = self.ask("POST", f"/v2/{repository}/blobs/uploads/", 202,
                             headers={"Content-Length": "0"})
        place = urlsplit(answer.headers["Location"])
        query = f"{place.query}&" if place.query else ""
        self.ask("PUT", f"{place.path}?{query}digest={digest}", 201, content,
                 {"Content-Type": "application/octet-stream"})
        return digest

    def push_image(self, repository: str, tag: str) -> str:
        config, layer = b"{}", b"bench layer"
        image = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": self.push_blob(repository, config), "size": len(config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                        "digest": self.push_blob(repository, layer), "size": len(layer)}]}
        content = json.dumps(image).encode()
        self.ask("PUT", f"/v2/{repository}/manifests/{tag}", 201, content, {"Content-Type": MANIFEST})
        return digest_of(content)

    def check_manifest(self, repository: str, tag: str, digest: str) -> None:
        for method in ("GET", "HEAD"):
            answer, content = self.ask(method, f"/v2/{repository}/manifests/{tag}", 200,
                                       headers={"Accept": MANIFEST})
            if answer.headers["Docker-Content-Digest"] != digest:
                raise BenchError(f"{method} of {self.host}'s manifest gives another digest")
            if method == "GET" and digest_of(content) != digest:
                raise BenchError(f"{self.host}'s manifest has other bytes than it says")

    def check_file(self, target: str, content: bytes) -> None:
        """The whole, and some ranges of it."""
        _, whole = self.ask("GET", target, 200)
        if whole != content:
            raise BenchError(f"{self.host}{target} has other bytes than were pushed")
        for first, size in ((0, 65536), (4097, 100), (len(content) - 77, 77)):
            _, part = self.ask("GET", target, 206,
                               headers={"Range": f"bytes={first}-{first + size - 1}"})
            if part != content[first:first + size]:
                raise BenchError(f"{self.host}{target}: a range has other bytes")

    def close(self) -> None:
        self.connection.close()


def blob_content(size: int) -> bytes:
    source = random.Random(size)
    return b"".join(source.randbytes(min(1 << 24, size - at)) for at in range(0, size, 1 << 24))

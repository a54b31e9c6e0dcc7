"""Pods and containers as kubelet makes them: the runtime half of CRI, spoken with curl.

Messages are runtime.v1's (k8s.io/cri-api), encoded here: a field is (number << 3 | 2), a length and
bytes, or (number << 3) and a number; a gRPC message has five bytes in front, 0 and its length.
"""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from pathlib import Path

HOST = 2  # NamespaceMode.NODE: no network plugin is needed


class CriError(Exception):
    """The call failed; the message is containerd's."""


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def first_string(message: bytes) -> str:
    """The first field of a message that has one short string: an ID."""
    if not message or message[0] != 1 << 3 | 2 or message[1] > 0x7F:
        raise CriError(f"an answer without an ID: {message!r}")
    return message[2:2 + message[1]].decode()


def call(socket: Path, method: str, request: bytes, seconds: float = 60) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        headers = Path(scratch) / "headers"
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--max-time",
             str(seconds), "--unix-socket", str(socket), "--dump-header", str(headers),
             "--header", "content-type: application/grpc", "--header", "te: trailers",
             "--data-binary", "@-", f"http://localhost/runtime.v1.RuntimeService/{method}"],
            input=b"\0" + struct.pack(">I", len(request)) + request, capture_output=True)
        text = headers.read_text(errors="replace") if headers.exists() else ""
    status = re.search(r"^grpc-status: (\d+)", text, re.MULTILINE)
    if done.returncode != 0 or status is None or status[1] != "0":
        words = re.search(r"^grpc-message: (.*)$", text, re.MULTILINE)
        raise CriError(f"{method}: {words[1] if words else done.stderr.decode() + text}")
    return done.stdout[5:]


class Pod:
    """A sandbox in the host's network, until the block ends."""

    def __init__(self, socket: Path, name: str):
        self.socket = socket
        metadata = field(1, name) + field(2, name + "-uid") + field(3, "default")
        network = field(1, field(1, HOST))
        self.config = field(1, metadata) + field(8, field(2, network))
        self.id = ""

    def __enter__(self) -> "Pod":
        self.id = first_string(call(self.socket, "RunPodSandbox", field(1, self.config)))
        return self

    def __exit__(self, *_) -> None:
        for method in ("StopPodSandbox", "RemovePodSandbox"):  # with the containers in it
            call(self.socket, method, field(1, self.id))

    def start(self, image: str, name: str, command: list[str]) -> str:
        """Creates and starts a container of an image that was pulled; its ID."""
        network = field(2, field(3, field(1, HOST)))
        config = (field(1, field(1, name)) + field(2, field(1, image))
                  + b"".join(field(3, word) for word in command) + field(15, network))
        request = field(1, self.id) + field(2, config) + field(3, self.config)
        container = first_string(call(self.socket, "CreateContainer", request))
        call(self.socket, "StartContainer", field(1, container))
        return container

"""A network between a client and a registry on this machine, and what went through it.

The forwarder itself is tests/support/netsim, a program of this tree.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from sandbox import daemons

# What a network is called on a command line: Mbit/s each way (0: no limit), and one way's delay.
NETWORKS = {
    "loopback": (0, 0.0),
    "1g-2ms": (1000, 1.0),
    "100m-20ms": (100, 10.0),
}


def program() -> str:
    root = Path(__file__).resolve().parents[2]
    return os.environ.get("RUNNEL_NETSIM") or str(
        root / "build/release/tests/support/netsim/netsim")


@dataclass(frozen=True)
class Traffic:
    connections: int = 0
    requests: int = 0  # HTTP/1.1 without TLS
    bytes_up: int = 0
    bytes_down: int = 0


@dataclass(frozen=True)
class Request:
    at: float  # time.monotonic()
    method: str
    path: str
    range: str


class NetSim:
    """One process. Started anew, it has no connections and counts from zero on the same port."""

    def __init__(self, directory: Path, network: str, target_port: int,
                 prefix: tuple[str, ...] = ()):
        self.directory = directory
        self.target_port = target_port
        self.mbit, self.delay_ms = NETWORKS[network]
        self.prefix = prefix
        self.port = daemons.free_port()
        self.daemon = daemons.Daemon("netsim", directory)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> "NetSim":
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        self.daemon.start([*self.prefix, program(), "--target", str(self.target_port),
                           "--listen", str(self.port), "--mbit", str(self.mbit),
                           "--delay-ms", str(self.delay_ms),
                           "--counters", str(self._counters), "--log", str(self._log)])
        self.daemon.wait_for(lambda: daemons.accepts(self.port), f"it listens on {self.host}")
        return self

    def stop(self) -> None:
        self.daemon.stop()

    @property
    def _counters(self) -> Path:
        return self.directory / "counters"

    @property
    def _log(self) -> Path:
        return self.directory / "requests"

    def traffic(self) -> Traffic:
        """So far, at this moment."""
        return Traffic(*struct.unpack("4Q", self._counters.read_bytes()))

    def requests(self) -> list[Request]:
        """In the order in which the client sent them."""
        found = []
        for line in self._log.read_text(errors="replace").splitlines():
            at, method, path, ranges = line.split(" ", 3)
            found.append(Request(float(at), method, path, ranges))
        return found

"""What tools/sandbox promises to those who start daemons with it."""

from __future__ import annotations

import socket
from pathlib import Path

from sandbox import daemons


def test_a_port_for_a_daemon_is_no_other_processs_outgoing_one():
    start = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [daemons.free_port() for _ in range(200)]
    assert len(set(ports)) == len(ports)
    assert start <= 15_000 or all(port < start for port in ports)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        assert daemons.free_port(ports[0]) != ports[0]
    assert daemons.free_port(ports[0]) == ports[0]

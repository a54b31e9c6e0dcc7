"""Proxies of the environment and IPv6 literals, with the program's own commands."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest
from corpus import layers
from guarded_registry import GuardedRegistry
from sandbox import daemons, images, services


@pytest.fixture
def streamed(registry, tmp_path) -> str:
    """The repository path of an image with an artifact."""
    (tmp_path / "tars").mkdir()
    tars = layers(tmp_path / "tars", lambda t: t.file("hello", b"hello from afar"))
    images.push(images.image_of(tmp_path / "layout", tars).layout, f"{registry.host}/team/app:1")
    services.convert(f"{registry.host}/team/app:1")
    return "team/app:1"


@pytest.fixture
def front(registry, request):
    """An open registry before the real one; at the address that the test's parameter says."""
    made = GuardedRegistry(registry.host, {}, address=getattr(request, "param", "127.0.0.1"))
    try:
        yield made.start()
    finally:
        made.stop()


def cat(reference: str, **environment: str) -> subprocess.CompletedProcess:
    proxies = {"http_proxy", "https_proxy", "no_proxy", "all_proxy"}
    clean = {k: v for k, v in os.environ.items() if k.lower() not in proxies}
    return subprocess.run([services.program(), "cat", reference, "/hello", "--plain-http",
                           "--timeout", "5"],
                          capture_output=True, timeout=120, env={**clean, **environment})


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_a_proxy_of_the_environment_is_asked(front, streamed, variable):
    """The name means nothing on this machine: only a proxy can have reached the registry."""
    done = cat(f"registry.invalid:5000/{streamed}", **{variable: f"http://{front.host}"})

    assert done.stdout == b"hello from afar", done.stderr
    assert all(one.headers["host"] == "registry.invalid:5000" for one in front.seen)


@pytest.mark.parametrize("exempt", ["NO_PROXY", "no_proxy"])
def test_no_proxy_keeps_a_host_from_the_proxy(front, streamed, exempt):
    done = cat(f"registry.invalid:5000/{streamed}", HTTP_PROXY=f"http://{front.host}",
               **{exempt: ".invalid"})

    assert done.returncode == 1
    assert front.seen == []


def test_a_proxy_is_not_asked_for_this_machines_own_registries(front, streamed):
    nobody = daemons.free_port()

    done = cat(f"{front.host}/{streamed}", HTTP_PROXY=f"http://127.0.0.1:{nobody}")

    assert done.stdout == b"hello from afar", done.stderr


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6: ::1 on the loopback")
@pytest.mark.parametrize("front", ["::1"], indirect=True)
def test_an_ipv6_literal_is_a_host(front, streamed):
    assert front.host.startswith("[::1]:")

    done = cat(f"{front.host}/{streamed}")

    assert done.stdout == b"hello from afar", done.stderr

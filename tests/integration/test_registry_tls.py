"""The registry over TLS: real clients, a certificate that changes, and who must not connect."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess

import pytest
from guarded_registry import Certificates
from needs import needs
from registry_calls import Calls, basic, digest, push_blob, push_image
from sandbox import daemons, services
from sandbox.containerd import run
from test_registry_clients import built  # noqa: F401  (a fixture)
from tls_registry import PASSWORD, USER, TlsRegistry

@pytest.fixture
def certificates(tmp_path) -> Certificates:
    return Certificates(tmp_path / "first")


@pytest.fixture
def tls_registry(runnel, tmp_path, certificates):  # noqa: ARG001
    made = TlsRegistry(tmp_path / "registry", certificates)
    try:
        yield made.start()
    finally:
        made.stop()


def trusting(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.ca))


def calls(registry, certificates: Certificates) -> Calls:
    return Calls(registry.host, basic(USER, PASSWORD), trusting(certificates))


def shown(registry) -> bytes:
    """The certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", registry.port), timeout=30) as plain, \
            context.wrap_socket(plain, server_hostname="localhost") as secure:
        return secure.getpeercert(binary_form=True)


def test_pushes_and_ranges_and_the_realm(tls_registry, certificates):
    call = calls(tls_registry, certificates)
    data = os.urandom(3_000_000)
    name = push_blob(call, "a/b", data)

    whole = call("GET", f"/v2/a/b/blobs/{name}")
    part = call("GET", f"/v2/a/b/blobs/{name}", headers={"Range": "bytes=100-70000"})

    assert digest(whole.body) == name
    assert (part.status, part.body) == (206, data[100:70001])
    call.authorization = None
    assert f'realm="https://{tls_registry.host}/oauth2/token"' in call("GET", "/v2/")["WWW-Authenticate"]
    call.close()


def test_skopeo_and_convert(tls_registry, certificates, built, tmp_path, monkeypatch):  # noqa: F811
    trusted = tmp_path / "certs.d"
    trusted.mkdir()
    (trusted / "ca.crt").write_bytes(certificates.ca.read_bytes())
    reference = f"{tls_registry.host}/team/app:1"
    creds = f"{USER}:{PASSWORD}"
    skopeo = [needs("skopeo"), "--insecure-policy"]

    run([*skopeo, "copy", "--quiet", "--dest-cert-dir", str(trusted), "--dest-creds", creds,
         f"oci:{built}:latest", f"docker://{reference}"], seconds=120)
    run([*skopeo, "copy", "--quiet", "--src-cert-dir", str(trusted), "--src-creds", creds,
         f"docker://{reference}", f"oci:{tmp_path}/pulled:latest"], seconds=120)

    blobs = {path.name for path in (built / "blobs/sha256").iterdir()}
    assert {path.name for path in (tmp_path / "pulled/blobs/sha256").iterdir()} == blobs
    config = tmp_path / "docker"
    config.mkdir()
    secret = basic(USER, PASSWORD).removeprefix("Basic ")
    (config / "config.json").write_text(json.dumps({"auths": {tls_registry.host: {"auth": secret}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    run([services.program(), "convert", reference, "--ca-file", str(certificates.ca)], seconds=120)
    assert "128.0 KiB" in run([services.program(), "inspect", reference, "--ca-file",
                               str(certificates.ca)])


@pytest.mark.parametrize("told", [True, False])
def test_a_new_certificate_is_shown_without_a_restart(tls_registry, certificates, tmp_path, told):
    kept = calls(tls_registry, certificates)
    name = push_image(kept, "a/b", "v1")
    before = shown(tls_registry)

    tls_registry.show(Certificates(tmp_path / "second"))
    if told:
        os.kill(tls_registry.daemon.pid, signal.SIGHUP)

    daemons.wait_until(lambda: shown(tls_registry) != before, 60, "the new certificate")
    assert kept("HEAD", f"/v2/a/b/manifests/{name}").status == 200  # over the old connection
    kept.close()


def test_a_client_that_speaks_http_is_told(tls_registry):
    with socket.create_connection(("127.0.0.1", tls_registry.port), timeout=30) as plain:
        plain.sendall(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert plain.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_look_at_it_over_http_says_how_to_look_over_tls(tls_registry, certificates, tmp_path):
    def look(*flags: str) -> subprocess.CompletedProcess:
        return subprocess.run([services.program(), "check-health", "-n", tls_registry.host, *flags], text=True,
                              capture_output=True, timeout=60, check=False,
                              env={**os.environ, "DOCKER_CONFIG": str(tmp_path)})

    assert "without TLS (one on loopback that has TLS needs --ca-file FILE)?" in look().stderr
    assert "Challenge endpoint https://" in look("--ca-file", str(certificates.ca)).stdout


def test_a_registry_with_a_certificate_that_is_none_does_not_start(runnel, tmp_path):
    config = tmp_path / "registry.toml"
    config.write_text(f'version = 1\ndata = "{tmp_path}/data"\nlisten = "127.0.0.1:0"\n'
                      f'[tls]\ncertificate = "{config}"\n')

    done = subprocess.run([runnel, "registry", "--config", str(config)], capture_output=True,
                          text=True, timeout=60, check=False)

    assert done.returncode == 1 and "certificate" in done.stderr and str(config) in done.stderr


def test_tls_alone_does_not_open_the_registry_to_others(runnel, tmp_path, certificates):
    certificate, key = certificates.server
    config = tmp_path / "registry.toml"
    config.write_text(f'version = 1\ndata = "{tmp_path}/data"\nlisten = "0.0.0.0:0"\n'
                      f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n')

    done = subprocess.run([runnel, "registry", "--config", str(config)], capture_output=True,
                          text=True, timeout=60, check=False)

    assert done.returncode == 1 and "htpasswd" in done.stderr

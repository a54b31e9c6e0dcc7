"""containerd and the node before our own registry, over TLS under a private authority."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus import layers
from guarded_registry import Certificates
from registry_calls import basic
from runnel_env import engines
from sandbox import services
from sandbox.containerd import run
from tls_registry import PASSWORD, USER, TlsRegistry

FILES = {f"data/{n}": bytes([65 + n]) * 300_000 for n in range(3)}


def write_files(tar) -> None:
    tar.directory("data")
    for name, content in FILES.items():
        tar.file(name, content)


@pytest.fixture
def tls_registry(runnel, tmp_path):  # noqa: ARG001
    keys = Certificates(tmp_path / "keys")
    made = TlsRegistry(tmp_path / "registry", keys)
    try:
        yield made.start(), keys
    finally:
        made.stop()


def copy(lab, registry, keys: Certificates, tmp_path: Path, monkeypatch) -> tuple[str, str]:
    """An image and its artifact in the registry: the reference, and the last layer's chain ID."""
    pushed = lab.push("tls-app", layers(lab.directory("tls"), write_files))
    reference = f"{registry.host}/team/tls-app:1"
    trusted = tmp_path / "certs.d"
    trusted.mkdir()
    (trusted / "ca.crt").write_bytes(keys.ca.read_bytes())
    run(["skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-cert-dir",
         str(trusted), "--dest-creds", f"{USER}:{PASSWORD}", f"docker://{pushed.reference}",
         f"docker://{reference}"], seconds=120)
    config = tmp_path / "docker"
    config.mkdir()
    secret = basic(USER, PASSWORD).removeprefix("Basic ")
    (config / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": secret}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    run([services.program(), "convert", reference, "--ca-file", str(keys.ca)], seconds=120)
    return reference, pushed.image.chain_ids[-1]


def test_an_image_streams_over_tls(lab, fresh_streaming, tls_registry, tmp_path, monkeypatch):
    registry, keys = tls_registry
    reference, chain_id = copy(lab, registry, keys, tmp_path, monkeypatch)
    side = fresh_streaming(engines()[0], more_arguments=("--streaming-registry", registry.host))
    side.containerd.use_mirror(registry.host, side.node.mirror, f"https://{registry.host}",
                               f'ca = "{keys.ca}"')

    side.pull(reference, USER, PASSWORD)

    assert side.image_status(reference)["reason"] == "Streaming"
    with side.containerd.view(chain_id) as root:
        assert {name: (root / name).read_bytes() for name in FILES} == FILES

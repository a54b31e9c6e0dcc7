"""Runnel's own registry with people and short tokens: files are read long after the pull's token.

Its tokens live for two seconds here, a minute in the heavy run, and five as shipped. A file that nobody
has read yet is read three lives later, after the worker's death, and after a restart of the node.
"""

from __future__ import annotations

import base64
import errno
import json
import time
import urllib.request

import pytest

from corpus import layers
from registry_calls import bcrypt
from runnel_env import engines
from sandbox import daemons, images, services
from sandbox.containerd import run

LIVES = [2, pytest.param(60, marks=pytest.mark.heavy)]
USER, PASSWORD = "pod", "correct-horse-battery-staple"
FILES = {f"cold/{n}": bytes([65 + n]) * 300_000 for n in range(4)}


class GuardedRegistry(services.Registry):
    """The same data as a registry without people, and its port; its tokens live for `life` seconds."""

    def __init__(self, directory, port: int, life: int):
        super().__init__(directory, port)
        self.life = life

    def _argv(self) -> list[str]:
        people = self.directory / "htpasswd"
        people.write_text(f"{USER}:{bcrypt(PASSWORD)}\n")
        config = self.directory / "registry.toml"
        config.write_text(f'version = 1\n[auth]\nhtpasswd = "{people}"\ntoken_lifetime_s = {self.life}\n'
                          f'[users.{USER}]\nroles = ["AcrPull"]\n')
        return [*super()._argv(), "--config", str(config)]

    def token(self, scope: str) -> str:
        """As a client gets one."""
        secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(f"http://{self.host}/oauth2/token?scope={scope}",
                                         headers={"Authorization": f"Basic {secret}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        assert found["expires_in"] == self.life
        return found["token"]


def write_files(tar) -> None:
    tar.directory("cold")
    for name, content in FILES.items():
        tar.file(name, content)


@pytest.fixture(scope="module", params=LIVES)
def guarded(lab, request):
    """(registry, reference, image): pushed and converted before it asked who comes."""
    directory = lab.directory("token-life")
    image = images.image_of(directory / "layout", layers(directory, write_files))
    open_one = services.Registry(directory / "registry").start()
    reference = f"{open_one.host}/team/app:1"
    images.push(image.layout, reference)
    services.convert(reference)
    open_one.stop()
    registry = GuardedRegistry(directory / "registry", open_one.port, request.param)
    try:
        yield registry.start(), reference, image
    finally:
        registry.stop()


@pytest.fixture
def side(guarded, fresh_streaming, tmp_path):
    """A node that knows nobody's password and reads nothing ahead."""
    config = tmp_path / "node.toml"
    config.write_text(f'version = 1\n[credentials]\ndocker_configs = ["{tmp_path}/nobody.json"]\n')
    return fresh_streaming(engines()[0], registry=guarded[0].host,
                           more_arguments=("--no-read-ahead", "--config", str(config)))


def three_lives_later(registry: GuardedRegistry) -> None:
    end = time.monotonic() + 3 * registry.life
    daemons.wait_until(lambda: time.monotonic() > end, 3 * registry.life + 60, "the tokens' end")


def read(side, image, name: str) -> bytes:
    with side.containerd.view(image.chain_ids[-1]) as root:
        return (root / name).read_bytes()


def assert_reads_later(registry, side, image, name: str) -> None:
    three_lives_later(registry)
    assert read(side, image, name) == FILES[name]


def test_a_pods_secret_outlives_its_tokens_and_a_login_the_node(guarded, side):
    registry, reference, image = guarded

    side.pull(reference, USER, PASSWORD)

    assert side.image_status(reference)["reason"] == "Streaming"
    assert_reads_later(registry, side, image, "cold/0")
    side.kill_worker()
    side.wait_for_containerd()
    assert_reads_later(registry, side, image, "cold/1")

    side.node.stop()
    side.node.start()
    side.wait_for_containerd()
    with side.containerd.view(image.chain_ids[-1]) as root:
        with pytest.raises(OSError) as failure:
            (root / "cold/2").read_bytes()
        assert failure.value.errno == errno.EIO, "the pod's secret was in memory only"
        run([services.program(), "login", registry.host, "--user", USER, "--password-stdin",
             "--control", str(side.node.control)], input=PASSWORD + "\n")
        assert (root / "cold/2").read_bytes() == FILES["cold/2"]

    side.node.stop()
    side.node.start()
    side.wait_for_containerd()
    assert_reads_later(registry, side, image, "cold/3")


def test_a_token_alone_is_exchanged_for_the_right_to_read_on(guarded, side):
    registry, reference, image = guarded
    hosts = side.containerd.certs / registry.host / "hosts.toml"
    hosts.write_text(f'{hosts.read_text()}\n[host."http://{side.node.mirror}".header]\n'
                     f'  Authorization = "Bearer {registry.token("repository:team/app:pull")}"\n')

    side.pull(reference)

    assert side.image_status(reference)["reason"] == "Streaming"
    assert_reads_later(registry, side, image, "cold/0")
    side.kill_worker()
    side.wait_for_containerd()
    assert_reads_later(registry, side, image, "cold/1")

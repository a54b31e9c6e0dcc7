"""`runnel registry` with TLS and a password file."""

from __future__ import annotations

import os

from guarded_registry import Certificates
from registry_calls import bcrypt
from sandbox import services

USER, PASSWORD = "alice", "alice-Pa55word"


class TlsRegistry(services.Registry):
    """With a password file, and `certificates` copied to where it may change them."""

    def __init__(self, directory, certificates: Certificates):
        super().__init__(directory)
        self.show(certificates)

    def show(self, certificates: Certificates) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for kind, source in zip(("crt", "key"), certificates.server, strict=True):
            fresh = self.directory / f"server.{kind}.new"
            fresh.write_bytes(source.read_bytes())
            os.replace(fresh, self.directory / f"server.{kind}")

    def _argv(self) -> list[str]:
        people = self.directory / "htpasswd"
        people.write_text(f"{USER}:{bcrypt(PASSWORD)}\n")
        config = self.directory / "registry.toml"
        config.write_text(f'version = 1\n[auth]\nhtpasswd = "{people}"\n[users.{USER}]\n'
                          'roles = ["Owner"]\n[tls]\n'
                          f'certificate = "{self.directory}/server.crt"\n'
                          f'key = "{self.directory}/server.key"\n')
        return [*super()._argv(), "--config", str(config)]

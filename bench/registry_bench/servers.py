"""The servers that are compared, each on one processor; the load generator has the other one."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sandbox import daemons, services

SERVER_CPU, LOAD_CPU = "0", "1"
TICK = os.sysconf("SC_CLK_TCK")


def pinned(argv: list[str], cpu: str) -> list[str]:
    """One processor for each side where there are two."""
    return ["taskset", "-c", cpu, *argv] if (os.cpu_count() or 1) > 1 else argv


@dataclass
class Identity:
    """A certificate for 127.0.0.1 that nobody else needs to know."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> "Identity":
        made = cls(directory / "server.crt", directory / "server.key")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(made.key), "-out", str(made.certificate)],
            check=True, capture_output=True)
        return made

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


def processes_of(pid: int) -> list[int]:
    """The process and its children, of all threads."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += processes_of(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    total = 0
    for each in processes_of(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


class Memory:
    """The most that a process had resident since this was made, and what of it is its own now."""

    def __init__(self, pid: int):
        self.pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")

    @staticmethod
    def of(pid: int, name: str) -> int:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(name)

    def peak(self) -> int:
        return self.of(self.pid, "VmHWM")

    def anonymous(self) -> int:
        return self.of(self.pid, "RssAnon")


def begin_peak(pid: int) -> None:
    """Of what is resident, in each of the server's processes."""
    for each in processes_of(pid):
        Path(f"/proc/{each}/clear_refs").write_text("5")


def peak_resident(pid: int) -> int:
    """Bytes since begin_peak(), of all of them together; pages that they share count in each."""
    return sum(Memory.of(each, "VmHWM") for each in processes_of(pid))


class Runnel(services.Registry):
    name = "runnel"

    def __init__(self, directory: Path, identity: Identity | None = None, data: Path | None = None):
        super().__init__(directory)
        self.identity = identity
        self.data = data or directory / "data"

    def _argv(self) -> list[str]:
        argv = [services.program(), "registry", "--data", str(self.data), "--listen", self.host,
                "--metrics", "off", "--log-level", "warning"]
        if self.identity:
            config = self.directory / "registry.toml"
            config.write_text(f'version = 1\n[tls]\ncertificate = "{self.identity.certificate}"\n'
                              f'key = "{self.identity.key}"\n')
            argv += ["--config", str(config)]
        return pinned(argv, SERVER_CPU)


class DockerRegistry(services.DebianRegistry):
    """Debian's, with the blob descriptor cache of its default configuration, without access log."""

    name = "docker-registry"

    def __init__(self, directory: Path, identity: Identity | None = None):
        super().__init__(directory)
        self.identity = identity

    def _argv(self) -> list[str]:
        argv = super()._argv()
        config = Path(argv[-1])
        text = config.read_text().replace("storage:\n", "storage:\n  cache: {blobdescriptor: inmemory}\n")
        if self.identity:
            text = text.replace(f"'{self.host}'", f"'{self.host}', tls: {{certificate: {self.identity.certificate}, "
                                                  f"key: {self.identity.key}}}")
        config.write_text(text)
        return pinned(argv, SERVER_CPU)

    def add_tags(self, repository: str, digest: str, count: int) -> None:
        """As many more pushes of that manifest leave them."""
        tags = self.directory / "data/docker/registry/v2/repositories" / repository / "_manifests/tags"
        for number in range(count):
            current = tags / f"release-{number:08}" / "current"
            current.mkdir(parents=True)
            (current / "link").write_text(digest)


class Nginx(services.Registry):
    """One worker with sendfile, without access log; serves the files below `root`."""

    name = "nginx"

    def __init__(self, directory: Path, root: Path, identity: Identity | None = None):
        super().__init__(directory)
        self.root, self.identity = root, identity

    def _argv(self) -> list[str]:
        tls = (f"ssl_certificate {self.identity.certificate}; ssl_certificate_key {self.identity.key};"
               if self.identity else "")
        config = self.directory / "nginx.conf"
        temporary = "".join(f"{kind}_temp_path {self.directory}/{kind};" for kind in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config.write_text(
            f"daemon off; worker_processes 1; pid {self.directory}/nginx.pid; user root;\n"
            f"error_log {self.directory}/error.log; events {{ worker_connections 1024; }}\n"
            f"http {{ access_log off; sendfile on; keepalive_requests 100000000;\n"
            f"default_type application/octet-stream; {temporary}\n"
            f"server {{ listen {self.host}{' ssl' if self.identity else ''}; {tls}\n"
            f"root {self.root}; }} }}\n")
        return pinned([shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(self.directory),
                       "-c", str(config)], SERVER_CPU)


def pid_of(server: services.Registry) -> int:
    pid = server.daemon.pid
    if pid is None:
        raise daemons.DaemonError(f"{server.daemon.name} has ended:\n{server.daemon.last_words()}")
    return pid

"""Runnel's own registry and node as background processes, and Debian's registry as a stand-in."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

from sandbox import daemons
from sandbox.containerd import run


def project_root() -> Path:
    return Path(__file__).resolve().parents[2]


def program() -> str:
    """The `runnel` under test: $RUNNEL, or the release build of this tree."""
    return os.environ.get("RUNNEL") or str(project_root() / "build/release/runnel")


class Registry:
    """`runnel registry` on loopback."""

    def __init__(self, directory: Path, port: int = 0):
        self.directory = directory
        self.port = daemons.free_port(port)
        self.daemon = daemons.Daemon("registry", directory)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> "Registry":
        self.directory.mkdir(parents=True, exist_ok=True)
        self.daemon.start(self._argv())
        self.daemon.wait_for(lambda: daemons.accepts(self.port), f"it listens on {self.host}")
        return self

    def _argv(self) -> list[str]:
        return [program(), "registry", "--data", str(self.directory / "data"),
                "--listen", self.host, "--metrics", "127.0.0.1:0"]

    def stop(self) -> None:
        self.daemon.stop()


class DebianRegistry(Registry):
    """Debian's docker-registry 2.8: no referrers API, an oracle for everything else."""

    def _argv(self) -> list[str]:
        config = self.directory / "docker-registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\n"
            "storage:\n  filesystem: {rootdirectory: " + str(self.directory / "data") + "}\n"
            "  delete: {enabled: true}\n"
            f"http: {{addr: '{self.host}'}}\n")
        return [shutil.which("docker-registry") or "docker-registry", "serve", str(config)]


class Node:
    """`runnel node`: the holder process, its worker, the mirror, the snapshotter's socket."""

    def __init__(self, directory: Path, engine: str = "auto", background_fill: bool = True,
                 mirror_port: int = 0, more_arguments: tuple[str, ...] = (),
                 root: Path | None = None, env: dict[str, str] | None = None,
                 hosts_dir: Path | None = None, metrics: str = "127.0.0.1:0"):
        self.directory = directory
        self.hosts_dir = hosts_dir or directory / "hosts.d"  # what Containerd.use_mirror writes
        self.env = env
        self.engine = engine
        self.background_fill = background_fill
        self.more_arguments = more_arguments
        self.metrics = metrics
        self.root = root or directory / "root"
        self.socket = directory / "snapshotter.sock"
        self.control = directory / "control.sock"
        self.mirror_port = daemons.free_port(mirror_port)
        self.daemon = daemons.Daemon("node", directory)

    @property
    def mirror(self) -> str:
        return f"127.0.0.1:{self.mirror_port}"

    def start(self) -> "Node":
        self.root.mkdir(parents=True, exist_ok=True)
        argv = [program(), "node", "--root", str(self.root), "--mirror", self.mirror,
                "--address", str(self.socket), "--control", str(self.control),
                "--engine", self.engine, "--hosts-dir", str(self.hosts_dir),
                "--metrics", self.metrics]
        if not self.background_fill:
            argv.append("--no-background-fill")
        if "--tell-starts" not in self.more_arguments:
            argv.append("--no-tell-starts")  # or an image's artifact would depend on earlier runs
        self.daemon.start(argv + list(self.more_arguments), self.env)
        self.daemon.wait_for(self._serves, "its sockets answer")
        return self

    def _serves(self) -> bool:
        return (daemons.answers_on(self.socket) and daemons.replies_on(self.control)
                and daemons.accepts(self.mirror_port))

    def stop(self) -> None:
        self.daemon.stop()

    @property
    def worker(self) -> int | None:
        """The holder's one direct child, once it runs."""
        holder = self.daemon.pid
        if holder is None:
            return None
        children = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
        return int(children[0]) if children else None

    def running_worker(self, other_than: int | None = None, seconds: float = 30) -> int:
        """Waits for one; asking `worker` again may find it dead and the next not started."""
        seen = []

        def runs() -> bool:
            worker = self.worker
            if worker not in (None, other_than):
                seen.append(worker)
            return bool(seen)
        daemons.wait_until(runs, seconds, f"a worker{f' after {other_than}' if other_than else ''} "
                           f"runs; {self.daemon.last_words(5)}")
        return seen[0]

    def status(self) -> dict:
        return json.loads(run([program(), "node", "status", "--json",
                               "--control", str(self.control)], seconds=60))

    def ask(self, path: str) -> dict:
        """GET of the control socket, without the time that a program takes to start."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(30)
            control.connect(str(self.control))
            control.sendall(f"GET {path} HTTP/1.0\r\nHost: node\r\n\r\n".encode())
            answer = b"".join(iter(lambda: control.recv(65536), b""))
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    def profile(self, reference: str) -> str:
        """What the image's start read, as `convert` takes it."""
        return run([program(), "node", "profile", reference, "--control", str(self.control)],
                   seconds=60)

    def why(self, name: str, *arguments: str) -> str:
        """Where the time of a container's or an image's start went; see runnel node why --help."""
        return run([program(), "node", "why", name, "--control", str(self.control), *arguments],
                   seconds=120)

    def containers(self) -> list[dict]:
        return json.loads(run([program(), "node", "status", "--containers", "--json",
                               "--control", str(self.control)], seconds=60))["containers"]

    def clear(self) -> str:
        return run([program(), "node", "clear", "--control", str(self.control)], seconds=120)


def convert(reference: str, profile: Path | None = None, key: Path | None = None) -> str:
    """Makes the streaming artifact of an image in a registry on loopback, signed where `key` is said."""
    more = ["--profile", str(profile)] if profile else []
    more += ["--key", str(key)] if key else []
    return run([program(), "convert", reference, "--plain-http", *more])


def pull(image: str, containerd_socket: Path, user: str = "", password: str = "") -> str:
    """Asks containerd for the image as kubelet does (CRI PullImage), with a pod's secret or without."""
    argv = [program(), "pull", image, "--address", str(containerd_socket)]
    if user:
        return run([*argv, "--user", user, "--password-stdin"], input=password)
    return run(argv)

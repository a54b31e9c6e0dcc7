"""A machine on which a node is installed, and taken away again, with paths of the test's own."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from sandbox import services
from sandbox.containerd import Containerd

HERE = Path(__file__).resolve().parent


class Machine:
    """A containerd that somebody configured before, and a node that it does not know yet."""

    def __init__(self, lab, make=Containerd):
        self.lab = lab
        directory = lab.directory("machine")
        self.node = services.Node(directory / "n", background_fill=False,
                                  hosts_dir=directory / "c/certs.d")
        self.containerd = make(directory / "c")

    def start(self) -> "Machine":
        self.node.start()
        self.containerd.start()
        self.containerd.use_mirror(self.lab.registry.host, None)
        return self

    def stop(self) -> None:
        for name in self.containerd.ctr("containers", "ls", "-q").split():
            self.containerd.kill_container(name)
        self.containerd.remove_all_images()
        self.containerd.stop()
        self.node.stop()

    def files(self) -> dict[str, tuple[bytes, int, int, int]]:
        """Everything that an install may touch, as it is: content, mode, owner, group."""
        found = {}
        for top in ("config.toml", "conf.d", "certs.d"):
            path = self.containerd.directory / top
            for file in [path, *sorted(path.rglob("*"))] if path.exists() else []:
                info = file.lstat()
                content = file.read_bytes() if file.is_file() else b""
                found[str(file)] = (content, info.st_mode, info.st_uid, info.st_gid)
        return found

    def restart_command(self) -> str:
        at = self.containerd
        environment = [f"{name}={value}" for name, value in at.environment().items()]
        return shlex.join(["env", *environment, sys.executable, str(HERE / "restart_daemon.py"),
                           "containerd",
                           str(at.directory), str(at.socket), *at.argv()])

    def _stop_node(self) -> str:
        return shlex.join([sys.executable, str(HERE / "restart_daemon.py"), "node",
                           str(self.node.directory)])

    def _run(self, command: str, *arguments: str, restart: str = "") -> subprocess.CompletedProcess:
        argv = [services.program(), "node", command, "--root", str(self.node.root),
                "--address", str(self.node.socket), "--control", str(self.node.control),
                "--containerd-address", str(self.containerd.socket),
                "--restart-command", restart or self.restart_command(), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=180)

    def install(self, *arguments: str, restart: str = "",
                registry: bool = True) -> subprocess.CompletedProcess:
        named = ["--registry", self.lab.registry.host] if registry else []
        return self._run("install", "--mirror", self.node.mirror,
                         "--containerd-config", str(self.containerd.directory / "config.toml"),
                         "--start-command", "false", *named, *arguments, restart=restart)

    def uninstall(self, *arguments: str, stop: str = "",
                  restart: str = "") -> subprocess.CompletedProcess:
        return self._run("uninstall", "--stop-command", stop or self._stop_node(), *arguments,
                         restart=restart)


def succeeded(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

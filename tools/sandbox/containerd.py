"""A private containerd, and what is asked of it through its own client.

Its root, state, sockets, runc root and fifo directory are below one scratch directory. The only
files outside are the shims' sockets in /run/containerd/s, a path compiled into containerd; each is
named by a hash and removed with its shim.

Containers get no cgroup of their own and no network but a loopback interface: both work the same
under cgroup v1 and v2 and need no plugin or bridge on the machine.
"""

from __future__ import annotations


import os
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import daemons, scratch

NAMESPACE = "k8s.io"  # the one that the CRI plugin, and so kubelet, uses

_CONFIG = """\
version = 2
root = "{root}/root"
state = "{root}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pod_image}"
  disable_cgroup = true
  restrict_oom_score_adj = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{root}/cni/bin"
    conf_dir = "{root}/cni/conf"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    disable_snapshot_annotations = false
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{root}/runc"
"""

_PROXY = """\
[proxy_plugins.{snapshotter}]
  type = "snapshot"
  address = "{node_socket}"
"""


class CommandError(Exception):
    """A command failed; the message has the command, its exit code and what it printed."""


def run(argv: list[str], seconds: float = 600, **kwargs) -> str:
    """Runs to the end and returns standard output; raises CommandError on failure."""
    if "input" not in kwargs:
        kwargs["stdin"] = subprocess.DEVNULL
    done = subprocess.run(argv, capture_output=True, text=True, errors="surrogateescape",
                          timeout=seconds, **kwargs)
    if done.returncode != 0:
        raise CommandError(f"{shlex.join(argv)}: exit {done.returncode}\n"
                           f"{done.stdout[-2000:]}{done.stderr[-4000:]}".rstrip())
    return done.stdout


@dataclass
class Started:
    """What a container's run looked like from outside."""

    output: str
    seconds_to_ready: float | None
    seconds: float
    exit_code: int


class Containerd:
    def __init__(self, directory: Path, snapshotter: str = "overlayfs",
                 node_socket: Path | None = None):
        self.directory = directory
        self.snapshotter = snapshotter
        self.node_socket = node_socket
        self.pod_image = "localhost/none"  # what sandbox.cri's pods pause in
        self.socket = directory / "containerd.sock"
        self.certs = directory / "certs.d"
        self.daemon = daemons.Daemon("containerd", directory)

    def start(self, config: str | None = None) -> "Containerd":
        """`config` takes the place of configuration()."""
        self.certs.mkdir(parents=True, exist_ok=True)
        (self.directory / "config.toml").write_text(config or self.configuration())
        if len(str(self.socket)) > 100:
            raise daemons.DaemonError(f"{self.socket} is too long for a unix socket's address")
        self.daemon.start(self.argv(), env=self.environment())
        self.daemon.wait_for(self._serves, "its socket answers")
        return self

    def configuration(self) -> str:
        text = _CONFIG.format(root=self.directory, socket=self.socket, certs=self.certs,
                              snapshotter=self.snapshotter, pod_image=self.pod_image)
        if self.node_socket is not None:
            text += _PROXY.format(snapshotter=self.snapshotter, node_socket=self.node_socket)
        return text

    def argv(self) -> list[str]:
        return [self.program("containerd"), "--config", str(self.directory / "config.toml")]

    def environment(self) -> dict[str, str]:
        return {}

    def program(self, name: str) -> str:
        """Where containerd's own programs are."""
        return shutil.which(name) or f"/usr/bin/{name}"

    def _serves(self) -> bool:
        if not daemons.answers_on(self.socket):
            return False
        return subprocess.run(self._ctr("version"), capture_output=True).returncode == 0

    def stop(self) -> None:
        self.daemon.stop()

    def use_mirror(self, registry: str, mirror: str | None, server: str | None = None,
                   settings: str = "") -> None:
        """Writes hosts.toml for `registry` (host:port): ask `mirror` first, then the registry.

        The node reads the same file, as it does in /etc/containerd/certs.d. `settings` are lines
        about the registry itself (ca, client, header, …).
        """
        server = server or f"http://{registry}"
        text = f'server = "{server}"\n{settings}\n'
        for host in [f"http://{mirror}"] if mirror else []:
            text += f'\n[host."{host}"]\n  capabilities = ["pull", "resolve"]\n'
        text += f'\n[host."{server}"]\n  capabilities = ["pull", "resolve"]\n{settings}\n'
        for certs in self._hosts_directories():
            (certs / registry).mkdir(parents=True, exist_ok=True)
            (certs / registry / "hosts.toml").write_text(text)

    def _hosts_directories(self) -> list[Path]:
        node = [self.node_socket.parent / "hosts.d"] if self.node_socket else []
        return [self.certs, *node]

    # The client ---------------------------------------------------------------------------------

    def _ctr(self, *arguments: str, client: str = "ctr") -> list[str]:
        return [self.program(client), "--address", str(self.socket), "--namespace", NAMESPACE,
                *arguments]

    def ctr(self, *arguments: str, seconds: float = 600, client: str = "ctr") -> str:
        return run(self._ctr(*arguments, client=client), seconds)

    def pull(self, image: str) -> None:
        """The ordinary way: every layer is downloaded, then unpacked into `snapshotter`."""
        self.ctr("images", "pull", "--snapshotter", self.snapshotter, "--plain-http",
                 "--hosts-dir", str(self.certs), image)

    def rpull(self, image: str) -> None:
        """Unpacks while it pulls, as kubelet does: the snapshotter is asked before a download."""
        self.ctr("images", "rpull", "--snapshotter", self.snapshotter, "--plain-http",
                 "--hosts-dir", str(self.certs), image, client="ctr-remote")

    def remove_image(self, image: str) -> None:
        """Every name of the image: CRI adds one by digest and one by config, and each holds it.

        Also waits for the garbage collector, so that unused snapshots are gone afterwards.
        """
        rows = [line.split() for line in self.ctr("images", "ls").splitlines()[1:]]
        digests = {row[0]: row[2] for row in rows}
        if image in digests:
            names = [name for name, digest in digests.items() if digest == digests[image]]
            self.ctr("images", "rm", "--sync", *names)

    def remove_all_images(self) -> None:
        """In one call: for a hundred images one after the other, each list of those that are left, with a
        look at each one's size, takes longer than the removals."""
        if names := self.images():
            self.ctr("images", "rm", "--sync", *names)

    def images(self) -> list[str]:
        return self.ctr("images", "ls", "-q").split()

    def snapshots(self) -> dict[str, tuple[str, str]]:
        """Key to (parent, kind), as the snapshotter lists them."""
        lines = self.ctr("snapshots", "--snapshotter", self.snapshotter, "ls").splitlines()[1:]
        found = {}
        for line in lines:
            fields = line.split()
            found[fields[0]] = (fields[1] if len(fields) == 3 else "", fields[-1])
        return found

    # Snapshots ----------------------------------------------------------------------------------

    @contextmanager
    def view(self, chain_id: str, snapshotter: str | None = None) -> Iterator[Path]:
        """The committed snapshot `chain_id`, mounted read-only, until the block ends."""
        with self._mounted("view", chain_id, snapshotter) as (_, target):
            yield target

    @contextmanager
    def active(self, parent: str, snapshotter: str | None = None) -> Iterator[tuple[str, Path]]:
        """A writable snapshot on top of `parent`: its key and where it is mounted."""
        with self._mounted("prepare", parent, snapshotter) as found:
            yield found

    @contextmanager
    def _mounted(self, verb: str, parent: str, snapshotter: str | None):
        name = snapshotter or self.snapshotter
        key = f"{verb}-{os.getpid()}-{time.monotonic_ns()}"
        target = self.directory / "mnt" / key
        target.mkdir(parents=True)
        self.new_snapshot(name, verb, key, parent)
        try:
            self.mount_snapshot(key, target, name)
            try:
                yield key, target
            finally:
                unmount_at(target)
        finally:
            if key in self._keys(name):
                self.ctr("snapshots", "--snapshotter", name, "rm", key)
            target.rmdir()

    def new_snapshot(self, snapshotter: str, verb: str, key: str, parent: str) -> None:
        """ctr takes no lease, so a collection that runs between the two calls removes the key."""
        for attempt in range(5):
            self.ctr("snapshots", "--snapshotter", snapshotter, verb, key, parent)
            try:
                self.ctr("snapshots", "--snapshotter", snapshotter, "label", key,
                         "containerd.io/gc.root=runnel-test")
                return
            except CommandError as error:
                if "not found" not in str(error) or attempt == 4:
                    raise

    def _keys(self, snapshotter: str) -> list[str]:
        lines = self.ctr("snapshots", "--snapshotter", snapshotter, "ls").splitlines()[1:]
        return [line.split()[0] for line in lines]

    def mount_snapshot(self, key: str, target: Path, snapshotter: str | None = None) -> None:
        """Mounts what the snapshotter's Mounts answers; ctr prints it as mount commands."""
        name = snapshotter or self.snapshotter
        text = self.ctr("snapshots", "--snapshotter", name, "mounts", str(target), key)
        for line in text.splitlines():
            argv = shlex.split(line)
            if argv:
                run(argv)

    # Containers ---------------------------------------------------------------------------------

    def run(self, image: str, name: str, *command: str, seconds: float = 300,
            ready: str = "READY", on_ready: Callable[[], None] = lambda: None) -> Started:
        """Runs the image's command to its end, or until it printed a line that starts with READY.

        A container that is still running then (a server) is killed. The clock starts before the
        container is created. `on_ready` is called at once when the line is there.
        """
        argv = self._ctr("run", "--rm", "--snapshotter", self.snapshotter, "--cgroup", "",
                         "--runc-root", str(self.directory / "runc"),
                         "--fifo-dir", str(self.directory / "fifo"), image, name, *command)
        begin = time.monotonic()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace")
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        lines, at_ready = [], None
        try:
            for line in process.stdout:
                lines.append(line)
                if at_ready is None and re.match(ready, line):
                    at_ready = time.monotonic() - begin
                    on_ready()
                    break
            if at_ready is not None:
                lines += self._finish(process, name)
            code = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                process.kill()
            self.kill_container(name)
        return Started("".join(lines), at_ready, time.monotonic() - begin, code)

    def _finish(self, process: subprocess.Popen, name: str) -> list[str]:
        try:
            rest, _ = process.communicate(timeout=2)
        except subprocess.TimeoutExpired:
            subprocess.run(self._ctr("tasks", "kill", "--signal", "SIGKILL", name),
                           capture_output=True)
            rest, _ = process.communicate(timeout=30)
        return rest.splitlines(keepends=True)

    def kill_container(self, name: str) -> None:
        """Removes the container if it is still there; nothing to do after a normal end."""
        if name not in self.ctr("containers", "ls", "-q").split():
            return
        for arguments in (["tasks", "kill", "--signal", "SIGKILL", name],
                          ["tasks", "delete", "--force", name], ["containers", "rm", name]):
            subprocess.run(self._ctr(*arguments), capture_output=True)

    # The content store --------------------------------------------------------------------------

    def content_bytes(self) -> int:
        """What this containerd has downloaded and kept: the sum over its content store."""
        blobs = self.directory / "root/io.containerd.content.v1.content/blobs"
        return sum(f.stat().st_size for f in blobs.glob("sha256/*"))


def unmount_at(target: Path) -> None:
    """Undoes every mount on `target`. Not lazily: a busy mount in a test is a finding."""
    for _ in [m for m in scratch.mounts() if m.point == str(target)]:
        run(["umount", str(target)])


def drop_page_cache() -> None:
    """Both sides of a comparison start from disk."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")

"""A private containerd 2.x, built by tools/build-containerd2."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sandbox.containerd import Containerd, run
from sandbox.services import project_root

_HEAD = """\
root = "{root}/root"
state = "{root}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.nri.v1.nri",
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
"""

_CONFIG = "version = 3\n" + _HEAD + """\
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{root}/cni/bin"]
  conf_dir = "{root}/cni/conf"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  disable_snapshot_annotations = {no_annotations}
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{certs}"
"""

# As containerd 1.7 had it: an upgrade leaves such a file as it is.
_CONFIG_2 = "version = 2\n" + _HEAD + """\
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/none"
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
    disable_snapshot_annotations = {no_annotations}
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""

_PROXY = """\
[proxy_plugins.runnel]
  type = "snapshot"
  address = "{node_socket}"
  capabilities = ["remap-ids"]
  [proxy_plugins.runnel.exports]
    enable_remote_snapshot_annotations = "true"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/amd64"
  snapshotter = "runnel"
  differ = "walking"
"""


def find() -> Path | str:
    """The directory of its programs, or why there is none and what to do."""
    done = subprocess.run([project_root() / "tools/build-containerd2", "--find"],
                          capture_output=True, text=True)
    return Path(done.stdout.strip()) if done.returncode == 0 else done.stderr.strip()


def of_version_2(directory: Path, programs: Path) -> "Containerd2":
    """One whose main file is still of version 2."""
    return Containerd2(directory, programs, template=_CONFIG_2)


class Containerd2(Containerd):
    """CRI pulls by itself when snapshot annotations are on, else through the transfer service."""

    def __init__(self, directory: Path, programs: Path, snapshotter: str = "overlayfs",
                 node_socket: Path | None = None, cri_by_transfer: bool = False,
                 template: str = _CONFIG):
        super().__init__(directory, snapshotter, node_socket)
        self.template = template
        self.programs = programs
        self.cri_by_transfer = cri_by_transfer

    def configuration(self) -> str:
        no_annotations = self.node_socket is None or self.cri_by_transfer
        text = self.template.format(root=self.directory, socket=self.socket, certs=self.certs,
                              snapshotter=self.snapshotter,
                              no_annotations=str(no_annotations).lower())
        if self.node_socket is not None:
            text += _PROXY.format(node_socket=self.node_socket)
        return text

    def program(self, name: str) -> str:
        own = self.programs / name
        return str(own) if own.exists() else super().program(name)

    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.programs}:{os.environ['PATH']}"}  # of its shims

    def pull_locally(self, image: str) -> None:
        """ctr fetches and unpacks by itself, layer by layer through containerd's services."""
        run(self._ctr("images", "pull", "--local", "--snapshotter", self.snapshotter,
                      "--plain-http", "--hosts-dir", str(self.certs), image))

    def pull_by_transfer(self, image: str) -> None:
        """The daemon's transfer service does it."""
        run(self._ctr("images", "pull", "--snapshotter", self.snapshotter, "--plain-http",
                      "--hosts-dir", str(self.certs), image))

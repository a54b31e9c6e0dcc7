"""What the whole-system tests run against: one scratch directory with real components in it.

`Lab` owns the directory, a registry and an ordinary containerd (overlayfs: the oracle); `Streaming`
is a node with a containerd of its own whose default snapshotter it is. Everything listens on ports
that the kernel picked and ends with the fixture that made it.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tars
import trees
from sandbox import daemons, images, services
from sandbox.containerd import CommandError, Containerd, unmount_at
from sandbox.scratch import Scratch


@dataclass(frozen=True)
class Pushed:
    """An image in the lab's registry. `image` is what was pushed, layer by layer."""

    reference: str
    image: images.Image

    def open_mtimes(self, depth: int):
        """For the snapshot of the first `depth` layers; see trees.open_mtimes."""
        return trees.open_mtimes(tars.names_in(layer.blob) for layer in self.image.layers[:depth])


class Lab:
    def __init__(self, directory: Path):
        self.scratch = Scratch(directory).create()
        self.registry = services.Registry(self.scratch / "registry")
        self.ordinary = Containerd(self.scratch / "ordinary")
        self._trees: dict[str, trees.Tree] = {}
        self._counter = 0

    def start(self) -> "Lab":
        self.registry.start()
        self.ordinary.start()
        self.ordinary.use_mirror(self.registry.host, None)
        return self

    def close(self) -> list[str]:
        """Stops all and removes the directory; answers with what the tests had left behind."""
        self.ordinary.stop()
        self.registry.stop()
        left = self.scratch.leftovers()
        self.scratch.teardown()
        return left + self.scratch.leftovers()

    def directory(self, name: str) -> Path:
        self._counter += 1
        path = self.scratch / f"{self._counter:03}-{name}"[:60]
        path.mkdir()
        return path

    def reference(self, name: str, tag: str = "1") -> str:
        return f"{self.registry.host}/{name}:{tag}"

    def push(self, name: str, layers: list, command: list[str] | None = None,
             tag: str = "1") -> Pushed:
        """Makes an image of tars (see images.image_of) and pushes it."""
        image = images.image_of(self.directory(name) / "layout", layers, command)
        images.push(image.layout, self.reference(name, tag))
        return Pushed(self.reference(name, tag), image)

    def push_layout(self, name: str, layout: Path, tag: str = "1") -> Pushed:
        images.push(layout, self.reference(name, tag))
        manifest = images.read_layout(layout)
        config = images.blob_path(layout, manifest["config"]["digest"]).read_text()
        diff_ids = images.json.loads(config)["rootfs"]["diff_ids"]
        layers = [images.Layer(images.blob_path(layout, d["digest"]), diff_id, "", d["mediaType"])
                  for d, diff_id in zip(manifest["layers"], diff_ids)]
        return Pushed(self.reference(name, tag), images.Image(layout, layers))

    def ordinary_tree(self, chain_id: str) -> trees.Tree:
        """How containerd's own unpack looks; the image must have been pulled by `ordinary`."""
        if chain_id not in self._trees:
            with self.ordinary.view(chain_id) as root:
                self._trees[chain_id] = trees.scan(root)
        return self._trees[chain_id]


# For a node whose mounts over loop devices are to be served however much of them is here: what it moves
# to plain files no test of its workers has a hold on any more.
STAYS_SERVED = "move-loops:EIO"


class Streaming:
    """A node, and a containerd that uses it: mirror for the registry, snapshotter `runnel`."""

    def __init__(self, lab: Lab, engine: str, background_fill: bool = False,
                 registry: str | None = None, more_arguments: tuple[str, ...] = (),
                 root: Path | None = None, env: dict[str, str] | None = None):
        self.lab = lab
        directory = self.directory = lab.directory(f"node-{engine}")
        self.node = services.Node(directory / "n", engine, background_fill,
                                  more_arguments=more_arguments, root=root, env=env)
        self.containerd = Containerd(directory / "c", "runnel", self.node.socket)
        self.registry = registry or lab.registry.host

    def start(self) -> "Streaming":
        self.node.start()
        self.containerd.start()
        self.containerd.use_mirror(self.registry, self.node.mirror)
        return self

    def close(self) -> None:
        """Unused snapshots first: a stopped node leaves no mount behind it. What was cached and unpacked
        goes at once: all the tests' of it together are tens of gigabytes."""
        if self.containerd.daemon.pid:
            self.containerd.remove_all_images()
        self.containerd.stop()
        self.node.stop()
        for mount in self.lab.scratch.mounts():
            if mount.point.startswith(str(self.containerd.directory / "mnt")):
                unmount_at(Path(mount.point))
        if not any(mount.point.startswith(f"{self.directory}/") for mount in self.lab.scratch.mounts()):
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill_worker(self) -> int:
        """Returns when the holder has started another; the pid of the dead one."""
        worker = self.node.running_worker()
        os.kill(worker, signal.SIGKILL)
        self.wait_for_another_worker(worker)
        return worker

    @contextmanager
    def stopped_node(self) -> Iterator[None]:
        """The node does nothing at all: neither its holder nor its worker."""
        processes = [self.node.daemon.pid, self.node.running_worker()]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(processes):
                os.kill(process, signal.SIGCONT)

    def wait_for_another_worker(self, than: int, seconds: float = 60) -> int:
        return self.node.running_worker(than, seconds)

    def wait_for_containerd(self) -> None:
        """containerd's connection to the snapshotter comes back with gRPC's back-off."""
        def answers() -> bool:
            try:
                self.containerd.snapshots()
            except CommandError:
                return False
            return True
        daemons.wait_until(answers, 60, "containerd reaches the snapshotter again")

    def pull(self, reference: str, user: str = "", password: str = "") -> str:
        return services.pull(reference, self.containerd.socket, user, password)

    def tree(self, chain_id: str, with_content: bool = True) -> trees.Tree:
        with self.containerd.view(chain_id) as root:
            return trees.scan(root, with_content)

    def image_status(self, reference: str) -> dict:
        """What `runnel node status` says of one image, once it has made up its mind.

        When every layer was there before, containerd asks the snapshotter nothing, and the pull can
        end before the node has its verdict. An empty dict when the image is not known.
        """
        found: dict = {}

        def decided() -> bool:
            nonlocal found
            found = self._status_now(reference)
            return found.get("reason") != "Preparing"
        daemons.wait_until(decided, 60, f"the node's verdict about {reference}")
        return found

    def mounted_as(self, reference: str) -> set[str]:
        """How the image's layers are mounted: "served", "plain"."""
        return {layer["mounted"] for layer in self.image_status(reference)["layers"]}

    def reason_now(self, reference: str) -> str:
        """Without waiting for a verdict; empty when the image is not known."""
        return self._status_now(reference).get("reason", "")

    def _status_now(self, reference: str) -> dict:
        repository = reference.rsplit(":", 1)[0]
        for image in self.node.status()["images"]:
            if image["image"].startswith(repository + "@"):
                return image
        return {}


def engines() -> list[str]:
    """$RUNNEL_ENGINES narrows the ways of mounting, for instance to "erofs-loop"."""
    return os.environ.get("RUNNEL_ENGINES", "erofs-file erofs-loop").split()


def all_engines() -> list[str]:
    """What the heavy tests try: also the complete FUSE file system, for kernels without EROFS."""
    return os.environ.get("RUNNEL_ENGINES", "erofs-file erofs-loop fuse").split()

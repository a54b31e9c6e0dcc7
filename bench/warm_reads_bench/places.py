"""One image as a root file system, mounted in every way that a container may get it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import daemons, images, services
from sandbox.cold_start import Side
from sandbox.scratch import Scratch

ORDINARY = "overlayfs"  # containerd's own unpack, on the ext4 of the scratch directory
LOOP = "erofs-loop"  # whose devices get the layers' files when those are complete
PLAIN = "plain files"  # EROFS on files, mounted after every layer was complete
DIRECT = "plain files, direct I/O"  # the same with direct_io = true
WAYS = (ORDINARY, "erofs-file", LOOP, "fuse", PLAIN, DIRECT)

@dataclass(frozen=True)
class Place:
    way: str
    root: Path
    side: Side

def _engine(way: str) -> str:
    return {ORDINARY: "eager", PLAIN: "erofs-file", DIRECT: "erofs-file"}.get(way, way)

def layers_of(side: Side) -> list[dict]:
    return [layer for image in side.node.status()["images"] for layer in image["layers"]]

def check_that_it_fills(cache: dict) -> None:
    """A node whose disk is short fills nothing, and would be waited for in vain."""
    if cache["state"] != "room":
        raise RuntimeError(f"the node does not fill ({cache['state']}): {cache['free_bytes'] >> 20} MiB are free, and it leaves "
                           f"{cache['min_free_bytes'] >> 20} MiB: make room on the disk, or give --scratch on another")

def _fill(side: Side) -> None:
    def complete() -> bool:
        check_that_it_fills(side.node.status()["cache"])
        layers = layers_of(side)
        return bool(layers) and all(layer["complete"] for layer in layers)
    daemons.wait_until(complete, 600, "every layer is complete")

def pull_complete(side: Side, way: str, references: list[str]) -> None:
    """Leaves the images mounted as `way` says: through the node, or on plain files."""
    for reference in references:
        side.pull(reference)
    if side.node is None:
        return
    _fill(side)
    if way in (PLAIN, DIRECT):
        side.containerd.remove_all_images()
        side.containerd.stop()
        side.node.stop()  # lets go of every mount; the layers stay
        side.start()
        for reference in references:
            side.pull(reference)
    wanted = "plain" if way in (PLAIN, DIRECT, LOOP) else "served"

    def found() -> set[str]:
        return {layer["mounted"] for layer in layers_of(side)}
    if way == LOOP:
        daemons.wait_until(lambda: found() == {wanted}, 60, "loop devices have got the layers' files")
    if found() != {wanted}:
        raise RuntimeError(f"{way}: layers are mounted {found()}, not {wanted}")

@contextmanager
def mounted(directory: Path, layout: Path, ways: list[str]) -> Iterator[list[Place]]:
    """A writable snapshot of the image for each way, as a container gets it."""
    scratch = Scratch(directory).create()
    with ExitStack() as undo:
        undo.callback(scratch.teardown)
        registry = services.Registry(directory / "registry").start()
        undo.callback(registry.stop)
        reference = f"{registry.host}/image:1"
        images.push(layout, reference)
        services.convert(reference)
        manifest = images.read_layout(layout)
        config = images.json.loads(images.blob_path(layout, manifest["config"]["digest"]).read_text())
        chain = images.chain_ids(config["rootfs"]["diff_ids"])[-1]
        places = []
        for number, way in enumerate(ways):
            side = Side(directory / str(number), _engine(way), background_fill=True,
                        more_arguments=("--direct-io",) if way == DIRECT else ()).start()
            undo.callback(side.stop)
            side.use(registry.host)
            pull_complete(side, way, [reference])
            _, root = undo.enter_context(side.containerd.active(chain))
            places.append(Place(way, root, side))
        yield places

"""An image that is mounted after all of its layers were complete has no user space in its path."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import known_files
from runnel_env import Streaming
from sandbox import daemons, services
from sandbox.containerd import drop_page_cache

FILES = 60


@contextmanager
def stopped(side: Streaming) -> Iterator[None]:
    """The node does nothing at all: neither its holder nor its worker."""
    processes = [side.node.daemon.pid, side.node.running_worker()]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            os.kill(process, signal.SIGCONT)


def mounted_as(side: Streaming, reference: str) -> set[str]:
    return {layer["mounted"] for layer in side.image_status(reference)["layers"]}


def test_a_mount_of_complete_layers_is_read_although_the_node_is_stopped(lab, engine, fresh_streaming):
    directory = lab.directory("plain")
    pushed = lab.push(f"plain-{engine}", [known_files.write_tar(directory / "files.tar", 0, FILES)])
    services.convert(pushed.reference)
    side = fresh_streaming(engine, background_fill=True)
    side.pull(pushed.reference)
    assert mounted_as(side, pushed.reference) == {"served"}
    daemons.wait_until(lambda: all(layer["complete"] for layer in side.image_status(pushed.reference)["layers"]),
                       60, "every layer is complete")
    side.containerd.remove_image(pushed.reference)
    side.containerd.stop()
    side.node.stop()
    side.start()

    side.pull(pushed.reference)

    assert mounted_as(side, pushed.reference) == {"plain"}
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        drop_page_cache()
        with stopped(side):
            for number in range(FILES):
                assert (root / known_files.name(number)).read_bytes() == known_files.content(number)

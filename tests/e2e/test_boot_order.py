"""A machine that boots before its registry can be reached: what is here is served, the rest later."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from corpus import layers
from sandbox import daemons, images, services

HERE = bytes(range(256)) * 5_000
FAR = bytes(range(255, -1, -1)) * 9_000


def push(lab, private, name: str):
    image = images.image_of(
        lab.directory(name) / "layout",
        layers(lab.directory(f"{name}-layers"),
               lambda t: t.directory("d").file("d/here", HERE + name.encode()),
               lambda t: t.directory("e").file("e/far", FAR + name.encode())))
    reference = f"{private.host}/{name}:1"
    images.push(image.layout, reference)
    services.convert(reference)
    return reference, image


def complete(side, reference: str) -> bool:
    return all(layer["complete"] for layer in side.image_status(reference)["layers"])


def reads(path: Path, right: bytes) -> bool:
    """False for an I/O error; anything else than the right bytes ends the test."""
    try:
        assert path.read_bytes() == right
    except OSError as error:
        assert error.errno == errno.EIO
        return False
    return True


def test_a_node_that_boots_without_its_registry_serves_what_it_has(lab, fresh_streaming, engine):
    private = services.Registry(lab.directory(f"boot-{engine}")).start()
    try:
        whole, whole_image = push(lab, private, "boot-whole")
        part, part_image = push(lab, private, "boot-part")
        side = fresh_streaming(engine, registry=private.host,
                               more_arguments=("--read-timeout", "3"))
        for reference in (whole, part):
            side.pull(reference)
        with side.containerd.view(whole_image.chain_ids[-1]) as root:
            assert (root / "d/here").read_bytes() == HERE + b"boot-whole"
            assert (root / "e/far").read_bytes() == FAR + b"boot-whole"
        with side.containerd.view(part_image.chain_ids[-1]) as root:
            assert (root / "d/here").read_bytes() == HERE + b"boot-part"
        daemons.wait_until(lambda: complete(side, whole), 30, "the whole image is durable")

        side.containerd.stop()
        side.node.stop()
        private.stop()
        side.node.start()  # answers on its sockets, though nothing of the registry does
        side.containerd.start()
        side.containerd.use_mirror(private.host, side.node.mirror)

        with side.containerd.view(whole_image.chain_ids[-1]) as root:
            assert (root / "d/here").read_bytes() == HERE + b"boot-whole"
            assert (root / "e/far").read_bytes() == FAR + b"boot-whole"
        with side.containerd.view(part_image.chain_ids[-1]) as root:
            assert (root / "d/here").read_bytes() == HERE + b"boot-part"
            with pytest.raises(OSError) as refused:
                (root / "e/far").read_bytes()
            assert refused.value.errno == errno.EIO
            private.start()
            daemons.wait_until(lambda: reads(root / "e/far", FAR + b"boot-part"), 30,
                               "the node connects by itself")
    finally:
        private.stop()

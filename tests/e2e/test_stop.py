"""The node is told to stop while a registry keeps it waiting."""

from __future__ import annotations

import threading
import time
from urllib.error import URLError

from corpus import layers
from liar import Liar
from runnel_env import Streaming
from sandbox import daemons, services
from sandbox.containerd import CommandError
from test_already_unpacked import ask_for_the_manifest, mounts_of
from test_hot_pack import boot_blob

PREPARED_AT_ONCE = 4  # threads of node::Images
STOP_SECONDS = 15  # the holder kills after 30


class Waiting:
    """A call in a thread of its own that is expected to fail."""

    def __init__(self, call, *arguments):
        self._call, self._arguments = call, arguments
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call(*self._arguments)
        except (CommandError, URLError, OSError) as error:
            self.error = error

    def end(self) -> Exception | None:
        self._thread.join()
        return self.error


def stalls(liar: Liar, *rules: int) -> None:
    """Each of these rules keeps somebody waiting. A boot blob may be asked for twice: early, and by its
    preparation."""
    liar.wait_for(lambda seen: all(seen["rules"].get(str(rule), {}).get("lied") for rule in rules))


def pulls(side: Streaming, reference: str) -> bool:
    """containerd's connection to the snapshotter comes back with gRPC's back-off."""
    try:
        side.pull(reference)
    except CommandError:
        return False
    return True


def test_a_stop_waits_for_no_registry(lab):
    pushed = [lab.push(f"stalled-{number}",
                       layers(lab.directory("stalled"),
                              lambda t, n=number: t.file("f", f"{n}".encode() * 9_000)))
              for number in range(PREPARED_AT_ONCE + 2)]
    for image in pushed:
        services.convert(image.reference)
    boots = [{"path": f"/blobs/{boot_blob(image.reference)['digest']}",
              "lie": {"kind": "stall", "at": 0}} for image in pushed]
    manifest = {"path": "/silent/manifests/", "lie": {"kind": "stall", "at": -1}}
    with Liar(lab.registry.host, *boots, manifest) as liar:
        side = Streaming(lab, "auto", registry=liar.host)
        pulled, *others = (f"{liar.host}/{image.reference.partition('/')[2]}" for image in pushed)
        try:
            side.start()
            pull = Waiting(side.pull, pulled)
            stalls(liar, 0)
            for reference in others:  # of which some are queued
                ask_for_the_manifest(side, reference)
            stalls(liar, *range(PREPARED_AT_ONCE))
            asked = Waiting(ask_for_the_manifest, side, f"{liar.host}/silent:1")
            stalls(liar, len(boots))
            begin = time.monotonic()

            side.node.stop()

            assert time.monotonic() - begin < STOP_SECONDS
            assert mounts_of(side) == []
            assert not list((side.node.root / "images").iterdir()), "nothing is half prepared"
            assert asked.end()
            assert pull.end(), "it was not answered with the ordinary way"
            liar.honest()
            side.node.start()
            daemons.wait_until(lambda: pulls(side, pulled), 60, "containerd reaches the node again")
            assert side.image_status(pulled)["reason"] == "Streaming"
        finally:
            liar.honest()
            side.close()

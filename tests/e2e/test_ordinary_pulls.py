"""Ordinary pulls stay ordinary: what has no artifact is pulled as if Runnel were not there."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from pathlib import Path

import pytest

import trees
from corpus import layers
from sandbox import daemons, images, services
from sandbox.containerd import Containerd, drop_page_cache
from sandbox.netsim import NetSim

ENGINE = "erofs-file"  # how streamed images are mounted does not matter here


@pytest.fixture(scope="module")
def network(lab):
    """Counts requests on the way to the lab's registry."""
    made = NetSim(lab.directory("netsim"), "loopback", lab.registry.port)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def pushed(lab, request):
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    return lab.push(name, layers(lab.directory("ordinary"),
                                 lambda t: t.directory("d").file("d/f", os.urandom(300_000)),
                                 lambda t: t.file("top", name.encode())))


def through(network: NetSim, pushed) -> str:
    """The same image under the name that leads through the network."""
    return network.host + "/" + pushed.reference.partition("/")[2]


def asks_for_artifacts(network: NetSim) -> list[str]:
    return [r.path for r in network.requests()
            if "/referrers/" in r.path or re.search(r"/manifests/sha256-", r.path)]


def assert_whole(lab, side, pushed) -> None:
    lab.ordinary.pull(pushed.reference)
    chain_id = pushed.image.chain_ids[-1]
    trees.assert_equal(lab.ordinary_tree(chain_id), side.tree(chain_id),
                       pushed.open_mtimes(len(pushed.image.layers)))


def test_that_there_is_no_artifact_is_asked_once_a_minute(fresh_streaming, network, pushed):
    side = fresh_streaming(ENGINE, registry=network.host)
    reference = through(network, pushed)
    side.pull(reference)
    assert side.image_status(reference)["reason"] == "NoArtifact"
    asked = asks_for_artifacts(network)
    side.containerd.remove_image(reference)

    side.pull(reference)

    assert len(asked) == 1, asked
    assert asks_for_artifacts(network) == asked
    assert side.image_status(reference)["reason"] == "NoArtifact"


@pytest.mark.heavy
def test_an_artifact_is_found_a_minute_after_there_was_none(fresh_streaming, network, pushed):
    side = fresh_streaming(ENGINE, registry=network.host)
    reference = through(network, pushed)
    side.pull(reference)
    assert side.image_status(reference)["reason"] == "NoArtifact"
    asked = len(asks_for_artifacts(network))
    services.convert(pushed.reference)
    side.containerd.remove_image(reference)

    reasons = []

    def asked_again() -> bool:
        side.pull(reference)
        reasons.append(side.image_status(reference)["reason"])
        side.containerd.remove_image(reference)
        return len(asks_for_artifacts(network)) > asked
    daemons.wait_until(asked_again, 600, "the node asks again")

    assert reasons.pop() == "Streaming"
    assert set(reasons) <= {"NoArtifact"}, "as long as it was not asked"


def test_a_pull_without_an_artifact_makes_two_more_requests(lab, fresh_streaming, network, pushed):
    """Is there an artifact, and which chain IDs has the image; containerd's own are as ever."""
    reference = through(network, pushed)
    plain = Containerd(lab.directory("counted") / "c")
    try:
        plain.start()
        plain.use_mirror(network.host, None)
        before = len(network.requests())
        services.pull(reference, plain.socket)
        without = [(r.method, r.path) for r in network.requests()[before:]]
    finally:
        plain.stop()
    side = fresh_streaming(ENGINE, registry=network.host)
    before = len(network.requests())

    side.pull(reference)

    assert side.image_status(reference)["reason"] == "NoArtifact"
    more = [(r.method, r.path) for r in network.requests()[before:]]
    for request in without:
        more.remove(request)
    assert len([path for _, path in more if "/referrers/" in path]) == 1, more
    assert len(more) == 2 and all(method == "GET" for method, _ in more), more


def test_a_dead_mirror_costs_no_pull(lab, fresh_streaming, pushed):
    side = fresh_streaming(ENGINE)
    side.containerd.use_mirror(lab.registry.host, f"127.0.0.1:{daemons.free_port()}")

    side.pull(pushed.reference)

    assert_whole(lab, side, pushed)


def test_a_pull_goes_on_when_the_worker_dies_in_the_middle(lab, fresh_streaming, network):
    """Mirror and snapshotter go and come back: containerd, or kubelet after it, tries again."""
    import signal
    import threading
    pushed = lab.push("ordinary-kill", layers(
        lab.directory("kill"),
        *[lambda t, n=n: t.file(f"f{n}", os.urandom(3_000_000)) for n in range(4)]))
    side = fresh_streaming(ENGINE, registry=network.host)
    reference = through(network, pushed)
    before = len(network.requests())

    def kill() -> None:
        daemons.wait_until(lambda: any("/blobs/" in r.path for r in network.requests()[before:]),
                           30, "the pull to begin")
        os.kill(side.node.worker, signal.SIGKILL)
    killer = threading.Thread(target=kill)
    killer.start()
    failures = 0
    for attempt in range(5):
        try:
            side.pull(reference)
            break
        except Exception:
            failures += 1
            killer.join()
            daemons.wait_until(side.node._serves, 30, "another worker")
            time.sleep(0.2)  # kubelet waits ten seconds
    killer.join()

    assert failures < 5
    assert_whole(lab, side, pushed)


def test_a_reference_by_digest_streams_too(fresh_streaming, lab, pushed):
    services.convert(pushed.reference)
    digest, _ = images.manifest_of(pushed.reference)
    repository = pushed.reference.rsplit(":", 1)[0]
    side = fresh_streaming(ENGINE)

    side.pull(f"{repository}@{digest}")

    status = side.image_status(pushed.reference)
    assert status["reason"] == "Streaming", status
    assert status["image"] == f"{repository}@{digest}"
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        assert (root / "top").read_bytes()


def test_a_registry_that_nobody_configured_is_never_asked(lab, fresh_streaming, network, pushed):
    """containerd goes there by itself; the snapshotter sees the layers and their labels, and asks
    nobody, although the image has an artifact."""
    services.convert(pushed.reference)
    side = fresh_streaming(ENGINE)  # its mirror serves the lab's registry by its own name only
    reference = through(network, pushed)
    before, asked = len(network.requests()), asks_for_artifacts(network)

    side.pull(reference)

    seen = network.requests()[before:]
    with side.containerd.active(pushed.image.chain_ids[-1]) as (key, _):
        found = [each for each in side.node.containers() if each["id"] == key]
    assert_whole(lab, side, pushed)
    assert len(seen) >= 4, "containerd itself pulls from there"
    assert asks_for_artifacts(network) == asked
    assert found[0]["reason"] == "RegistryNotConfigured", found
    assert side.image_status(reference) == {}


# What it costs ------------------------------------------------------------------------------------

RUNS = 9


class Sides:
    """The same registry behind the same network, with Runnel and without."""

    def __init__(self, lab, fresh_streaming, network_name: str):
        self.lab = lab
        far = network_name == "far"
        self.network = NetSim(lab.directory("cost-net"), "loopback" if far else network_name,
                              lab.registry.port)
        if far:
            self.network.delay_ms = 250.0
        self.network.start()
        self.streaming = fresh_streaming(ENGINE, registry=self.network.host)
        self.plain = Containerd(lab.directory("cost-plain") / "c")
        self.plain.start()
        self.plain.use_mirror(self.network.host, None)

    def close(self) -> None:
        self.plain.stop()
        self.network.stop()

    def pull(self, containerd, reference: str) -> float:
        """Seconds; the image is taken away afterwards."""
        drop_page_cache()
        begin = time.monotonic()
        services.pull(reference, containerd.socket)
        took = time.monotonic() - begin
        containerd.remove_image(reference)
        return took


@pytest.mark.heavy
@pytest.mark.parametrize("name, network_name", [
    ("small", "far"), ("python", "1g-2ms"), ("python", "100m-20ms")])
def test_a_pull_without_an_artifact_costs_one_round_trip(lab, fresh_streaming, name, network_name):
    """A small image from far away shows the round trips alone, whatever else the machine does."""
    if name == "small":
        layout = images.image_of(lab.directory("cost") / "layout", layers(
            lab.directory("cost-layers"), lambda t: t.file("a", b"a"),
            lambda t: t.file("b", b"b"))).layout
    else:
        layout = subprocess.run([services.project_root() / "tools/build-image", name], check=True,
                                text=True, stdout=subprocess.PIPE).stdout.strip()
    # A verdict is of an image in a repository: by turns, none is remembered.
    places = [lab.push_layout(f"cost-{name}-{turn}", Path(layout)) for turn in "ab"]
    sides = Sides(lab, fresh_streaming, network_name)
    try:
        times: dict[str, list[float]] = {"with": [], "without": []}
        for run in range(RUNS):
            reference = through(sides.network, places[run % 2])
            times["without"].append(sides.pull(sides.plain, reference))
            times["with"].append(sides.pull(sides.streaming.containerd, reference))
        round_trip = 2 * sides.network.delay_ms / 1000
    finally:
        sides.close()

    medians = {side: statistics.median(each) for side, each in times.items()}
    print(f"{name} {network_name}: with {medians['with']:.3f} s, without {medians['without']:.3f} s,"
          f" ratio {medians['with'] / medians['without']:.3f}, round trip {round_trip:.3f} s; "
          f"{ {side: [round(t, 2) for t in each] for side, each in times.items()} }")
    assert medians["with"] <= 1.02 * medians["without"] + round_trip

"""What an operator can see: status of layers and containers, metrics, the log."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from corpus import layers
from runnel_env import Streaming
from sandbox import cri, daemons, services
from sandbox.containerd import run
from test_already_unpacked import mounts_of
from test_fallback import artifact_blobs, damage

SIZE = 300_000
BUSYBOX = Path("/bin/busybox").read_bytes()
LINE = re.compile(r"(# (HELP|TYPE) runnel_node_\w+ .+|runnel_node_\w+(\{[^}]*\})? [0-9.e+-]+|"
                  r"runnel_node_\w+_bucket\{[^}]*le=\"\+Inf\"\} \d+)")


@pytest.fixture
def pushed(lab, request):
    """Three layers that no other test has, with an artifact."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    made = lab.push(name, layers(
        lab.directory("seen"), lambda t: t.file("name", name.encode()),
        lambda t: t.directory("d").file("d/f", content("f", name)),
        lambda t: t.directory("d").file("d/g", content("g", name))))
    services.convert(made.reference)
    return made


def content(*seed: str) -> bytes:
    return random.Random(" ".join(seed)).randbytes(SIZE)


def metrics_of(node: services.Node) -> dict[str, float]:
    """Each line of the page must be one of the text format."""
    with urllib.request.urlopen(f"http://{node.status()['metrics']}/metrics", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        page = answer.read().decode()
    for line in page.splitlines():
        assert LINE.fullmatch(line), line
    assert "sha256" not in page, "a label names an image or a layer"
    return {name: float(value) for name, _, value in
            (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))}


def status_text(side, *flags: str) -> str:
    return run([services.program(), "node", "status", *flags, "--control", str(side.node.control)])


def test_status_tells_of_each_layer_whether_it_is_here_and_how_it_is_mounted(streaming, pushed):
    streaming.pull(pushed.reference)
    status = streaming.image_status(pushed.reference)
    assert status["reason"] == "Streaming", status
    assert [layer["mounted"] for layer in status["layers"]] == ["served"] * 3
    assert all(layer["last_error"] == "" for layer in status["layers"])

    with streaming.containerd.view(pushed.image.chain_ids[-1]) as root:
        assert len((root / "d/f").read_bytes()) == SIZE
        text = status_text(streaming, "--layers")
    status = streaming.image_status(pushed.reference)
    layer = status["layers"][1]
    assert 0 < layer["bytes_present"] <= layer["bytes"]
    assert all(0 <= each["page_cache_bytes"] <= each["bytes"] for each in status["layers"])
    assert status["page_cache_bytes"] <= status["bytes"]
    assert layer["bytes_fetched"] > 0

    whole = streaming.node.status()
    assert whole["engine"] == streaming.node.engine
    assert "passed its trial" in whole["engine_reason"]
    assert layer["digest"][:19] in text and "served by the node" in text
    assert pushed.reference.rsplit(":", 1)[0] in status_text(streaming)


def test_status_tells_why_not(lab, streaming):
    plain = lab.push("seen-plain", layers(lab.directory("plain"), lambda t: t.file("p", b"plain")))
    streaming.pull(plain.reference)
    assert streaming.image_status(plain.reference)["reason"] == "NoArtifact"

    text = status_text(streaming)

    assert re.search(r"seen-plain@sha256:\w+ +NoArtifact", text), text


def test_status_tells_of_a_layer_that_came_corrupt(lab, fresh_streaming, pushed):
    damage(lab, artifact_blobs(pushed.reference)["application/vnd.runnel.layer.v1"], 20)
    side = fresh_streaming("erofs-file", more_arguments=("--log-format", "json"))
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        for file in root.rglob("*"):
            try:
                file.is_dir() or file.read_bytes()
            except OSError:
                pass

    bad = [layer for layer in side.image_status(pushed.reference)["layers"]
           if layer["corrupt_chunks"]]

    assert len(bad) == 1
    assert "corrupt" in bad[0]["last_error"] or "chunk" in bad[0]["last_error"]
    assert "came corrupt" in status_text(side, "--layers")
    assert metrics_of(side.node)["runnel_node_corrupt_chunks_total"] >= 1
    said = [json.loads(line) for line in side.node.daemon.log.read_text().splitlines()]
    assert {line["layer"] for line in said if "layer" in line} == {bad[0]["digest"]}


def container(side, name: str) -> dict:
    found = [each for each in side.node.containers() if each["id"] == name]
    assert len(found) == 1, side.node.containers()
    return found[0]


def test_containers_tell_their_image_engine_and_bytes(lab, streaming, pushed):
    plain = lab.push("seen-ordinary", layers(lab.directory("plain"),
                                             lambda t: t.file("o", b"ordinary")))
    streaming.pull(pushed.reference)
    streaming.pull(plain.reference)

    with (streaming.containerd.active(pushed.image.chain_ids[-1]) as (streamed, root),
          streaming.containerd.active(plain.image.chain_ids[-1]) as (ordinary, _)):
        assert len((root / "d/f").read_bytes()) == SIZE
        one, two = container(streaming, streamed), container(streaming, ordinary)
        text = status_text(streaming, "--containers")

    assert one["image"].startswith(pushed.reference.rsplit(":", 1)[0] + "@sha256:")
    assert one["reference"] == pushed.reference
    assert (one["namespace"], one["engine"], one["reason"]) == (
        "k8s.io", streaming.node.engine, "Streaming")
    assert one["layers"] == one["streamed_layers"] == 3
    assert 0 < one["bytes_present"] <= one["bytes"]
    assert (two["engine"], two["reason"], two["streamed_layers"]) == ("overlayfs", "NoArtifact", 0)
    assert re.search(rf"{streamed} +k8s.io +{streaming.node.engine} +Streaming +3 of 3", text), text


MANY = 100


def seconds_to_list_containers(side, number: int) -> float:
    """The best of some."""
    def one() -> float:
        begin = time.monotonic()
        assert len(side.node.ask("/containers")["containers"]) == number
        return time.monotonic() - begin
    return min(one() for _ in range(10))


def test_a_list_of_many_containers_looks_at_the_mounts_as_often_as_one_of_few(lab, fresh_streaming):
    """Every lower part of the image is mounted: 5,000 layers, which take more time than a hundred containers on
    the lowest layer do."""
    pushed = lab.push("seen-many", layers(lab.directory("many"), *(
        lambda t, n=number: t.file(f"f{n}", content("many", str(n))[:5000]) for number in range(MANY))))
    services.convert(pushed.reference)
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    lowest, *others = pushed.image.chain_ids
    for chain_id in others:  # the collector may take the view again; the mount stays for a while
        side.containerd.ctr("snapshots", "--snapshotter", "runnel", "view", f"on-{chain_id}", chain_id)
    side.containerd.new_snapshot("runnel", "prepare", "container", lowest)
    one = seconds_to_list_containers(side, 1)
    for number in range(1, MANY):
        side.containerd.new_snapshot("runnel", "prepare", f"container-{number}", lowest)

    many = seconds_to_list_containers(side, MANY)

    print(f"{len(mounts_of(side))} mounts: {one * 1e3:.1f} ms for one container, {many * 1e3:.1f} ms for {MANY}")
    assert len(mounts_of(side)) >= MANY
    assert many < 4 * one


def test_a_running_container_is_found_by_its_id(lab, streaming, converted_recipe):
    pushed = converted_recipe("python")
    streaming.pull(pushed.reference)
    name, seen = f"seen-{streaming.node.engine}", []

    started = streaming.containerd.run(pushed.reference, name, "sh", "-c", "echo READY; exec sleep 1000",
                                       on_ready=lambda: seen.append(container(streaming, name)))

    assert started.seconds_to_ready is not None, started.output
    assert seen[0]["reason"] == "Streaming"
    assert seen[0]["bytes_fetched"] > 0


def test_a_container_of_a_pod_is_found_by_its_id(lab):
    """As kubelet starts it, with the ID that kubelet knows."""
    busybox = lambda t: t.directory("bin").file("bin/busybox", BUSYBOX, 0o755)
    sleep = ["/bin/busybox", "sleep", "1000"]
    pause = lab.push("seen-pause", layers(lab.directory("pause"), lambda t: t.file("p", b"p"),
                                            busybox), sleep)
    image = lab.push("seen-pod", layers(lab.directory("pod"), busybox,
                                        lambda t: t.file("more", content("pod"))))
    services.convert(image.reference)
    side = Streaming(lab, "auto")
    side.containerd.pod_image = pause.reference
    try:
        side.start()
        side.pull(image.reference)
        with cri.Pod(side.containerd.socket, "seen") as pod:
            name = pod.start(image.reference, "main", sleep)
            one, paused = container(side, name), container(side, pod.id)
    finally:
        side.close()

    assert (one["reason"], one["layers"], one["streamed_layers"]) == ("Streaming", 2, 2), one
    assert one["reference"] == image.reference
    assert one["namespace"] == "k8s.io"
    assert 0 < one["bytes_present"] < one["bytes"], "a start reads a part"
    assert one["bytes_fetched"] > 0
    assert (paused["reason"], paused["engine"]) == ("NoArtifact", "overlayfs"), paused


def test_metrics_count_what_happens(streaming, pushed):
    before = metrics_of(streaming.node)
    streaming.pull(pushed.reference)
    with streaming.containerd.view(pushed.image.chain_ids[-1]) as root:
        (root / "d/f").read_bytes()
        (root / "d/g").read_bytes()
    after = metrics_of(streaming.node)

    def grew(name: str) -> float:
        return after[name] - before.get(name, 0)
    assert grew("runnel_node_reads_total") > 0
    assert grew("runnel_node_read_bytes_total") >= 2 * SIZE
    assert grew("runnel_node_read_wait_seconds_count") > 0
    assert grew('runnel_node_fetch_requests_total{priority="demand"}') > 0
    assert grew('runnel_node_fetch_bytes_total{priority="demand"}') > 0
    assert grew("runnel_node_cache_bytes") > 0
    assert grew('runnel_node_images{reason="Streaming"}') >= 1
    assert grew('runnel_node_snapshotter_calls_total{call="Prepare",code="already exists"}') == 3
    assert after["runnel_node_worker_restarts_total"] == 0
    assert grew("runnel_node_read_errors_total") == 0


def test_a_worker_that_was_killed_is_counted(fresh_streaming):
    side = fresh_streaming("erofs-file")
    worker = side.node.worker
    os.kill(worker, signal.SIGKILL)
    daemons.wait_until(lambda: side.node.worker not in (None, worker) and side.node._serves(), 30,
                       "another worker")

    assert metrics_of(side.node)["runnel_node_worker_restarts_total"] == 1
    assert side.node.status()["worker_restarts"] == 1


def test_a_busy_port_for_metrics_is_a_warning(streaming, tmp_path):
    busy = streaming.node.status()["metrics"]
    other = services.Node(tmp_path / "n", metrics=busy)
    try:
        other.start()
        metrics = other.status()["metrics"]
    finally:
        other.stop()

    warnings = [line for line in other.daemon.log.read_text().splitlines() if " warning " in line]
    assert metrics == "off"
    assert [line for line in warnings if busy.rpartition(":")[2] in line and "--metrics" in line]


def test_the_log_has_fields_for_programs(fresh_streaming, pushed):
    side = fresh_streaming("erofs-file", more_arguments=("--log-format", "json"))
    side.pull(pushed.reference)
    assert side.image_status(pushed.reference)["reason"] == "Streaming"

    lines = [json.loads(line) for line in side.node.daemon.log.read_text().splitlines()]

    assert [line for line in lines if line["message"] == "streams"
            and line["image"].startswith(pushed.reference.rsplit(":", 1)[0])]
    assert all({"time", "level", "message"} <= set(line) for line in lines)

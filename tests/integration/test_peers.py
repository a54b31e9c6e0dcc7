"""The snapshotters that bench/cold-start measures beside: they stream, every time from an empty cache."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from sandbox import cold_start, images, peers, services
from sandbox.containerd import run

ROOT = services.project_root()
sys.path.append(str(ROOT / "bench"))

from growth_bench import content  # noqa: E402

MIB = 32


def built(name: str) -> bool:
    try:
        run([str(ROOT / "tools/build-peers"), "--find", name])
    except Exception:  # not built, and building takes minutes and the module proxy
        return False
    return True


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.skipif(
    not built(name), reason=f"needs {name}, built: tools/build-peers {name}")) for name in peers.BY_NAME])
def test_a_peer_starts_a_container_with_a_part_of_the_image_and_every_time_anew(runnel, name):  # noqa: ARG001
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:  # short enough for a socket's path
        image = Path(scratch) / "image"
        image.mkdir()
        layout = content.of_size(image, MIB)
        with cold_start.Bench(Path(scratch) / "b", [name], ["loopback"],
                              workload=cold_start.Workload(again=False)) as bench:
            bench.sides[name].peer.push_converted(
                layout, f"{bench.registry.host}/{cold_start.repository_of('large', name)}:1", image)
            runs = [bench.measure("large", "loopback", name, number) for number in range(2)]

    assert [each.ready_line for each in runs] == ["READY"] * 2
    assert all(1 << 20 < each.bytes < MIB << 19 for each in runs), runs
    assert runs[1].bytes > runs[0].bytes / 2  # what the first one fetched is not there any more


def test_a_peer_that_cannot_be_built_is_said_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNNEL_PEERS", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if Path("/usr/bin/go").exists():
        pytest.skip("Go is among the system's programs")

    found = peers.absent(["erofs-file", "soci"])

    assert found == {"soci": "soci cannot be built: build-peers: needs go"}


def test_a_peer_that_fails_with_an_image_costs_nobody_else(tmp_path, monkeypatch):
    bench = cold_start.Bench(tmp_path, ["soci", "eager"], ["loopback"])
    asked = []

    def measure(image, network, engine, number):
        asked.append(engine)
        if engine == "soci":
            raise peers.PeerError("it did not stream")
        return cold_start.Run(image, network, engine, number, 1, 1, 1, 1, 1, 1, 1)
    monkeypatch.setattr(bench, "measure", measure)

    runs = cold_start.rounds(bench, "python", 2, say=lambda _: None)

    assert [run.engine for run in runs] == ["eager", "eager"]
    assert asked == ["soci", "eager", "eager", "eager"]
    assert bench.given_up == {("python", "soci"): "soci with python: PeerError: it did not stream"}
    monkeypatch.setattr(bench, "measure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench.measure_or_give_up("python", "loopback", "eager", 1)


def test_a_bench_that_does_not_come_up_leaves_nothing_running(tmp_path, runnel):  # noqa: ARG001
    too_long = tmp_path / ("a" * 100)  # for the node's socket

    bench = cold_start.Bench(too_long, ["erofs-file"], ["loopback"])
    with pytest.raises(Exception, match="107 bytes"):
        bench.__enter__()

    assert bench.registry.daemon.pid is None
    assert not too_long.exists()


def test_an_index_with_an_artifact_is_pushed_as_it_is(registry, tmp_path):
    plain = images.image_of(tmp_path / "image", [])
    index = images.read_layout(plain.layout)
    artifact = images.json.dumps({**index, "artifactType": "application/x.test"}).encode()
    digest = images.sha256(artifact)
    images.blob_path(plain.layout, digest).write_bytes(artifact)
    top = images.json.dumps({"schemaVersion": 2, "mediaType": images.INDEX, "manifests": [
        {"mediaType": images.MANIFEST, "digest": each, "size": images.blob_path(plain.layout, each).stat().st_size}
        for each in (plain.manifest_digest, digest)]}).encode()
    images.blob_path(plain.layout, images.sha256(top)).write_bytes(top)
    (plain.layout / "index.json").write_text(images.json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": images.INDEX, "digest": images.sha256(top), "size": len(top)}]}))

    images.push_as_it_is(plain.layout, f"{registry.host}/a/b:1")

    assert images.manifest_of(f"{registry.host}/a/b:1") == (images.sha256(top), images.json.loads(top))
    assert images.manifest_of(f"{registry.host}/a/b@{digest}")[1]["artifactType"] == "application/x.test"


def test_a_layer_without_an_end_gets_one_and_keeps_its_files(tmp_path):
    content.bytes_tar(tmp_path / "layer.tar", 0, 3000)
    whole = (tmp_path / "layer.tar").read_bytes()
    (tmp_path / "layer.tar").write_bytes(whole[:1536 + 3000])  # two directories, a header, and the file's bytes
    image = images.image_of(tmp_path / "image", [tmp_path / "layer.tar"], ["/bin/x"])

    made = peers.with_ends(image.layout, tmp_path / "made")

    layer = images.read_layout(made)["layers"][0]
    plain = gzip.decompress(images.blob_path(made, layer["digest"]).read_bytes())
    assert len(plain) % 10240 == 0 and plain[:4536] == whole[:4536] and not plain[4536:].strip(b"\0")
    config = images.json.loads(images.blob_path(made, images.read_layout(made)["config"]["digest"]).read_text())
    assert config["rootfs"]["diff_ids"] == [images.sha256(plain)]
    assert config["config"]["Cmd"] == ["/bin/x"]
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert archive.extractfile("data/0/0").read() == whole[1536:4536]

"""What bench/ measures with: a wrong answer of a server must never become a number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from converting import pattern, tar
from registry_calls import Calls, digest, push_blob
from sandbox import images, services

BENCH = services.project_root() / "bench"
TOOLS = Path(services.program()).parent / "bench"
sys.path.append(str(BENCH))


def tool(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    program = TOOLS / name
    if not os.access(program, os.X_OK):
        pytest.fail(f"{program} is not built: cmake --build --preset release")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True,
                          timeout=60)


def load(served, verb: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return tool("runnel-load", verb, "--port", served.host.rpartition(":")[2], "--connections", 3,
                "--seconds", 0.3, *arguments)


def test_reads_are_counted_with_every_byte_of_their_bodies(served, call):
    content = bytes(range(256)) * 1024
    push_blob(call, "bench/read", content)
    target = f"/v2/bench/read/blobs/{digest(content)}"

    whole = load(served, "read", "--target", target, "--warm-up", 0)
    ranges = load(served, "read", "--target", target, "--warm-up", 0, "--range", 1000, "--of",
                  len(content))

    for done, size in ((whole, len(content)), (ranges, 1000)):
        assert done.returncode == 0, done.stderr
        measured = json.loads(done.stdout)
        assert measured["done"] > 0
        assert measured["bytes"] == measured["done"] * size
        assert 0 < measured["p50_us"] <= measured["p99_us"] <= measured["max_us"]


def test_an_answer_of_another_status_ends_the_run(served):
    done = load(served, "read", "--target", "/v2/bench/read/blobs/sha256:" + "0" * 64)

    assert done.returncode == 1
    assert "status 404 instead of 200" in done.stderr
    assert done.stdout == ""


def test_what_was_pushed_is_there(served):
    def stored() -> set[Path]:
        return {path for path in (served.directory / "data/content/blobs").rglob("*")
                if path.is_file() and path.stat().st_size == 1024}

    before = stored()
    done = tool("runnel-load", "push", "--port", served.host.rpartition(":")[2], "--connections", 4,
                "--seconds", 30, "--repository", "bench/push", "--bytes", 1024, "--count", 20)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 20
    assert len(stored() - before) == 20


def test_a_filled_store_is_one_that_the_registry_serves(runnel, tmp_path):  # noqa: ARG001
    registry = services.Registry(tmp_path / "registry")
    data = tmp_path / "registry" / "data"
    filled = tool("runnel-fill-store", "--data", data, "--manifests", 5, "--tags", 3,
                  "--referrers", 4)
    assert filled.returncode == 0, filled.stderr
    last = filled.stdout.strip()
    try:
        call = Calls(registry.start().host)
        tags = call("GET", "/v2/bench/store/tags/list").json()["tags"]
        listed = call("GET", f"/v2/bench/store/referrers/{last}").json()["manifests"]
        assert tags == [f"m{i}" for i in range(5)] + [f"release-{i:08}" for i in range(3)]
        assert len({each["digest"] for each in listed}) == 4
        assert call("GET", f"/v2/bench/store/manifests/{last}").status == 200
        call.close()
    finally:
        registry.stop()


# Conversion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["plain", "gzip", "zstd"])
def test_the_stages_of_a_conversion_see_every_byte(tmp_path, compression):
    archive = tar(tmp_path / "layer.tar", lambda t: t.file("a", pattern(300_000)).file("b", b"x" * 70_000))
    layer = images.compress(archive, compression)

    done = tool("runnel-conversion-stages", "--layer", layer, "--scratch", tmp_path)

    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    stages = measured["stages"]
    assert measured["plain_bytes"] == archive.stat().st_size
    assert stages["read"]["bytes"] == layer.stat().st_size
    for name in ("inflate", "hash of the tar", "layout"):
        assert stages[name]["bytes"] == archive.stat().st_size, name
    blocks = (300_000 + 4095) // 4096 + (70_000 + 4095) // 4096
    assert stages["hash of chunks"]["bytes"] == stages["zstd"]["bytes"] == blocks * 4096
    for name in ("hash of the blob", "write", "sync"):
        assert stages[name]["bytes"] == measured["stored_bytes"] > 0, name
    assert all(stage["seconds"] >= 0 and stage["cpu_seconds"] >= 0 for stage in stages.values())
    assert set(tmp_path.iterdir()) == {archive, layer}


def test_the_stages_of_a_layer_that_is_cut_short_are_no_figures(tmp_path):
    layer = images.compress(tar(tmp_path / "layer.tar", lambda t: t.file("a", pattern(300_000))), "gzip")
    layer.write_bytes(layer.read_bytes()[:-100])

    done = tool("runnel-conversion-stages", "--layer", layer, "--scratch", tmp_path)

    assert done.returncode == 1
    assert "cut short" in done.stderr
    assert done.stdout == ""


def test_an_account_counts_what_processes_cost_that_have_ended():
    from conversion_bench.account import Account

    # 64 MiB and half a second of work, in a child of a child.
    work = ("import time\nheld = bytearray(b'x') * (64 << 20)\nwhile time.process_time() < 0.5: pass\n")
    with Account() as account:
        account.begin()
        subprocess.run(account.argv(["/bin/sh", "-c", f'{sys.executable} -c "{work}"; true']), check=True)
        cost = account.cost()
        groups = account.groups

    assert 0.5 <= cost.cpu_seconds <= cost.seconds + 1
    assert 64 << 20 <= cost.peak_anonymous_bytes < 128 << 20
    assert cost.peak_resident_bytes >= cost.peak_anonymous_bytes * 0.9
    assert not any(group.exists() for group in groups)


def test_conversion_is_measured_and_nothing_stays(tmp_path, runnel):  # noqa: ARG001
    image = images.image_of(tmp_path / "image", [
        tar(tmp_path / "layer.tar", lambda t: t.directory("d").file("d/f", pattern(2_000_000)))])
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    done = subprocess.run(
        [BENCH / "conversion", "--layout", image.layout, "--only", "speed", "--only", "second", "--rounds", "2",
         "--scratch", scratch, "--json", tmp_path / "results.json"], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads((tmp_path / "results.json").read_text())["cases"]
    speed, second = cases["speed"], cases["second"]
    for side in ("gzip", "service", "command"):
        assert len(speed[side]["runs"]) == 2
        assert speed[side]["cpu_seconds"] > 0
    assert speed["ratio"]["low"] <= speed["ratio"]["median"] <= speed["ratio"]["high"]
    assert speed["source_bytes"] == image.layers[0].blob.stat().st_size
    assert 0 < speed["layer_blob_bytes"] < 2_100_000
    assert (second["converted"], second["reused"]) == (1, 1)
    table = (tmp_path / "results.md").read_text()
    assert "| conversion beside `gzip -dc" in table and "| a new version" in table
    assert list(scratch.iterdir()) == []


def test_what_others_make_is_shown_and_what_is_not_installed_is_said(monkeypatch):
    from conversion_bench import cases, peers, report

    cost = {"seconds": 2.0, "cpu_seconds": 3.5, "peak_anonymous_bytes": 5 << 20, "size_bytes": 7 << 20}
    monkeypatch.setattr(peers.shutil, "which", lambda program: None if program == "ctr-remote" else program)
    peer = next(case for case in cases.CASES if case.name == "peers")
    results = {"date": "2026-01-02", "image": "a", "load": 0.5,
               "machine": {"processors": 2, "model": "a", "kernel": "6.1"},
               "cases": {"peers": {"sides": {"mkfs.erofs, plain": cost}, "absent": peers.absent(), "met": True}}}

    row = report.markdown(results, cases.CASES).splitlines()[-1]

    assert row == (f"| {peer.title} | mkfs.erofs, plain 2.00 s, 3.50 s CPU, 5 MiB of memory<br>**ctr-remote**: not "
                   "installed (Debian's package stargz-snapshotter), and so not measured | mkfs.erofs, plain 7 MiB "
                   "| none |  |")


def test_a_peer_is_measured_and_shown(tmp_path, runnel):  # noqa: ARG001
    image = images.image_of(tmp_path / "image", [
        tar(tmp_path / "layer.tar", lambda t: t.directory("d").file("d/f", pattern(2_000_000)))])

    done = subprocess.run([BENCH / "conversion", "--layout", image.layout, "--only", "peers", "--scratch", "/var/tmp",
                           "--json", tmp_path / "results.json"], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stdout + done.stderr
    peers = json.loads((tmp_path / "results.json").read_text())["cases"]["peers"]
    assert 2_000_000 < peers["sides"]["mkfs.erofs, plain"]["size_bytes"] < 3_000_000
    assert {name for name in peers["sides"] if "ctr-remote" in name} or "ctr-remote" in peers["absent"]
    assert "| what others make of the image | mkfs.erofs, plain" in (tmp_path / "results.md").read_text()


@pytest.mark.heavy
def test_conversion_needs_little_memory_whatever_the_layer(tmp_path, runnel):  # noqa: ARG001
    """A sparse file of 20 GiB with more than 1 GiB in it; three hundred thousand files."""
    image = images.image_of(tmp_path / "image", [tar(tmp_path / "layer.tar", lambda t: t.file("f", b"x"))])

    done = subprocess.run(
        [BENCH / "conversion", "--layout", image.layout, "--only", "huge", "--only", "small", "--small-files",
         "300000", "--json", tmp_path / "results.json"], capture_output=True, text=True, timeout=1500)

    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads((tmp_path / "results.json").read_text())["cases"]
    for name in ("huge", "small"):
        assert cases[name]["plain_bytes"] > 250 << 20, name
        for side in ("service", "command"):
            assert 1 << 20 < cases[name][side]["peak_anonymous_bytes"] < 300 << 20, (name, side, cases[name])

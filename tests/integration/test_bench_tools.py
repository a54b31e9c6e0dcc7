"""What bench/registry measures with: a wrong answer of a server must never become a number."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from registry_calls import Calls, digest, push_blob
from sandbox import services

TOOLS = Path(services.program()).parent / "bench"


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

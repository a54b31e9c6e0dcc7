"""bench/registry: what its tables show, and that both registries are asked the same over TLS too."""

from __future__ import annotations

import sys

import pytest
from sandbox import services

sys.path.append(str(services.project_root() / "bench"))

from registry_bench import cases, matrix, report, servers  # noqa: E402
from registry_bench.content import Client  # noqa: E402

MACHINE = {"processors": 2, "model": "a", "kernel": "6.1", "docker-registry": "2.8", "nginx-light": "1.22"}


def side(p50_us: float) -> dict:
    return {"rate": 1000, "bytes_per_second": 0, "p50_us": p50_us, "p99_us": p50_us * 4, "cpu_us_per_request": 20,
            "generator_busy": 0.5, "peak_resident_bytes": 12 << 20}


def row(connections: int, ratio: float | None, tls: bool = False) -> dict:
    spread = {} if ratio is None else {"median": ratio, "low": ratio - 0.1, "high": ratio + 0.1}
    return {"question": "4 KiB range", "connections": connections, "tls": tls, "other": "nginx",
            "runnel": side(250), "nginx": side(500), "ratio": spread, "cpu_ratio": spread}


def test_each_question_has_a_line_and_what_is_lost_is_said():
    rows = [row(1, 1.5), row(256, 0.9), row(1, None, tls=True)]

    lines = matrix.table(rows)

    assert lines[2] == "| what, beside what | 1 | 16 | 64 | 256 |"
    assert lines[4] == ("| 4 KiB range, beside nginx | 1.50 (1.40–1.60)<br>p50 0.25 : 0.50 ms<br>p99 1.00 : 2.00 ms"
                        "<br>CPU 20 : 20 µs<br>memory 12 : 12 MiB |  |  | **0.90 (0.80–1.00), slower**<br>p50 0.25 : "
                        "0.50 ms<br>p99 1.00 : 2.00 ms<br>CPU 20 : 20 µs<br>memory 12 : 12 MiB |")
    assert lines[5] == "| 4 KiB range over TLS, beside nginx | nginx answered nothing in time |  |  |  |"
    assert matrix.lost(rows) == 1


def test_a_case_shows_memory_and_what_was_pushed_and_every_page():
    pushed = {"runnel": {**side(9), "rate": 10, "pushed_bytes_per_second": 160 << 20}, "rounds": 1,
              "ratio": {"median": 2, "low": 1, "high": 3}, "cpu_ratio": {}, "met": True}
    tags = {"entries": 7, "pages": 1, "page_bytes": 0, "milliseconds": 1.0, "p99_milliseconds": 2.0,
            "all_milliseconds": {"runnel": 10.2, "docker-registry": 300.7}, "met": True}
    results = {"date": "2026-01-02", "machine": MACHINE,
               "cases": {"push-16m": pushed, "tags-page": tags, "connections": {"rows": [row(1, 0.5)], "met": True}}}

    text = report.markdown(results, cases.CASES)

    assert "| runnel 160 MiB/s, p50 0.01 ms, p99 0.04 ms, 20 µs CPU, 12 MiB | **2.00** (1.00–3.00) |" in text
    assert "<br>all of them: runnel 10 ms, docker-registry 301 ms |" in text
    assert "| below | 1 of 1 slower |" in text
    assert "| 4 KiB range, beside nginx | **0.50 (0.40–0.60), slower**<br>" in text


@pytest.fixture
def pair(tmp_path, runnel):  # noqa: ARG001
    identity = servers.Identity.make(tmp_path)
    started = [servers.Runnel(tmp_path / "runnel", identity), servers.DockerRegistry(tmp_path / "docker", identity)]
    try:
        yield identity, [server.start() for server in started]
    finally:
        for server in started:
            server.stop()


def test_both_registries_answer_over_tls_and_list_the_tags_that_were_added(pair):
    identity, (ours, docker) = pair
    for server in (ours, docker):
        client = Client(server.host, identity.context())
        client.check_manifest("bench/app", "v1", client.push_image("bench/app", "v1"))
        client.close()
        assert servers.peak_resident(servers.pid_of(server)) > 1 << 20
    client = Client(docker.host, identity.context())

    docker.add_tags("bench/app", client.push_image("bench/app", "m0"), 3)

    pages, _ = cases.walk(client, "/v2/bench/app/tags/list")
    assert len(pages) == 1
    listed = client.ask("GET", "/v2/bench/app/tags/list", 200)[1]
    assert b"release-00000002" in listed
    client.check_manifest("bench/app", "release-00000002", client.push_image("bench/app", "m0"))
    client.close()

"""bench/warm-reads: what it calls met, what it shows, and that its reader does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import services

sys.path.append(str(services.project_root() / "bench"))

from warm_reads_bench import cases, measuring, places, report  # noqa: E402

FIND = next(case for case in cases.CASES if case.name == "find")
COLD = next(case for case in cases.CASES if not case.warm)
READER = Path(services.program()).parent / "bench/runnel-warm-reader"


def test_ratios_are_taken_within_a_round():
    rows = measuring.rows(FIND, {places.ORDINARY: [1, 2, 4], "fuse": [1.2, 2, 4.4]})

    assert [row["ratio"] for row in rows] == [1, 1.1]
    assert (rows[1]["ratio_min"], rows[1]["ratio_max"]) == (1, 1.2)
    assert rows[0]["met"] is None
    assert rows[1]["met"] is False


def test_cold_reads_may_take_half_as_long_again():
    assert COLD.met(1.5)
    assert not COLD.met(1.51)


def test_what_is_not_met_is_said():
    rows = measuring.rows(FIND, {places.ORDINARY: [1.0], "erofs-file": [0.5], "fuse": [2.0]})
    results = {"date": "2026-01-02", "machine": {"processors": 2, "model": "a", "kernel": "6.1"},
               "load": 0.5, "image": "node", "summary": rows}

    last = report.markdown(results).splitlines()[-1]

    assert last == f"| {FIND.title} | 1.000 s | 0.50 (0.50–0.50) | **2.00 (2.00–2.00), not met** |"


def test_a_node_that_does_not_fill_is_not_waited_for():
    cache = {"state": "room", "free_bytes": 9 << 20, "min_free_bytes": 10 << 20}
    places.check_that_it_fills(cache)

    with pytest.raises(RuntimeError, match="no filling.*9 MiB are free, and it leaves 10 MiB: make room"):
        places.check_that_it_fills({**cache, "state": "no filling"})


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/small").write_bytes(b"x" * 10_000)
    (tmp_path / "bin/large").write_bytes(b"x" * 100_000)
    return tmp_path


def test_the_largest_file_is_the_same_everywhere(tree):
    (tree / "also-large").write_bytes(b"y" * 100_000)

    assert cases.largest_file(tree) == tree / "bin/large"


@pytest.mark.parametrize("arguments", [("stat", "."), ("mmap", "bin/large")])
def test_the_reader_says_how_long_it_took(tree, arguments):
    if not READER.exists():
        pytest.fail(f"{READER} is not built: cmake --build --preset release")
    told = subprocess.run([READER, arguments[0], tree / arguments[1], "--count", "3"], check=True,
                          capture_output=True, text=True)

    assert 0 < float(told.stdout) < 10


def test_the_reader_takes_no_failure_for_a_time(tree):
    (tree / "bin/dangling").symlink_to("nowhere")
    for arguments in (["stat", tree / "absent"], ["mmap", tree / "absent"], ["exec", tree]):
        told = subprocess.run([READER, *arguments], capture_output=True, text=True)
        assert told.returncode == 1, arguments
        assert told.stdout == ""
        assert "runnel-warm-reader: " in told.stderr

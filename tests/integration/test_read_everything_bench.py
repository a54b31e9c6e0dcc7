"""bench/read-everything: what it calls alike and met, and what it shows."""

from __future__ import annotations

import sys

import pytest
from sandbox import services
from sandbox.cold_start import Run

sys.path.append(str(services.project_root() / "bench"))

from read_everything_bench import reading, report  # noqa: E402

SUMS = "READY 3 files " + "ab" * 32


def start(engine: str, seconds: float, number: int = 1, ready_line: str = SUMS) -> Run:
    return Run("python", "1g-2ms", engine, number, seconds, 0.3, 0, 0, 400, 83_000_000, 4,
               {"node": 1.0, "containerd": 0.2, "registry": 9.0}, 90_000_000, ready_line)


def test_ratios_are_taken_within_a_round():
    rows = reading.summaries([start("eager", 4, 1), start("erofs-file", 3, 1),
                              start("eager", 2, 2), start("erofs-file", 2.2, 2)])

    streamed = next(row for row in rows if row["engine"] == "erofs-file")
    assert (streamed["ratio_to_eager"], streamed["ratio_min"], streamed["ratio_max"]) == (0.925, 0.75, 1.1)
    assert streamed["files"] == 3
    assert reading.is_met(streamed)


def test_slower_than_the_ordinary_way_is_not_met_and_said():
    rows = reading.summaries([start("eager", 4), start("erofs-file", 4.1)])
    results = {"date": "2026-01-02", "machine": {"processors": 2, "model": "a", "kernel": "6.1"},
               "load": 0.5, "plot": "a.svg", "summary": rows}

    eager, streamed = report.markdown(results).splitlines()[-2:]

    assert streamed == ("| python, 3 files | 1g-2ms | erofs-file | 4.10 (4.10–4.10) | **1.02** "
                        "(1.02–1.02) | 0.30 | 400 | 83.0 | 1.20 | 90 | 1.0, **not met** |")
    assert eager.endswith("|  |")


@pytest.mark.parametrize("other", ["READY 3 files " + "cd" * 32, "READY 2 files " + "ab" * 32, ""])
def test_another_sum_is_no_measurement(other):
    with pytest.raises(reading.WrongBytes, match="python: erofs-file"):
        reading.summaries([start("eager", 4), start("erofs-file", 3, ready_line=other)])

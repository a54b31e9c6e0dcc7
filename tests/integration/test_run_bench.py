"""bench/run: each part can be started as it says, and the document leaves nothing out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import daemons, services

ROOT = services.project_root()
sys.path.append(str(ROOT / "bench"))

import measured  # noqa: E402
from run_bench import bounded, readme, summary  # noqa: E402
from run_bench.parts import BY_NAME, PARTS  # noqa: E402

FAULTS = {"reads": 12345, "minutes": 1.5, "faults": 20, "lies": 7, "wrong_reads": 0, "slowest_read_seconds": 2.5}
LOOPS = {"benchmarks": [{"name": "Sha256/4096", "cpu_time": 3.21, "time_unit": "us", "bytes_per_second": 1.5e9}]}


@pytest.mark.parametrize("part", [part for part in PARTS if part.name != "hot-loops"], ids=lambda part: part.name)
def test_a_part_knows_the_options_it_is_given(tmp_path, part):
    program, *options = part.command(tmp_path / "out.json", True, 7)

    told = subprocess.run([str(ROOT / program), "--help"], capture_output=True, text=True, check=True).stdout

    assert [each for each in options if each.startswith("--") and each not in told] == []


def test_the_document_has_every_part_and_says_what_failed(tmp_path):
    results = {}
    for name, figures in (("faults", FAULTS), ("hot-loops", LOOPS), ("registry", {"cases": {}})):
        results[name] = tmp_path / f"{name}-2026-01-02.json"
        results[name].write_text(json.dumps(figures))
    results["registry"].with_suffix(".md").write_text("| a table |\n")

    at = summary.write(tmp_path, "2026-01-02", results, {"conversion": "exit code 3"}, {"faults": 90})

    text = at.read_text()
    assert [f"## {part.title}" for part in PARTS] == [line for line in text.splitlines() if line.startswith("## ")]
    assert "## The registry\n\n| a table |" in text
    assert "**Failed**: exit code 3" in text
    assert "12,345 verified reads in 1.5 minutes, 20 faults, 7 lies of the registry: **0 wrong bytes**" in text
    assert "| Sha256/4096 | 3.2 us | 1,500 |  |" in text
    assert text.count("Not measured.") == len(BY_NAME) - 4
    assert "## Faults\n\n`bench/run faults` took 1.5 minutes." in text
    assert summary.left_before(at) == ({"faults": 90}, {"conversion": "exit code 3"})
    assert summary.left_before(tmp_path / "2026-01-03.md") == ({}, {})
    assert json.loads(at.with_suffix(".json").read_text())["parts"]["faults"] == FAULTS


def test_the_document_takes_the_newest_of_each_part_and_says_how_old_it_is(tmp_path):
    for name, day, figures in (("faults", "2026-01-01", {}), ("faults", "2026-01-02", FAULTS),
                               ("faults", "2026-01-05", {}), ("registry", "2025-12-31", {"cases": {}})):
        (tmp_path / f"{name}-{day}.json").write_text(json.dumps(figures))
    (tmp_path / "registry-2025-12-31.md").write_text("| a table |\n")

    results = summary.newest(tmp_path, "2026-01-03")

    assert results == {"faults": tmp_path / "faults-2026-01-02.json",
                       "registry": tmp_path / "registry-2025-12-31.json"}
    at = summary.write(tmp_path, "2026-01-03", results, {}, {})
    assert "## The registry\n\nNot measured again since 2025-12-31.\n\n| a table |" in at.read_text()
    assert summary.shown(at.with_suffix(".json")).startswith(
        "Measured 2026-01-03, faults 2026-01-02, registry 2025-12-31; every table")


@pytest.mark.parametrize(("model", "kept"), [("of today", [1]), ("another", [])])
def test_figures_of_two_machines_do_not_stand_beside_each_other(tmp_path, model, kept):
    path = tmp_path / "cold-start.json"
    path.write_text(json.dumps({"machine": {"model": model}, "summary": [1]}))
    results = {"machine": {"model": "of today"}, "summary": []}

    measured.keep(results, path, "summary")

    assert results["summary"] == kept


def test_a_part_ends_by_itself_and_its_output_is_kept(tmp_path):
    ended = bounded.run(["bash", "-c", "echo one; echo two >&2; exit 3"], tmp_path, 60, tmp_path / "log")

    assert ended == bounded.Ended(3, False, "two")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_a_part_that_hangs_is_told_to_end_and_cleans_up(tmp_path):
    script = 'trap "echo cleaned; exit 143" TERM; echo begun; while :; do read -t 1 -u 9 9<> <(:); done'

    ended = bounded.run(["bash", "-c", script], tmp_path, 1, tmp_path / "log")

    assert (ended.overdue, ended.last_line) == (True, "cleaned")


def test_a_part_that_does_not_end_is_killed_with_all_that_it_started(tmp_path):
    script = 'trap "" TERM; sleep 600 & echo $!; wait; wait'

    ended = bounded.run(["bash", "-c", script], tmp_path, 1, tmp_path / "log", grace=0.5)

    assert ended.overdue

    def is_dead() -> bool:
        """Gone, or a zombie that nobody has waited for."""
        try:
            state = Path(f"/proc/{ended.last_line}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state.rpartition(")")[2].split()[0] == "Z"
    daemons.wait_until(is_dead, 10, "the kernel ends what was killed")


def test_a_part_that_is_not_there_is_refused():
    told = subprocess.run([str(ROOT / "bench/run"), "cold-starts"], capture_output=True, text=True)

    assert told.returncode == 2
    assert "no part 'cold-starts'; there are cold-start," in told.stderr


def start(engine: str, seconds: float, ratio: float | None) -> dict:
    return {"image": "python", "network": "100m-20ms", "engine": engine, "seconds": seconds, "ratio_to_eager": ratio,
            "repull_seconds": 0.1, "again_seconds": 0.1,
            "again_of_eager": [1.0, 1.0, 1.0], "bytes": [1_000_000, 1_000_000]}


SIDE = {"rate": 5.0}
FIGURES = {
    "cold-start": {"summary": [start("eager", 4, 1), start("erofs-file", 3, 0.75), start("erofs-file+profile", 0.4, 0.1)]},
    "warm-reads": {"summary": [{"way": "fuse", "ratio": 1.5, "title": "find", "met": False},
                               {"way": "fuse", "ratio": 0.5, "title": "tar", "met": True}]},
    "registry": {"cases": {"bulk": {"runnel": SIDE, "nginx": SIDE, "met": False,
                                    "ratio": {"median": 0.5, "low": 0.25, "high": 0.75}},
                           "tags-page": {"milliseconds": 2, "met": True}}},
    "conversion": {"cases": {"speed": {"ratio": {"median": 0.9, "low": 0.8, "high": 1}, "size_ratio": 1.01, "met": False,
                                       "command_ratio": {"median": 1.1, "low": 1, "high": 1.2}}}},
}


def test_the_readme_shows_starts_the_rest_and_what_is_lost():
    text = readme.block("2026-01-02", FIGURES, {"a.svg": "A picture"}, {"registry": "2026-01-01"})

    assert text.startswith("Measured 2026-01-02, registry 2026-01-01; every table")
    assert "![A picture](bench/results/a.svg)" in text
    assert "[bench/results/2026-01-02.md](bench/results/2026-01-02.md)" in text
    assert "| python, 100m-20ms | 4.00 s | 3.00 s, 0.75 of it (**bar not met**) | 0.40 s, 0.10 of it |" in text
    assert "| reads of what is here, fuse | 0.50 (tar) to 1.50 (find) of overlayfs on ext4 |" in text
    assert "| registry, bulk | 0.50 (0.25–0.75) of nginx's answers a second |" in text
    assert text.endswith("Lost, or a bar not met: cold start of python, 100m-20ms, erofs-file; find, fuse; "
                         "registry, bulk; conversion, speed.\n")
    assert "| conversion by the registry | 0.90 (0.80–1.00) of the time of `gzip -dc` and `sha256sum`; 1.010" in text
    assert "| `runnel convert` | 1.10 (1.00–1.20) of the time" in text


def test_the_readme_shows_others_beside_and_where_they_are_faster():
    rows = [start("eager", 4, 1), start("erofs-file", 1, 0.25), start("soci", 0.5, 0.125)]

    text = readme.block("2026-01-02", {"cold-start": {"summary": rows}}, {}, {})

    assert "| image, network | containerd's ordinary pull | first start | with a profile | soci |" in text
    assert "| python, 100m-20ms | 4.00 s | 1.00 s, 0.25 of it |  | 0.50 s, 0.12 of it |" in text
    assert text.endswith("Lost, or a bar not met: soci is faster at python, 100m-20ms.\n")


def test_the_readme_says_what_of_a_part_is_of_another_day():
    rows = [start("eager", 4, 1) | {"date": "2026-01-01"}, start("erofs-file", 1, 0.25) | {"date": "2026-01-02"}]

    assert readme.block("2026-01-02", {"cold-start": {"summary": rows}}, {}, {"registry": "2026-01-01"}).startswith(
        "Measured 2026-01-02, registry 2026-01-01, some of cold-start 2026-01-01; every table")


def test_the_readme_says_of_which_images_a_second_container_is_slower():
    rows = [start("eager", 4, 1), start("erofs-file", 1, 0.25) | {"again_of_eager": [1.0, 1.02, 1.1]},
            start("erofs-loop", 1, 0.25) | {"again_of_eager": [1.0, 1.07, 1.1]}]

    assert "second container of python, up to 1.07 of containerd's own" in readme.lost({"cold-start": {"summary": rows}})
    fast = [rows[0], start("erofs-file", 1, 0.25) | {"again_of_eager": [0.9, 1.0, 1.1]}]
    assert readme.lost({"cold-start": {"summary": fast}}) == []


def test_the_readme_says_where_too_much_came_and_what_is_slower_than_an_ordinary_pull():
    row = start("erofs-file", 4, 1.25) | {"touched": 10, "present": 26, "network": "loopback"}

    assert readme.lost({"cold-start": {"summary": [row]}}) == [
        "bytes of a start of python, loopback, erofs-file",
        "cold start of python, loopback, erofs-file, slower than an ordinary pull"]


def test_the_readme_says_where_another_server_is_faster():
    def row(connections: int, ratio: float) -> dict:
        return {"question": "range", "connections": connections, "ratio": {"median": ratio}}

    cases = {"bulk": {"met": True, "ratio": {"median": 0.97}}, "push": {"met": True, "ratio": {"median": 2.0}},
             "connections": {"met": True, "rows": [row(1, 0.8), row(16, 0.7), row(64, 1.5)]}, "tags": {"met": True}}

    assert readme.lost({"registry": {"cases": cases}}) == [
        "registry, bulk, 0.97 of the other server's answers a second",
        "registry, connections, 2 of 3 slower than the other server, at most to 0.70 (range, 16 connections)"]


def test_only_what_stands_between_the_marks_is_written():
    page = f"before\n{readme.BEGIN}: how -->\nold\n{readme.END}\nafter\n"

    once = readme.replaced(page, "new\n")

    assert once == f"before\n{readme.BEGIN}: how -->\n\nnew\n\n{readme.END}\nafter\n"
    assert readme.replaced(once, "new\n") == once
    for broken in ("no marks", page + page, f"{readme.END}\n{readme.BEGIN}\n"):
        with pytest.raises(ValueError, match="README.md has not one line"):
            readme.replaced(broken, "new\n")


def test_the_readme_shows_the_newest_document():
    newest = max((ROOT / "bench/results").glob("????-??-??.json"))

    assert summary.shown(newest) in (ROOT / "README.md").read_text()

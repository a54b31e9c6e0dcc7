"""bench/cold-start: what it calls met, and what it shows."""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree

import pytest
from sandbox import cold_start, services

sys.path.append(str(services.project_root() / "bench"))

from cold_start_bench import bars, plot, report  # noqa: E402


def row(engine: str, seconds: float, **other) -> dict:
    return {"image": "python", "network": "100m-20ms", "engine": engine, "runs": 7, "seconds": seconds,
            "seconds_min": seconds - 0.1, "seconds_max": seconds + 0.1, "ratio_to_eager": 0.5,
            "again_seconds": 0.2, "again_of_eager": [0.9, 1.0, 1.1], "repull_seconds": 0.2, "requests": [7, 9],
            "bytes": [12_000_000, 12_600_000], "bytes_median": 12_500_000, "cpu": {"node": 0.2, "containerd": 0.1, "registry": 5.0},
            **other}


@pytest.mark.parametrize(("seconds", "met"), [(1.59, True), (1.61, False)])
def test_a_start_with_a_profile_may_take_floor_transfer_and_a_little(seconds, met):
    measured = row("erofs-file+profile", seconds)  # 1.25 x 0.4 + 1.0 + 0.1

    assert bars.verdict(measured, [measured]) == bars.Verdict("1.60 s", met)


def test_the_floor_is_that_of_the_ordinary_way_where_it_was_measured():
    measured = row("erofs-file+profile", 1.0, again_seconds=0.9)
    eager = row("eager", 9, again_seconds=0.3)

    assert bars.floor_seconds(measured, [measured]) == pytest.approx(1.1)
    assert bars.floor_seconds(measured, [measured, eager]) == pytest.approx(0.5)
    elsewhere = [row("eager", 9, network="1g-2ms"), row("eager", 9, image="node")]
    assert bars.floor_seconds(measured, [measured, *elsewhere]) == pytest.approx(1.1)


@pytest.mark.parametrize(("ratio", "met"), [(1.0, True), (1.001, False)])
def test_a_second_container_may_take_what_containerds_own_takes_in_its_round(ratio, met):
    measured = row("erofs-loop", 1.0, again_of_eager=[0.9, ratio, 1.1])

    assert bars.again_verdict(measured) == bars.Verdict("1.00 of containerd's own", met)
    assert bars.again_verdict(row("erofs-loop", 1.0, again_of_eager=None)) is None
    assert bars.again_verdict(row("eager", 9)) is None


def run(engine: str, number: int, again: float) -> cold_start.Run:
    return cold_start.Run("python", "1g-2ms", engine, number, 1, 1, again, 0.1, 1, 1, 1, {}, 0, "READY", 0, 0)


def test_a_second_container_is_compared_within_its_round():
    eager = [run("eager", number, again) for number, again in enumerate((0.1, 0.2, 0.4))]
    ours = [run("erofs-file", number, again) for number, again in enumerate((0.1, 0.22, 0.4))]

    assert cold_start.again_of_eager(eager + ours, ours) == [1.0, 1.0, 1.05]
    assert cold_start.again_of_eager(ours, ours) is None


@pytest.mark.parametrize(("ratio", "met"), [(0.6, True), (0.61, False)])
def test_a_first_start_may_take_a_part_of_an_ordinary_one(ratio, met):
    assert bars.verdict(row("erofs-file", 3, ratio_to_eager=ratio), []).met is met


def test_recipes_are_names_or_files(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("describe='mine'")

    assert cold_start.recipes(f"python,{mine}") == ["python", str(mine)]
    with pytest.raises(argparse.ArgumentTypeError, match="no 'pyhton'; there are java, jupyter"):
        cold_start.recipes("python,pyhton")


def test_what_has_no_bar_has_no_verdict():
    assert bars.verdict(row("eager", 9), []) is None
    assert bars.verdict(row("stargz", 9), []) is None
    assert bars.verdict(row("erofs-file", 1, network="loopback"), []) is None
    assert bars.verdict(row("erofs-file", 1, ratio_to_eager=None), []) is None


def test_only_the_needed_part_of_the_bytes_counts_as_transfer():
    measured = row("erofs-file+profile", 1.0, touched=20_000_000, present=40_000_000)

    assert bars.of_touched(measured) == 2
    assert bars.transfer_seconds(measured) == bars.transfer_seconds(row("erofs-file+profile", 1.0)) / 2
    # Pages that were here before count as touched, and lower nothing.
    less = row("erofs-file+profile", 1.0, touched=20_000_000, present=10_000_000)
    assert bars.transfer_seconds(less) == 1.0


@pytest.mark.parametrize(("way", "present", "met"), [
    ("erofs-file+profile", 13_000_000, True), ("erofs-file+profile", 13_100_000, False),
    ("erofs-loop", 25_000_000, True), ("erofs-loop", 25_100_000, False)])
def test_what_comes_needlessly_is_judged(way, present, met):
    measured = row(way, 1.0, touched=10_000_000, present=present)

    assert bars.bytes_verdict(measured).met is met


def test_bytes_are_not_judged_where_nobody_counted():
    assert bars.bytes_verdict(row("erofs-loop", 1.0)) is None
    assert bars.bytes_verdict(row("eager", 1.0, touched=1, present=1)) is None


def test_what_is_not_met_is_said():
    results = {"date": "2026-01-02", "machine": {"processors": 2, "model": "a", "kernel": "6.1"},
               "load": 0.5, "plot": "a.svg",
               "summary": [row("erofs-file+profile", 9.99), row("eager", 4.0)]}

    lines = report.markdown(results).splitlines()

    assert "| **9.99** (9.89–10.09) | 0.50 | 0.200, 1.00 (0.90–1.10) | 0.40 | 1.00 | 7–9 | 12.0–12.6 |  | 0.30 |" in lines[-2]
    assert lines[-2].endswith("1.60 s, **not met** |")
    assert lines[-1].endswith("|  |")


def test_who_could_not_be_built_is_named():
    results = {"date": "2026-01-02", "machine": {"processors": 2, "model": "a", "kernel": "6.1"}, "load": 0.5,
               "plot": "a.svg", "absent": {"soci": "soci cannot be built: needs go"}, "summary": [row("eager", 4.0)]}

    assert "\n**Not measured**: soci cannot be built: needs go\n" in report.markdown(results)


def test_the_text_says_which_starts_were_measured_on_another_day():
    results = {"date": "2026-01-02", "machine": {"processors": 2, "model": "m", "kernel": "k"}, "load": 0, "plot": "p.svg",
               "summary": [row("eager", 9, date="2026-01-01"), row("erofs-file", 1, date="2026-01-01"),
                           row("eager", 9, date="2026-01-02", network="loopback"), row("eager", 9, network="1g-2ms")]}

    assert " Of 2026-01-01: python at 100m-20ms.\n" in report.markdown(results)


def test_the_plot_has_a_bar_for_each_row_and_scales_each_network_by_its_longest():
    rows = [row("eager", 4.0), row("a<b", 1.0), row("eager", 0.5, network="1g-2ms")]

    picture = xml.etree.ElementTree.fromstring(plot.svg(rows))

    space = "{http://www.w3.org/2000/svg}"
    widths = [float(each.get("width")) for each in picture.iter(space + "rect")
              if each.get("x") == str(plot.LEFT) and each.get("y") != "12"]  # not the legend's
    longest = plot.WIDTH - plot.LEFT - plot.RIGHT
    assert widths == [longest, longest / 4, longest]
    assert "1.00 s" in [each.text for each in picture.iter(space + "text")]

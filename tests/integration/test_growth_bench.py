"""bench/growth: that its images are what they say, what it shows, and that the command measures."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree
from pathlib import Path

import pytest
from sandbox import images, services

ROOT = services.project_root()
sys.path.append(str(ROOT / "bench"))

from growth_bench import caching, content, plot, report, starting  # noqa: E402


def names_of(layout) -> list[list[str]]:
    """Of the files in each layer, bottom first."""
    found = []
    for layer in images.read_layout(layout)["layers"]:
        with tarfile.open(images.blob_path(layout, layer["digest"])) as archive:
            found.append([entry.name for entry in archive if entry.isfile()])
    return found


def directory(tmp_path, name: str):
    made = tmp_path / name
    made.mkdir()
    return made


def test_an_image_has_the_layers_and_files_that_it_says_and_the_file_that_is_read(tmp_path):
    layered = names_of(content.of_layers(directory(tmp_path, "a"), 4, 8))
    many = names_of(content.of_files(directory(tmp_path, "b"), 2500))

    assert layered == [["bin/busybox"], *([f"data/{n}/0", f"data/{n}/1"] for n in range(4))]
    assert len(many[1]) == 2500
    assert "data/0/0" in many[1] and many[1][-1] == "data/2/499"


def test_equal_arguments_give_equal_images(tmp_path):
    twins = [images.read_layout(content.of_size(directory(tmp_path, name), 2)) for name in ("a", "b")]

    assert twins[0] == twins[1]
    assert twins[0]["layers"][1]["size"] > 2 << 20  # it does not compress


def start(point: int, way: str, number: int, seconds: float) -> starting.Start:
    return starting.Start("layers", point, way, number, seconds, 1_000_000 * point, 5)


STARTS = [start(1, "eager", 1, 2), start(1, "erofs-file", 1, 1), start(1, "eager", 2, 4),
          start(1, "erofs-file", 2, 3), start(50, "eager", 1, 6), start(50, "erofs-file", 1, 6.6)]


def test_ratios_are_taken_within_a_round():
    rows = starting.summaries(STARTS)

    first = next(row for row in rows if (row["point"], row["way"]) == (1, "erofs-file"))
    assert (first["seconds"], first["seconds_min"], first["seconds_max"]) == (2, 1, 3)
    assert (first["ratio"], first["ratio_min"], first["ratio_max"]) == (0.625, 0.5, 0.75)
    assert "ratio" not in next(row for row in rows if row["way"] == "eager")


READINGS = [caching.Reading(1, "eager", 1, 30_000_000, 29_000_000), caching.Reading(1, "fuse", 1, 45_000_000, 29_000_000),
            caching.Reading(20, "eager", 1, 60_000_000, 580_000_000),
            caching.Reading(20, "fuse", 1, 57_000_000, 580_000_000)]


def test_the_page_cache_of_many_images_is_compared_with_the_ordinary_ways():
    text = report.markdown(results(caching.summaries(READINGS)))

    assert "| 1 | eager | 30 (30–30) |  | 29 |" in text
    assert "| 1 | fuse | 45 (45–45) | **1.50 (1.50–1.50), more** | 29 |" in text
    assert "| 20 | fuse | 57 (57–57) | 0.95 (0.95–0.95) | 580 |" in text
    assert "From 1 to 20, the last as a multiple of the first: eager 2.00, fuse 1.27." in text


def registry_row(point: int, p50: float) -> dict:
    return {"axis": "manifests", "point": point, "way": "HEAD", "runs": 1, "database_bytes": 2_000_000,
            "first_answer_seconds": 0.03, "p50_ms": p50, "p50_ms_min": p50 / 2, "p50_ms_max": p50 * 2,
            "p99_ms": p50 * 3, "rate": 12345}


def results(rows: list[dict]) -> dict:
    return {"date": "2026-01-02", "machine": {"processors": 2, "model": "a", "kernel": "6.1"}, "load": 0.5,
            "plot": "a.svg", "summary": rows}


def test_what_is_slower_and_how_much_it_grew_is_said():
    text = report.markdown(results(starting.summaries(STARTS) + [registry_row(10, 1), registry_row(1000, 2)]))

    assert "| 50 | erofs-file | 6.60 (6.60–6.60) | **1.10 (1.10–1.10), slower** | 50.0 | 5 |" in text
    assert "| 1 | erofs-file | 2.00 (1.00–3.00) | 0.62 (0.50–0.75) | 1.0 | 5 |" in text
    assert "From 1 to 50, the last as a multiple of the first: eager 2.00, erofs-file 3.30." in text
    assert "| 1,000 | HEAD | 2.000 (1.000–4.000) | 6.000 | 12,345 | 0.030 | 2.0 |" in text
    assert "From 10 to 1,000, the last as a multiple of the first: HEAD 2.00." in text
    assert "containers" not in text  # an axis that was not measured has no section


def test_axes_that_were_not_measured_again_stay():
    old = [registry_row(10, 1), *starting.summaries(STARTS)]

    merged = report.merged(old, [registry_row(99, 1)])

    assert [row["point"] for row in merged if row["axis"] == "manifests"] == [99]
    assert [row for row in merged if row["axis"] == "layers"] == starting.summaries(STARTS)


def test_the_plot_has_a_line_for_each_way_that_ends_where_its_values_are():
    rows = [*starting.summaries(STARTS), registry_row(10, 1), registry_row(1000, 2)]

    picture = xml.etree.ElementTree.fromstring(plot.svg(report.panels(rows), "a<b"))

    space = "{http://www.w3.org/2000/svg}"
    lines = [[tuple(map(float, point.split(","))) for point in each.get("points").split()]
             for each in picture.iter(space + "polyline")]
    left, right = plot.LEFT, plot.WIDTH - plot.RIGHT
    bottom, height = plot.HEIGHT - plot.BOTTOM, plot.HEIGHT - plot.TOP - plot.BOTTOM
    assert len(lines) == 3
    assert [[x for x, _ in line] for line in lines] == [[left, right]] * 3
    eager, streamed, _ = lines
    assert eager[1][1] == pytest.approx(bottom - height * 6 / 6.6, abs=0.1)
    assert streamed[1][1] == pytest.approx(bottom - height, abs=0.1)
    assert picture.find(space + "title").text == "a<b"


def test_the_command_measures_an_axis_of_starts_and_the_registry_and_leaves_nothing(tmp_path, runnel):  # noqa: ARG001
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:  # short enough for a socket's path
        done = subprocess.run(
            [ROOT / "bench/growth", "--quick", "--axis", "starts,manifests", "--scratch", scratch, "--json",
             tmp_path / "growth.json"], capture_output=True, text=True, timeout=280)
        left = list(Path(scratch).iterdir())

    assert left == []
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "growth.json").read_text())["summary"]
    found = {(row["axis"], row["point"], row["way"]): row for row in rows}
    for count in (1, 4):
        eager, streamed = (found["starts", count, way] for way in ("eager", "erofs-file"))
        assert eager["bytes"] > 32 << 20 > streamed["bytes"] > 0
        assert 0 < streamed["ratio"] == pytest.approx(streamed["seconds"] / eager["seconds"], abs=0.01)
    asked = [row for row in rows if row["axis"] == "manifests"]
    assert {row["point"] for row in asked} == {100, 1000}
    assert all(0 < row["p50_ms"] <= row["p99_ms"] and row["rate"] > 0 for row in asked)
    picture = xml.etree.ElementTree.parse(tmp_path / "growth.svg")
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}polyline"))) == 2 + 3
    assert "![What grows, and what it costs](growth.svg)" in (tmp_path / "growth.md").read_text()

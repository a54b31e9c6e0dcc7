"""The work: hash every file of the container's root file system. And what came of it, round by round."""

from __future__ import annotations

from sandbox import cold_start

# The order is find's own, so that the file system decides it; the sum is over sorted lines, which are
# kept where find does not look.
SCRIPT = ("find / -xdev -type f -print0 | xargs -0 sha256sum | LC_ALL=C sort -T /dev/shm > /dev/shm/sums; "
          "echo READY $(wc -l < /dev/shm/sums) files $(sha256sum < /dev/shm/sums | cut -c1-64)")
# As a node is shipped: with its background fill.
WORKLOAD = cold_start.Workload(("sh", "-c", SCRIPT), background_fill=True, again=False)
MOST = 1.0  # of the time that the ordinary pull and the same read take


class WrongBytes(Exception):
    """Two ways to read one image disagree about its files."""


def check_alike(runs: list[cold_start.Run]) -> None:
    """Every run of an image has to have seen the same files with the same bytes."""
    seen: dict[str, cold_start.Run] = {}
    for run in runs:
        first = seen.setdefault(run.image, run)
        if run.ready_line != first.ready_line or not run.ready_line:
            raise WrongBytes(f"{run.image}: {run.engine} ({run.network}, round {run.round}) read "
                             f"{run.ready_line!r}, {first.engine} ({first.network}, round "
                             f"{first.round}) {first.ready_line!r}")


def summaries(runs: list[cold_start.Run]) -> list[dict]:
    """A row for each image, network and way, with the lowest and highest ratio of a round."""
    check_alike(runs)
    rows = cold_start.summaries(runs)
    for row in rows:
        ratios = _ratios(runs, row)
        row["ratio_min"], row["ratio_max"] = round(min(ratios), 3), round(max(ratios), 3)
        row["files"] = int(next(run.ready_line.split()[1] for run in runs if run.image == row["image"]))
    return rows


def _ratios(runs: list[cold_start.Run], row: dict) -> list[float]:
    def of(engine: str) -> dict[int, float]:
        return {run.round: run.seconds for run in runs if run.engine == engine
                and (run.image, run.network) == (row["image"], row["network"])}
    eager = of(cold_start.EAGER)
    return [seconds / eager[number] for number, seconds in of(row["engine"]).items()]


def is_met(row: dict) -> bool | None:
    """None where there is no bar."""
    return None if row["engine"] == cold_start.EAGER else row["ratio_to_eager"] <= MOST

"""What a cold start may take (docs/performance.md, "Cold starts"), and whether it does.

A row is a summary of sandbox.cold_start: one image, network and engine; `rows` are all that were measured in
the same run. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox import peers
from sandbox.cold_start import EAGER, PROFILED
from sandbox.netsim import NETWORKS

FIRST_START = 0.6  # of the eager cold start
OF_FLOOR = 1.25
ALLOWANCE = 0.1  # seconds
# Of what was touched, the bytes that may come: with a profile, and without one.
OF_TOUCHED = 1.3
OF_TOUCHED_FIRST = 2.5


@dataclass(frozen=True)
class Verdict:
    bar: str
    met: bool


def of_touched(row: dict) -> float | None:
    """What came of the layers for a byte that was read, both uncompressed. None where that is not known."""
    if not row.get("touched") or not row.get("present"):
        return None
    return row["present"] / row["touched"]


def transfer_seconds(row: dict) -> float:
    """What the line needs for what was touched: of the bytes that came before READY, no more than their
    needed part. Loopback has no limit."""
    mbit, _ = NETWORKS[row["network"]]
    came = row.get("bytes_median", sum(row["bytes"]) / 2)
    needed = came / max(1.0, of_touched(row) or 1.0)
    return needed * 8 / (mbit * 1e6) if mbit else 0.0


def eager_of(row: dict, rows: list[dict]) -> dict | None:
    """containerd's ordinary way with the same image over the same network."""
    return next((each for each in rows if each["engine"] == EAGER
                 and (each["image"], each["network"]) == (row["image"], row["network"])), None)


def floor_seconds(row: dict, rows: list[dict]) -> float:
    """The same with everything local: containerd's own pull of what is here, and its second container. Of
    the row itself where the ordinary way was not measured."""
    own = eager_of(row, rows) or row
    return own["repull_seconds"] + own["again_seconds"]


def verdict(row: dict, rows: list[dict]) -> Verdict | None:
    """Of the cold start. None where there is no bar."""
    if row["engine"] in (EAGER, *peers.BY_NAME) or not NETWORKS[row["network"]][0]:
        return None
    if row["engine"].endswith(PROFILED):
        most = OF_FLOOR * floor_seconds(row, rows) + transfer_seconds(row) + ALLOWANCE
        return Verdict(f"{most:.2f} s", row["seconds"] <= most)
    if row["ratio_to_eager"] is None:
        return None
    return Verdict(f"{FIRST_START} of eager", row["ratio_to_eager"] <= FIRST_START)


def again_verdict(row: dict) -> Verdict | None:
    """Of a second container of the image, beside one of containerd's own in the same round: a way that
    was measured on another day is not compared with today's. None where there is no bar."""
    if row["again_of_eager"] is None or row["engine"] in (EAGER, *peers.BY_NAME):
        return None
    return Verdict("1.00 of containerd's own", row["again_of_eager"][1] <= 1)


def bytes_verdict(row: dict) -> Verdict | None:
    """None where there is no bar."""
    ratio = of_touched(row)
    if ratio is None or row["engine"] == EAGER:
        return None
    most = OF_TOUCHED if row["engine"].endswith(PROFILED) else OF_TOUCHED_FIRST
    return Verdict(f"{most} of touched", round(ratio, 2) <= most)

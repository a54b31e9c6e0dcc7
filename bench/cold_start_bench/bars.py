"""What a cold start may take (docs/performance.md, "Cold starts"), and whether it does.

A row is a summary of sandbox.cold_start: one image, network and engine. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.cold_start import EAGER, PROFILED
from sandbox.netsim import NETWORKS

FIRST_START = 0.6  # of the eager cold start
OF_FLOOR = 1.25
ALLOWANCE = 0.1  # seconds


@dataclass(frozen=True)
class Verdict:
    bar: str
    met: bool


def transfer_seconds(row: dict) -> float:
    """What the line needs for the bytes that came before READY. Loopback has no limit."""
    mbit, _ = NETWORKS[row["network"]]
    return row["bytes"][1] * 8 / (mbit * 1e6) if mbit else 0.0


def floor_seconds(row: dict) -> float:
    """The same with everything local: a pull of what is here, and a second container."""
    return row["repull_seconds"] + row["again_seconds"]


def verdict(row: dict) -> Verdict | None:
    """None where there is no bar."""
    if row["engine"] == EAGER or not NETWORKS[row["network"]][0]:
        return None
    if row["engine"].endswith(PROFILED):
        most = OF_FLOOR * floor_seconds(row) + transfer_seconds(row) + ALLOWANCE
        return Verdict(f"{most:.2f} s", row["seconds"] <= most)
    if row["ratio_to_eager"] is None:
        return None
    return Verdict(f"{FIRST_START} of eager", row["ratio_to_eager"] <= FIRST_START)

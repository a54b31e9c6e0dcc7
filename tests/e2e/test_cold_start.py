"""The gate on what a cold start asks of the network: requests and bytes before READY.

Times depend on the machine, these do not: they move by a few per cent with the order in which reads
happen to arrive. The ceilings in ceilings.json are the largest of ten runs and 5 % more. A change
that lowers the figures lowers the ceilings in the same commit.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from sandbox.netsim import NetSim, Traffic

CEILINGS_FILE = Path(__file__).with_name("ceilings.json")


@pytest.fixture
def network(lab):
    """A counting connection to the lab's registry, as fast as loopback is."""
    sim = NetSim(lab.directory("network"), "loopback", lab.registry.port)
    try:
        yield sim.start()
    finally:
        sim.stop()


def explain(sim: NetSim) -> str:
    """Where the requests went, most first."""
    paths = Counter(f"{r.method} {r.path}" for r in sim.requests())
    return "\n".join(f"  {count:>5} x {path}" for path, count in paths.most_common(12))


def test_a_cold_start_stays_below_its_ceilings(fresh_streaming, engine, converted_recipe, network):
    ceilings = json.loads(CEILINGS_FILE.read_text())["python"][engine]
    converted = converted_recipe("python")
    repository = converted.reference.partition("/")[2]
    side = fresh_streaming(engine, registry=network.host)
    seen: dict[str, Traffic] = {}

    before = network.traffic()
    side.pull(f"{network.host}/{repository}")
    started = side.containerd.run(f"{network.host}/{repository}", f"gate-{engine}",
                                  on_ready=lambda: seen.update(ready=network.traffic()))

    assert "ready" in seen, started.output
    used = {"requests": seen["ready"].requests - before.requests,
            "bytes": seen["ready"].bytes_down - before.bytes_down}
    print(f"python {engine}: {used}")
    for figure, ceiling in ceilings.items():
        assert 0 < used[figure] <= ceiling, (
            f"a cold start of python on {engine} took {used[figure]} {figure} from the registry "
            f"before READY; the ceiling in {CEILINGS_FILE.name} is {ceiling}. Something asks for "
            f"more than it did, or in smaller pieces:\n{explain(network)}")

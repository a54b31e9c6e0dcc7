"""The fault matrix, its middle: workers die at every named point while the registry lies.

What every fault test asserts: no reader ever sees a wrong byte (checked with every read, see
reader.py), every read ends in time, and reads work again without remounting when the fault is over.
"""

from __future__ import annotations

import random

import pytest

from fault_setup import POINTS, kill_at_points, lie_at_random, on, push_known_files, scene


@pytest.fixture(scope="module")
def pushed(lab):
    return push_known_files(lab, "faults")


@pytest.fixture
def entry(fault_report, request, engine):
    return fault_report.entry(request.node.originalname, engine)


def test_no_byte_is_wrong_while_the_registry_lies(lab, pushed, engine, entry):
    """There is nothing left to lie about when the layer has been made from its original: then another node is lied to."""
    for seed in range(11, 16):
        with scene(lab, pushed, engine, entry, seed=seed) as now:
            now.liar.rules(lie_at_random(0.3), seed=seed)
            with now.readers() as readers:
                readers.progress(250, 120)
                now.liar.honest()
                readers.recovered(60)
        if entry.lies.total() > 30:
            break
    assert entry.lies.total() > 30, entry.lies


def test_killing_the_worker_costs_no_byte(lab, pushed, engine, entry):
    pace = random.Random(5)
    with scene(lab, pushed, engine, entry, seed=14) as now, now.readers() as readers:
        for _ in range(12):
            readers.progress(pace.randrange(1, 40), 60)
            now.kill_worker()
            entry.faults["worker killed"] += 1
        readers.recovered(60)
    assert readers.errors.total() == 0, readers.describe()


def test_workers_die_at_every_point_while_the_registry_lies(lab, pushed, engine, entry):
    with scene(lab, pushed, engine, entry, seed=12) as now:
        now.liar.rules(lie_at_random(0.1), seed=12)
        with now.readers() as readers:
            kill_at_points(now, readers, POINTS, 3 if engine == "erofs-file" else 2, seed=12)
            now.liar.honest()
            readers.recovered(60)


@on("erofs-file")
def test_tokens_and_redirects_that_expire_cost_nothing(lab, pushed, engine, entry):
    """A token dies long before it said so; a signed address, on another host, while it is in use."""
    with scene(lab, pushed, engine, entry, seed=15) as now:
        elsewhere = "localhost:" + now.liar.host.rpartition(":")[2]
        now.liar.tokens(life=1, says=300)
        now.liar.rules({"path": "^/v2/.*/blobs/", "ranged": True, "probability": 0.7,
                        "lie": {"kind": "redirect", "seconds": 0.5, "host": elsewhere}})
        with now.readers() as readers:
            for _ in range(20):
                readers.progress(60, 60)
                now.forget_cache()
                counters = now.liar.counters()
                if counters["challenges"] > 1 and counters["lies"]["redirect"] > 10:
                    break
            now.liar.tokens(None)
            readers.recovered(60)
        entry.faults["token expired"] += counters["challenges"]
        entry.faults["redirect expired"] += counters["expired_redirects"]
        assert counters["challenges"] > 1 and counters["lies"]["redirect"] > 10, counters
        assert counters["authorization_leaked"] == 0
        assert readers.errors.total() == 0, readers.describe()


@on()
@pytest.mark.parametrize("point", POINTS)
def test_a_hundred_workers_die_at(lab, pushed, engine, entry, point):
    with scene(lab, pushed, engine, entry, seed=13) as now:
        now.liar.rules(lie_at_random(0.1), seed=13)
        with now.readers() as readers:
            kill_at_points(now, readers, [point], 100, seed=13)
            now.liar.honest()
            readers.recovered(60)

"""Fixtures of the whole-system tests. See runnel_env.py for what they hand out."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools"), str(HERE.parent / "support")]

from fault_report import Report  # noqa: E402
from runnel_env import Lab, Streaming, engines  # noqa: E402
from sandbox import services  # noqa: E402
from sandbox.netsim import NetSim  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "heavy: needs gigabytes or minutes; ./check leaves it out")
    if os.geteuid() != 0:
        pytest.exit("the whole-system tests mount and run containers: they need root", 2)
    # Whether an image fills must not depend on how full this machine's disk is.
    os.environ.setdefault("RUNNEL_CACHE_MIN_FREE", "0")


@pytest.fixture(scope="session")
def runnel() -> str:
    """The program under test."""
    program = services.program()
    if not os.access(program, os.X_OK):
        pytest.fail(f"{program} is not built: cmake --build --preset release")
    return program


faults = Report()


@pytest.fixture(scope="session")
def fault_report() -> Report:
    return faults


def pytest_terminal_summary(terminalreporter):
    if faults.entries:
        terminalreporter.section("faults")
        for line in faults.lines():
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"written to {faults.write()}")


@pytest.fixture(scope="session")
def lab(runnel):
    """The registry and the ordinary containerd; the last to go, and it looks for what was left."""
    parent = os.environ.get("TMPDIR", "/var/tmp")
    made = Lab(Path(tempfile.mkdtemp(prefix="runnel-e2e-", dir=parent)))
    try:
        yield made.start()
    finally:
        left = made.close()
    assert not left, "left behind by the tests:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def recipe():
    """recipe("python"): the layout of the image of images/python, built or found."""
    def get(name: str) -> Path:
        return Path(subprocess.run([HERE.parents[1] / "tools/build-image", name], check=True,
                                   text=True, stdout=subprocess.PIPE).stdout.strip())
    return get


@pytest.fixture(scope="session")
def converted_recipe(lab, recipe):
    """converted_recipe("python"): the image of images/python, pushed and converted."""
    made = {}

    def get(name: str):
        if name not in made:
            made[name] = lab.push_layout(name, recipe(name))
            services.convert(made[name].reference)
        return made[name]
    return get


@pytest.fixture(scope="session", params=engines())
def streaming(lab, request):
    """One node for each way of mounting, shared by the tests that do not harm it."""
    side = Streaming(lab, request.param)
    try:
        yield side.start()
    finally:
        side.close()


@pytest.fixture(params=engines())
def engine(request) -> str:
    return request.param


@pytest.fixture
def fresh_streaming(lab):
    """A maker of nodes that belong to one test: fresh_streaming(engine, background_fill=True)."""
    made = []

    def make(engine: str, **options) -> Streaming:
        made.append(Streaming(lab, engine, **options))
        return made[-1].start()
    try:
        yield make
    finally:
        for side in made:
            side.close()


@pytest.fixture
def through(lab):
    """through("1g-2ms"): a counting network of that kind before the lab's registry."""
    sims = []

    def make(network: str) -> NetSim:
        sims.append(NetSim(lab.directory("network"), network, lab.registry.port))
        return sims[-1].start()
    try:
        yield make
    finally:
        for sim in sims:
            sim.stop()

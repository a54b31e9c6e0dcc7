"""Fixtures of the tests that run one role of the real program against real clients.

The program is $RUNNEL, or build/release/runnel of this tree.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools"), str(HERE.parent / "support")]
sys.path.append(str(HERE.parent / "e2e"))  # tars

from converting_service import ConvertingRegistry  # noqa: E402
from registry_calls import Calls  # noqa: E402
from sandbox import services  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "heavy: needs gigabytes or minutes; ./check leaves it out")


@pytest.fixture(scope="session")
def runnel() -> str:
    program = services.program()
    if not os.access(program, os.X_OK):
        pytest.fail(f"{program} is not built: cmake --build --preset release")
    return program


@pytest.fixture
def registry(runnel, tmp_path):
    """A registry of the test's own, on a free port."""
    made = services.Registry(tmp_path / "registry")
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def start(runnel, tmp_path):  # noqa: ARG001
    """start("[conversion]\\n…"): a registry with that in its configuration, whose workers a test can hold."""
    made = []

    def start(text: str = "", name: str = "registry") -> ConvertingRegistry:
        made.append(ConvertingRegistry(tmp_path / name, text))
        return made[-1].start()
    yield start
    for each in made:
        each.stop()


@pytest.fixture(scope="module")
def served(runnel, tmp_path_factory):  # noqa: ARG001
    """A registry for the tests of one file, which keep apart by their repositories' names."""
    made = services.Registry(tmp_path_factory.mktemp("registry"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def call(served):
    """To the registry that the test's file calls `served`."""
    made = Calls(served.host)
    yield made
    made.close()

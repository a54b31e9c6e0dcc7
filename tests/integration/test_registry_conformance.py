"""The official conformance suite of the distribution specification, with nothing left out.

Needs the program that tools/build-conformance makes.
"""

from __future__ import annotations

import os
import re
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
from sandbox import services

PROGRAM = Path(os.environ.get("OCI_CONFORMANCE")
               or Path(__file__).resolve().parents[2] / "build/tools/conformance")


@pytest.fixture
def sparse_registry(runnel, tmp_path):
    """One that takes manifests whose blobs are missing, which a part of the suite wants."""
    registry = services.Registry(tmp_path / "registry")
    registry.directory.mkdir()
    config = registry.directory / "registry.toml"
    config.write_text(f'version = 1\ndata = "{registry.directory}/data"\n'
                      f'listen = "{registry.host}"\nsparse_manifests = true\n')
    registry._argv = lambda: [runnel, "registry", "--config", str(config)]
    try:
        yield registry.start()
    finally:
        registry.stop()


def test_everything_passes_and_nothing_is_skipped(sparse_registry, tmp_path):
    if not os.access(PROGRAM, os.X_OK):
        pytest.skip(f"needs {PROGRAM}: run tools/build-conformance")
    results = tmp_path / "results"
    results.mkdir()

    said = subprocess.run([str(PROGRAM)], timeout=300, check=True, capture_output=True, text=True,
                          cwd=tmp_path, env={
        **os.environ, "OCI_REGISTRY": sparse_registry.host, "OCI_TLS": "disabled",
        "OCI_REPO1": "conformance/one", "OCI_REPO2": "conformance/two", "OCI_VERSION": "dev",
        "OCI_DATA_SPARSE": "true", "OCI_RESULTS_DIR": str(results)}).stdout

    # The program exits with 0 when it could not even begin, so its results are what counts.
    cases = xml.parse(results / "junit.xml").getroot().findall(".//testcase")
    assert len(cases) > 800
    bad = [case.get("name") for case in cases
           if any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))]
    assert bad == []
    for word in ("Disabled", "Skip", "FAIL", "Error"):
        assert re.search(rf"^ *{word}\.+: +0$", said, re.MULTILINE), f"{word}:\n{said}"

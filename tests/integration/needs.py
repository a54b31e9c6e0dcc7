"""What a test cannot do without. (Not in conftest.py: when both test directories run at once, the
name `conftest` means the other one's.)"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


TOOLS = Path(__file__).resolve().parents[2] / "tools"


def needs(tool: str) -> str:
    """The path of a tool, or the test is skipped with what to do about that."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"needs {tool}: tools/packages install")
    return path


def azure_client() -> str:
    """The path of `az`, the machine's or the one that tools/azure-client installed."""
    found = subprocess.run([TOOLS / "azure-client", "--find"], capture_output=True, text=True, check=False)
    path = shutil.which("az") or found.stdout.strip()
    if not path:
        pytest.skip("needs az: tools/azure-client installs it")
    return path

"""What a test cannot do without. (Not in conftest.py: when both test directories run at once, the
name `conftest` means the other one's.)"""

from __future__ import annotations

import shutil

import pytest


def needs(tool: str) -> str:
    """The path of a tool, or the test is skipped."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"needs {tool}")
    return path

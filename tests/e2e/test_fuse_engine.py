"""The complete FUSE file system, for kernels without EROFS: held to what the other ways are held to.

The tests are theirs; only the node differs.
"""

from __future__ import annotations

import pytest

from runnel_env import Streaming
from test_trees import pushed_cases, test_streamed_tree_equals_the_ordinary_unpack  # noqa: F401


pytestmark = pytest.mark.heavy


@pytest.fixture(scope="session")
def streaming(lab):
    side = Streaming(lab, "fuse")
    try:
        yield side.start()
    finally:
        side.close()

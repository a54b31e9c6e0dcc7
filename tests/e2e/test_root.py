"""Where the node keeps what it keeps: its root directory may lie behind a link, as on machines whose containers
have a disk of their own."""

from __future__ import annotations

import known_files
import pytest
from fault_setup import push_known_files
from sandbox.containerd import drop_page_cache

FILES = 30


@pytest.mark.parametrize("engine", ["erofs-file", "erofs-loop", "fuse"])
def test_a_root_behind_a_link_is_as_good_as_any(lab, fresh_streaming, engine):
    pushed = push_known_files(lab, f"linked-{engine}", FILES)
    link = lab.directory("links") / "containerd"
    link.symlink_to(lab.directory("disk"))
    side = fresh_streaming(engine, root=link / "runnel")
    side.pull(pushed.reference)

    def assert_right(number: int) -> None:
        drop_page_cache()
        assert (root / known_files.name(number)).read_bytes() == known_files.content(number)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        assert_right(1)
        side.kill_worker()
        side.wait_for_containerd()
        assert_right(2)
        assert side.mounted_as(pushed.reference) == {"served"}

"""Proof 1: what is mounted streamed is what containerd's own unpack gives, path for path."""

from __future__ import annotations

import pytest

import trees
from corpus import CASES
from sandbox import images, services
from sandbox.containerd import CommandError

CASE_PARAMS = [pytest.param(case, id=case.name, marks=pytest.mark.heavy if case.heavy else [])
               for case in CASES.values()]
WORKING = [param for param in CASE_PARAMS if not param.values[0].pull_fails]
REFUSED = [param for param in CASE_PARAMS if param.values[0].pull_fails]


@pytest.fixture(scope="session")
def pushed_cases(lab):
    """Pushes, converts and pulls each case the ordinary way, once for all ways of mounting."""
    done = {}

    def get(case):
        if case.name not in done:
            pushed = lab.push(case.name, case.build(lab.directory(case.name)))
            services.convert(pushed.reference)
            lab.ordinary.pull(pushed.reference)
            done[case.name] = pushed
        return done[case.name]
    return get


@pytest.mark.parametrize("case", WORKING)
def test_streamed_tree_equals_the_ordinary_unpack(lab, pushed_cases, streaming, case):
    pushed = pushed_cases(case)

    streaming.pull(pushed.reference)

    assert streaming.image_status(pushed.reference).get("reason") == "Streaming"
    for depth in depths(len(pushed.image.layers)):
        chain_id = pushed.image.chain_ids[depth - 1]
        expected = lab.ordinary_tree(chain_id)
        trees.assert_equal(expected, streaming.tree(chain_id), pushed.open_mtimes(depth))


def depths(layers: int) -> list[int]:
    """The whole image and every prefix of it; of tall images the first, some, and the last."""
    return list(range(1, layers + 1)) if layers <= 8 else [1, 2, layers // 2, layers - 1, layers]


@pytest.mark.parametrize("case", REFUSED)
def test_conversion_refuses_what_the_ordinary_pull_refuses(lab, case):
    pushed = lab.push(case.name, case.build(lab.directory(case.name)))
    with pytest.raises(CommandError, match=case.pull_fails):
        lab.ordinary.pull(pushed.reference)

    if case.converts:
        services.convert(pushed.reference)
        assert len(images.referrers(pushed.reference)) == 1
        return
    with pytest.raises(CommandError) as refusal:
        services.convert(pushed.reference)

    assert "exit 1" in str(refusal.value)
    assert images.referrers(pushed.reference) == [], "a failed conversion left an artifact"

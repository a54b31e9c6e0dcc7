"""What a start read comes to the registry by itself, for the next node's boot blob."""

from __future__ import annotations

import json
import random
import re
import urllib.error
import urllib.request

import pytest

from corpus import layers
from sandbox import daemons, services

SIZE = 300_000


@pytest.fixture
def pushed(lab, request):
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    made = lab.push(name, layers(
        lab.directory("profiles"), lambda t: t.file("read", random.Random(name).randbytes(SIZE)),
        lambda t: t.file("left", random.Random(name + " left").randbytes(SIZE))))
    services.convert(made.reference)
    return made


def told(side, reference: str) -> dict | None:
    """What the registry has of the image's starts."""
    name = side.image_status(reference)["image"]
    host, _, rest = name.partition("/")
    repository, _, digest = rest.partition("@")
    try:
        with urllib.request.urlopen(f"http://{host}/runnel/v1/{repository}/_profiles/{digest}",
                                    timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        assert error.code == 404, error
        return None


def test_a_start_is_told_once_nothing_new_is_read(fresh_streaming, pushed):
    side = fresh_streaming("erofs-file")
    side.pull(pushed.reference)
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        assert len((root / "read").read_bytes()) == SIZE

        daemons.wait_until(lambda: told(side, pushed.reference), 30, "the registry was told")

        profile = told(side, pushed.reference)
        mine = json.loads(side.node.profile(pushed.reference))
    assert profile["votes"] == 1
    assert profile["chunks"] == mine["chunks"] != []
    assert profile["layers"] == mine["layers"]
    read = {layer for layer, _ in profile["chunks"]}
    assert len(read) == 1, "the file of the other layer was not read"
    node_id = (side.node.root / "node-id").read_text()
    assert re.fullmatch("[0-9a-f]{32}", node_id)

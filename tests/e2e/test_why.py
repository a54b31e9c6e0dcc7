"""runnel node why: the timeline of real cold starts has what happened, each thing once."""

from __future__ import annotations

import json
import threading
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest

from liar import Liar
from sandbox import images
from sandbox.containerd import CommandError


@pytest.fixture
def liar(lab):
    with Liar(lab.registry.host) as made:
        yield made


def as_noted(requests: list[dict]) -> Counter:
    found: Counter = Counter()
    for each in requests:
        span = f"bytes={each['first']}-{each['last']}" if each["ranged"] else None
        found[each["method"], urllib.parse.urlsplit(each["path"]).path, span] += 1
    return found


def as_logged(requests: list[list]) -> Counter:
    return Counter((method, urllib.parse.urlsplit(path).path, span or None)
                   for method, path, span, *_ in requests)


# A container that is there as long as somebody asks about it.
STAYS = ("python3", "-c", "import json, ssl, time; print('READY', flush=True); time.sleep(600)")


def start(side, image: str, name: str, on_ready=lambda: None):
    side.pull(image)
    started = side.containerd.run(image, name, *STAYS, on_ready=on_ready)
    assert started.seconds_to_ready is not None, started.output


def test_a_cold_start_is_told_from_its_first_request_to_its_last_read(
        fresh_streaming, engine, converted_recipe, liar, tmp_path):
    image = f"{liar.host}/{converted_recipe('python').reference.partition('/')[2]}"
    side = fresh_streaming(engine, registry=liar.host)
    of_container = {}
    start(side, image, "why-first", on_ready=lambda: of_container.update(
        json.loads(side.node.why("why-first", "--output", "json"))))

    before = as_logged(liar.requests)
    line = json.loads(side.node.why(image, "--output", "json"))
    after = as_logged(liar.requests)

    events, noted = line["events"], as_noted(line["events"]["requests"])
    assert before - noted == Counter(), "the registry saw requests that are not in the timeline"
    assert noted - after == Counter(), "the timeline has requests that the registry did not see"
    assert len({each["number"] for each in events["requests"]}) == len(events["requests"])

    boot = [each for each in events["requests"] if each["what"] == "boot blob"]
    assert len(boot) == 1 and boot[0]["who"] == "node"
    first_read = min(each["at_us"] for each in events["reads"])
    assert boot[0]["asked_us"] < boot[0]["ended_us"] < first_read
    asked = {each["what"]: each for each in reversed(events["requests"])}
    assert asked["referrers"]["asked_us"] < asked["image manifest"]["ended_us"], (
        "the artifact is asked for when the tag's meaning is known, before the manifest has come")
    assert boot[0]["asked_us"] < asked["image manifest"]["ended_us"], (
        "the registry named the boot blob beside the tag's meaning")
    for what in ("image manifest", "configuration", "referrers", "layer 1"):
        assert any(each["what"] == what for each in events["requests"]), what
    calls = [each["what"] for each in events["spans"] if each["kind"] == "call"]
    assert "Prepare" in calls
    assert {"verify the boot blob's head", "keep the image on disk", "mount"} <= {
        each["what"] for each in events["spans"] if each["kind"] == "step"}

    assert sum(line["causes"].values()) == line["length_us"]
    at = 0
    for segment in line["path"]:
        assert segment["begin_us"] == at and segment["length_us"] > 0
        at += segment["length_us"]
    assert at == line["length_us"]
    assert line["causes"]["outside"] < line["length_us"]

    waited = [each for each in events["reads"] if each["wait"] == "fetch"]
    assert waited and all(each["at_us"] <= each["arrived_us"] <= each["ready_us"] for each in waited)
    assert all(each["file"].startswith("/") for each in waited)
    assert any("python3" in each["file"] for each in waited)
    assert len(line["longest"]) == 10 and line["saving"]["chunks"] >= len(waited)

    assert of_container["container"] == "why-first"
    assert of_container["events"]["image"] == events["image"]
    assert any("/why-first:" in each["detail"] for each in of_container["events"]["spans"]
               if each["what"] == "Prepare")

    text = side.node.why(image)
    assert all(len(row) <= 100 for row in text.splitlines())
    assert "Where the time went" in text and "\x1b" not in text
    for ending in ("svg", "html", "json"):
        side.node.why(image, "--output-file", str(tmp_path / f"start.{ending}"))
    svg = ElementTree.parse(tmp_path / "start.svg").getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert (tmp_path / "start.svg").stat().st_size < 2_000_000
    cut = json.loads(side.node.why(image, "--output", "json", "--until", "0.05"))
    assert cut["length_us"] == 50_000 and cut["cut"]


def push_index(reference: str) -> tuple[str, str]:
    """Of the image and, for another platform, of one that differs in an annotation. The index's name,
    and the digest of the image."""
    host, repository, _ = images.split_reference(reference)
    digest, manifest = images.manifest_of(reference)

    def put(name: str, document: dict) -> dict:
        body = json.dumps(document).encode()
        status, _, answer = images.request(f"http://{host}/v2/{repository}/manifests/{name}", "PUT",
                                           {"Content-Type": document["mediaType"]}, body)
        assert status == 201, answer
        return {"mediaType": document["mediaType"], "digest": images.sha256(body), "size": len(body)}

    def platform(architecture: str) -> dict:
        return {"platform": {"os": "linux", "architecture": architecture}}

    size = len(images.request(f"http://{host}/v2/{repository}/manifests/{digest}",
                              headers={"Accept": images.MANIFEST})[2])
    here = {"mediaType": images.MANIFEST, "digest": digest, "size": size}
    other = put("other", manifest | {"mediaType": images.MANIFEST, "annotations": {"for": "riscv64"}})
    put("index", {"schemaVersion": 2, "mediaType": images.INDEX,
                  "manifests": [other | platform("riscv64"), here | platform("amd64")]})
    return f"{host}/{repository}:index", digest


def test_the_artifact_of_an_index_is_asked_for_when_the_index_is_known(
        fresh_streaming, engine, converted_recipe, liar):
    index, digest = push_index(converted_recipe("python").reference)
    image = f"{liar.host}/{index.partition('/')[2]}"
    side = fresh_streaming(engine, registry=liar.host)

    side.pull(image)

    requests = json.loads(side.node.why(image, "--output", "json"))["events"]["requests"]
    asked = [each for each in requests if "/referrers/" in each["path"]]
    assert [each["path"].rpartition("/referrers/")[2].partition("?")[0] for each in asked] == [digest], (
        "once, of this platform's image alone")
    manifest = next(each for each in requests
                    if each["method"] == "GET" and each["path"].endswith(f"/manifests/{digest}"))
    assert asked[0]["asked_us"] < manifest["ended_us"]


def test_a_second_container_is_told_from_its_own_creation_on(
        fresh_streaming, engine, converted_recipe, lab):
    image = converted_recipe("python").reference
    side = fresh_streaming(engine)
    told = {}

    def inside():
        def second():
            told.update(json.loads(side.node.why("why-second", "--output", "json")))
        side.containerd.run(image, "why-second", *STAYS, on_ready=second)
    start(side, image, "why-outer", on_ready=inside)

    assert told["container"] == "why-second"
    assert not any(each["what"] == "boot blob" for each in told["events"]["requests"])
    assert any("/why-second" in each["detail"] for each in told["events"]["spans"])


def test_what_is_unknown_is_refused(fresh_streaming, engine):
    side = fresh_streaming(engine)
    for name in ("nobody", "127.0.0.1:1/nothing:1"):
        with pytest.raises(CommandError, match="no container|did not see"):
            side.node.why(name)
    with pytest.raises(CommandError, match=".svg or .html"):
        side.node.why("nobody", "--output-file", "start.png")


def test_a_worker_that_dies_within_a_start_takes_only_what_it_saw(
        fresh_streaming, engine, converted_recipe, liar):
    image = f"{liar.host}/{converted_recipe('python').reference.partition('/')[2]}"
    side = fresh_streaming(engine, registry=liar.host)
    side.pull(image)
    liar.rules({"ranged": True, "lie": {"kind": "stall"}})
    result = {}
    running = threading.Thread(target=lambda: result.update(
        started=side.containerd.run(image, "why-killed")))
    running.start()
    try:
        liar.wait_for(lambda counters: counters["lies"].get("stall", 0) > 0)
        hanging = json.loads(side.node.why(image, "--output", "json"))
        assert hanging["cut"] and any(each["ended_us"] == -1 for each in hanging["events"]["requests"])
        assert any(each["ready_us"] == -1 for each in hanging["events"]["reads"])
        side.kill_worker()
    finally:
        liar.honest()
        running.join()
    assert result["started"].seconds_to_ready is not None, result["started"].output

    line = json.loads(side.node.why(image, "--output", "json"))
    assert any("lost" in note for note in line["notes"]), line["notes"]
    assert line["events"]["worker_restarts"] == 1
    assert line["reads"] > 10 and sum(line["causes"].values()) == line["length_us"]
    assert not any(each["what"] == "boot blob" for each in line["events"]["requests"])

"""A pushed tag that waits for its image's artifact, so that no node pulls in between."""

from __future__ import annotations

import json
import os
import signal

import pytest
from converting_service import artifacts, ask, ended, one_layer, slow_image, target
from converting_service import registry, served  # noqa: F401  (fixtures)
from registry_calls import (IMAGE, INDEX, Calls, descriptor, digest, image, index, push_blob,
                            push_manifest)
from sandbox import daemons

REPOSITORY = "team/app"


def hold(call: Calls, seconds: int) -> None:
    answer = call("POST", f"/acr/v1/{REPOSITORY}/_streaming",
                  json.dumps({"convertPushedImages": True, "holdTag": seconds}).encode())
    assert answer.status == 202 and answer.json()["holdTag"] == seconds


def test_a_tag_appears_with_its_artifact(registry, call, tmp_path):
    hold(call, 600)
    assert call("GET", f"/acr/v1/{REPOSITORY}/_streaming").json()["holdTag"] == 600
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    worker = registry.hold_worker()
    assert target(call, REPOSITORY, "v1") is None
    assert call("HEAD", f"/v2/{REPOSITORY}/manifests/{name}").status == 200

    os.kill(worker, signal.SIGCONT)

    daemons.wait_until(lambda: target(call, REPOSITORY, "v1") == name, 120, "the tag")
    assert len(artifacts(call, REPOSITORY, name)) == 1


def test_a_tag_that_is_pushed_over_points_to_what_it_did_until_then(registry, call, tmp_path):
    first = registry.push(one_layer(tmp_path / "first"), f"{REPOSITORY}:v1")
    hold(call, 600)
    second = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    worker = registry.hold_worker()
    assert target(call, REPOSITORY, "v1") == first

    os.kill(worker, signal.SIGCONT)

    daemons.wait_until(lambda: target(call, REPOSITORY, "v1") == second, 120, "the tag")


def test_a_tag_appears_after_its_time_without_an_artifact(registry, call, tmp_path):
    blocking = registry.push(slow_image(tmp_path / "slow"), "other/app:v1")
    ask(call, "other/app", blocking)
    registry.hold_worker()
    hold(call, 2)
    name = registry.push(one_layer(tmp_path / "app", seed=3), f"{REPOSITORY}:v1")

    daemons.wait_until(lambda: target(call, REPOSITORY, "v1") == name, 60, "the tag")

    assert artifacts(call, REPOSITORY, name) == []


def test_a_tag_outlives_the_death_of_the_registry_and_a_cancellation(registry, call, tmp_path):
    hold(call, 600)
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    registry.hold_worker()
    call.close()
    daemons.end([registry.daemon.pid], signal.SIGKILL)
    registry.stop()  # forgets the pid
    registry.start()
    again = Calls(registry.host)
    assert target(again, REPOSITORY, "v1") is None

    last = again("GET", f"/acr/v1/{REPOSITORY}/_streaming/{name}").json()["id"]
    assert again("POST", f"/acr/v1/{REPOSITORY}/_operations/{last}:cancel").status == 200

    assert target(again, REPOSITORY, "v1") == name


def test_a_tag_that_is_deleted_does_not_appear_later(registry, call, tmp_path):
    hold(call, 600)
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    worker = registry.hold_worker()
    assert call("DELETE", f"/v2/{REPOSITORY}/manifests/v1").status == 202
    assert call("DELETE", f"/v2/{REPOSITORY}/manifests/v1").status == 404

    os.kill(worker, signal.SIGCONT)

    last = call("GET", f"/acr/v1/{REPOSITORY}/_streaming/{name}").json()["id"]
    assert ended(call, REPOSITORY, last)["status"] == "Succeeded"
    assert target(call, REPOSITORY, "v1") is None


def test_a_push_to_a_registry_that_does_not_convert_is_not_undone_later(registry, call, tmp_path):
    hold(call, 600)
    held = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    registry.hold_worker()
    call.close()

    registry.stop()
    registry.text = "[conversion]\nenabled = false\n"
    registry.start()
    pushed = registry.push(one_layer(tmp_path / "app", seed=3), f"{REPOSITORY}:v1")
    registry.stop()
    registry.text = ""
    registry.start()

    again = Calls(registry.host)
    last = again("GET", f"/acr/v1/{REPOSITORY}/_streaming/{held}").json()["id"]
    assert ended(again, REPOSITORY, last)["status"] == "Succeeded"
    assert target(again, REPOSITORY, "v1") == pushed


def test_an_image_that_has_its_artifact_is_tagged_at_once(registry, call, tmp_path):
    image = one_layer(tmp_path / "app")
    name = registry.push(image, f"{REPOSITORY}:v1")
    ended(call, REPOSITORY, ask(call, REPOSITORY, name))
    hold(call, 600)

    registry.push(image, f"{REPOSITORY}:v2")

    assert target(call, REPOSITORY, "v2") == name


def sign(call: Calls, name: str, key: str) -> None:
    """As cosign 2 does: reads the signatures that there are, and writes them with one more."""
    tag = f"/v2/{REPOSITORY}/manifests/{name.replace(':', '-')}.sig"
    before = call("GET", tag)
    layers = before.json()["layers"] if before.status == 200 else []
    payload = f"signed with {key}".encode()
    push_blob(call, REPOSITORY, payload)
    layers.append(descriptor(payload, "application/vnd.dev.cosign.simplesigning.v1+json"))
    answer = call("PUT", tag, image(layers=layers), {"Content-Type": IMAGE})
    assert answer.status == 201, answer


def test_signatures_do_not_wait_and_are_not_converted(registry, call, tmp_path):
    hold(call, 600)
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    registry.hold_worker()
    push_blob(call, REPOSITORY, b"{}")

    for key in ("a", "b"):
        sign(call, name, key)

    signed = call("GET", f"/v2/{REPOSITORY}/manifests/{name.replace(':', '-')}.sig")
    assert signed.status == 200 and len(signed.json()["layers"]) == 2
    asked = call("GET", f"/runnel/v1/_operations?repository={REPOSITORY}").json()["operations"]
    assert {each["digest"] for each in asked} == {name}


def test_the_cache_of_a_build_does_not_wait(call):
    hold(call, 600)
    push_blob(call, REPOSITORY, b"cache")
    cache = index([descriptor(b"cache", "application/vnd.buildkit.cacheconfig.v0")])

    push_manifest(call, REPOSITORY, "cache", cache, INDEX)

    assert target(call, REPOSITORY, "cache") == digest(cache)


@pytest.mark.parametrize("wrong", [-1, 3601, "30", 1.5])
def test_a_time_that_makes_no_sense_is_refused(call, wrong):
    answer = call("POST", f"/acr/v1/{REPOSITORY}/_streaming", json.dumps({"holdTag": wrong}).encode())
    assert answer.status == 400 and "holdTag" in answer.json()["errors"][0]["message"]

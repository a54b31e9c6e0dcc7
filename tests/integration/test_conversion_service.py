"""Conversion in the registry: the recorded requests and answers of the API that clients know, what
comes out of it, and what stays when it is cut short."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time

import pytest
from converting import tar
from converting import runnel as run_runnel
from converting_service import (ARTIFACT, artifacts, ask, before_others, converted, ended, files_of,
                                lose_link, manifest, noise, one_layer, operation, push_index,
                                referrers, slow_image)
from converting_service import registry, served  # noqa: F401  (fixtures)
from needs import needs
from registry_calls import Calls, descriptor, digest, image, push_blob, push_manifest
from sandbox import daemons, images
from test_registry_webhooks import receiver  # noqa: F401  (a fixture)

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
REPOSITORY = "team/app"
AMD64 = {"os": "linux", "architecture": "amd64"}
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


@pytest.fixture
def app(registry, tmp_path) -> str:
    """The digest of an image in REPOSITORY."""
    return registry.push(one_layer(tmp_path / "app"), f"{REPOSITORY}:v1")


def set_switch(call: Calls, repository: str, to: bool):
    return call("POST", f"/acr/v1/{repository}/_streaming", json.dumps(
        {"convertPushedImages": to, "conversionFormat": "overlaybd",
         "conversionVersion": "v1"}).encode())


# The recorded requests and answers ----------------------------------------------------------------


def test_the_switch_answers_as_recorded(call, app):
    before = call("GET", f"/acr/v1/{REPOSITORY}/_streaming")
    changed = set_switch(call, REPOSITORY, True)
    after = call("GET", f"/acr/v1/{REPOSITORY}/_streaming")

    assert (before.status, before.json()) == (200, {"convertPushedImages": False})
    assert before["Content-Type"] == "application/json; charset=utf-8"
    assert changed.status == 202
    body = changed.json()
    assert re.fullmatch(UUID, body.pop("id"))
    assert body == {"convertPushedImages": True, "conversionFormat": "overlaybd",
                    "conversionVersion": "v1", "status": "Succeeded"}
    assert changed["operation-id"] == changed.json()["id"]
    assert after.json() == {"convertPushedImages": True, "conversionFormat": "overlaybd",
                            "conversionVersion": "v1"}
    operation = call("GET", f"/acr/v1/{REPOSITORY}/_operations/{changed['operation-id']}")
    assert (operation.status, operation.json()["status"]) == (200, "Succeeded")
    assert operation.json()["resource"] == REPOSITORY
    assert call("GET", f"/acr/v1/other/_operations/{changed['operation-id']}").status == 404
    assert artifacts(call, REPOSITORY, app) == []  # what is there already is left alone


def test_a_conversion_answers_as_recorded(registry, call, tmp_path):
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    unknown = call("GET", f"/acr/v1/{REPOSITORY}/_streaming/{name}")
    assert unknown.status == 404
    assert unknown.json() == {"errors": [{"code": "OPERATION_UNKNOWN",
                                          "message": "The specified operation does not exist"}]}

    asked = call("POST", f"/acr/v1/{REPOSITORY}/_streaming/{name}",
                 b'{"conversionFormat": "overlaybd", "conversionVersion": "v1"}')
    assert asked.status == 202
    identity = asked.json()["id"]
    assert re.fullmatch(UUID, identity)
    assert asked.json() == {"id": identity, "status": "NotStarted"}
    location = f"http://{registry.host}/acr/v1/{REPOSITORY}/_operations/{identity}"
    assert asked["location"] == asked["operation-location"] == location
    assert asked["operation-id"] == identity
    assert asked["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert asked["Server"] == "AzureContainerRegistry"
    assert re.fullmatch(UUID, asked["X-Ms-Correlation-Request-Id"])
    assert asked["Access-Control-Expose-Headers"] == (
        "Docker-Content-Digest, WWW-Authenticate, Link, X-Ms-Correlation-Request-Id")

    registry.hold_worker()
    daemons.wait_until(lambda: operation(call, REPOSITORY, identity)["status"] == "Running", 60,
                       "a running operation")
    running = operation(call, REPOSITORY, identity)
    resource = f"{REPOSITORY}@{name}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", running["startTime"])
    assert re.fullmatch(r"\d{1,3}%", running["progress"])
    assert running == {"name": "ArtifactStreamingConversion", "resource": resource,
                       "status": "Running", "startTime": running["startTime"],
                       "progress": running["progress"],
                       "details": f"Conversion ongoing for resource {resource}"}

    # A second image waits behind the one that stands still.
    waiting = registry.push(one_layer(tmp_path / "second", seed=2), f"{REPOSITORY}:v2")
    second = ask(call, REPOSITORY, waiting)
    resource = f"{REPOSITORY}@{waiting}"
    document = operation(call, REPOSITORY, second)
    assert document == {"name": "ArtifactStreamingConversion", "resource": resource,
                        "status": "NotStarted", "startTime": document["startTime"],
                        "progress": "0%",
                        "details": f"Conversion started for resource {resource}"}

    canceled = call("POST", f"/acr/v1/{REPOSITORY}/_operations/{second}:cancel")
    assert canceled.status == 200
    assert canceled.json() == {**document, "name": "Cancel: ArtifactStreamingConversion",
                               "status": "Canceled"}
    assert operation(call, REPOSITORY, second) == {**document, "status": "Canceled"}
    last = call("GET", f"/acr/v1/{REPOSITORY}/_streaming/{waiting}")
    assert last.status == 200
    assert last.json() == {"id": second, "status": "Canceled"}
    assert last["operation-id"] == second


def test_what_is_wrong_with_a_request_is_said(call, app):
    assert call("GET", f"/acr/v1/{REPOSITORY}/_operations/absent").code == "OPERATION_UNKNOWN"
    assert call("POST", f"/acr/v1/{REPOSITORY}/_operations/absent:cancel").status == 404
    assert call("POST", f"/acr/v1/{REPOSITORY}/_streaming/sha256:12").code == "DIGEST_INVALID"
    assert call("POST", f"/acr/v1/{REPOSITORY}/_streaming", b"{}").status == 400
    assert call("POST", f"/acr/v1/{REPOSITORY}/_streaming", b"no json").status == 400
    assert call("DELETE", f"/acr/v1/{REPOSITORY}/_streaming/{app}").status == 405
    assert call("GET", "/acr/v1/BAD/_streaming").code == "NAME_INVALID"
    identity = ask(call, REPOSITORY, app)
    ended(call, REPOSITORY, identity)
    assert call("GET", f"/acr/v1/other/_operations/{identity}").status == 404
    assert call("POST", f"/acr/v1/{REPOSITORY}/_operations/{identity}:cancel").status == 409


def test_the_location_is_the_external_one(start, tmp_path):
    registry = start('external_url = "https://registry.example"\n')
    name = registry.push(one_layer(tmp_path / "app"), f"{REPOSITORY}:v1")
    call = Calls(registry.host)
    answer = call("POST", f"/acr/v1/{REPOSITORY}/_streaming/{name}", b"{}")
    assert answer["operation-location"] == (
        f"https://registry.example/acr/v1/{REPOSITORY}/_operations/{answer.json()['id']}")


# What comes out -----------------------------------------------------------------------------------


def test_the_artifact_is_the_one_that_runnel_convert_makes(registry, start, tmp_path):
    """Of an image with every kind of entry, signed by the same key in another registry."""
    from converting import known_image
    known = known_image(tmp_path / "known").image
    name = registry.push(known, f"{REPOSITORY}:v1")
    call = Calls(registry.host)
    (made,) = converted(call, REPOSITORY, name)
    key = registry.directory / "data/converter.key"
    assert os.stat(key).st_mode & 0o777 == 0o600

    other = start(name="other")
    other.push(known, f"{REPOSITORY}:v1")
    (tmp_path / "work").mkdir()
    done = run_runnel("convert", f"{other.host}/{REPOSITORY}:v1", "--json", "--key", str(key),
                      "--work-directory", str(tmp_path / "work"))
    assert done.returncode == 0, done.stderr
    assert [each["artifact"] for each in json.loads(done.stdout)] == [made]

    (entry,) = referrers(call, REPOSITORY, name)
    assert entry["artifactType"] == ARTIFACT
    assert entry["annotations"]["streaming.platform.os"] == "linux"
    assert manifest(call, REPOSITORY, made)["subject"]["digest"] == name
    for layer in manifest(call, REPOSITORY, made)["layers"]:
        assert call("HEAD", f"/v2/{REPOSITORY}/blobs/{layer['digest']}").status == 200
    keys = call("GET", "/.well-known/runnel/converter-keys").json()["keys"]
    annotations = manifest(call, REPOSITORY, made)["annotations"]
    assert [each["id"] for each in keys] == [annotations["dev.runnel.key-id"]]
    assert keys[0]["publicKey"].startswith("-----BEGIN PUBLIC KEY-----")


def push_platforms(registry, call, tmp_path, *architectures: str) -> list[tuple[str, dict]]:
    """Images of one layer each, for push_index."""
    children = []
    for n, architecture in enumerate(architectures):
        at = tmp_path / architecture
        made = one_layer(at, seed=n)
        config = {**made.config, "architecture": architecture}
        raw = json.dumps(config).encode()
        layers = manifest_of(made)["layers"]
        registry.push(made, f"{REPOSITORY}:{architecture}")
        push_blob(call, REPOSITORY, raw)
        body = json.dumps({"schemaVersion": 2, "mediaType": images.MANIFEST, "layers": layers,
                           "config": descriptor(raw, images.CONFIG)}).encode()
        push_manifest(call, REPOSITORY, digest(body), body)
        children.append((digest(body), {"os": "linux", "architecture": architecture}))
    return children


def test_an_index_converts_each_of_its_platforms(registry, call, tmp_path):
    children = push_platforms(registry, call, tmp_path, "amd64", "arm64")
    attestation = image()
    push_blob(call, REPOSITORY, b"{}")
    push_manifest(call, REPOSITORY, digest(attestation), attestation)
    children.append((digest(attestation), {"os": "unknown", "architecture": "unknown"}))
    name = push_index(call, REPOSITORY, "multi", children)

    on_index = converted(call, REPOSITORY, name)

    assert len(on_index) == 2
    platforms = {entry["annotations"]["streaming.platform.arch"]
                 for entry in referrers(call, REPOSITORY, name)}
    assert platforms == {"amd64", "arm64"}
    for child, _ in children[:2]:
        (own,) = artifacts(call, REPOSITORY, child)
        layers = manifest(call, REPOSITORY, own)["layers"]
        assert layers in [manifest(call, REPOSITORY, each)["layers"] for each in on_index]
    assert artifacts(call, REPOSITORY, children[2][0]) == []


def copy_as_docker(registry, source: str, target: str, *options: str) -> None:
    """As docker pushes it: manifests and lists of docker's own media types."""
    done = subprocess.run(
        [needs("skopeo"), "--insecure-policy", "copy", "--quiet", *options, "--format", "v2s2",
         "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{registry.host}/{source}",
         f"docker://{registry.host}/{target}"], capture_output=True, text=True, timeout=120,
        check=False)
    assert done.returncode == 0, done.stderr


def assert_converts_and_verifies(registry, call, repository: str, media_type: str,
                                 platforms: int) -> None:
    held = call("HEAD", f"/v2/{repository}/manifests/v1", headers={"Accept": media_type})
    assert held["Content-Type"] == media_type
    made = converted(call, repository, held["Docker-Content-Digest"])
    assert len(made) == platforms
    for each in made:
        subject = manifest(call, repository, each)["subject"]
        assert subject == {"mediaType": media_type, "digest": held["Docker-Content-Digest"],
                           "size": int(held["Content-Length"])}
    proved = run_runnel("verify", f"{registry.host}/{repository}:v1", "-o", "json")
    assert proved.returncode == 0, proved.stderr
    assert [each["equal"] for each in json.loads(proved.stdout)] == ["bytes"] * platforms


def test_a_docker_image_converts(registry, call, app):  # noqa: ARG001
    copy_as_docker(registry, f"{REPOSITORY}:v1", "docker/app:v1")

    assert_converts_and_verifies(registry, call, "docker/app", DOCKER_MANIFEST, 1)


def test_a_docker_manifest_list_converts_each_of_its_platforms(registry, call, tmp_path):
    push_index(call, REPOSITORY, "v1",
               push_platforms(registry, call, tmp_path, "amd64", "arm64"))
    copy_as_docker(registry, f"{REPOSITORY}:v1", "docker/app:v1", "--all")
    entries = manifest(call, "docker/app", "v1")["manifests"]
    assert [each["mediaType"] for each in entries] == [DOCKER_MANIFEST] * 2

    assert_converts_and_verifies(registry, call, "docker/app", DOCKER_LIST, 2)


def manifest_of(made: images.Image) -> dict:
    return images.read_layout(made.layout)


def test_a_second_image_on_the_same_base_converts_only_its_own_layers(registry, call, tmp_path):
    base = tar(tmp_path / "base.tar", lambda t: t.file("base", noise(400_000, 7)))
    tops = [tar(tmp_path / f"top{n}.tar", lambda t, n=n: t.file("top", noise(1000, n)))
            for n in range(2)]
    first, second = (images.image_of(tmp_path / f"layout{n}", [base, top])
                     for n, top in enumerate(tops))
    converted(call, REPOSITORY, registry.push(first, f"{REPOSITORY}:v1"))
    assert "2 layers converted, 0 reused" in registry.log

    (made,) = converted(call, "other/app", registry.push(second, "other/app:v1"))

    assert "1 layers converted, 1 reused" in registry.log
    for layer in manifest(call, "other/app", made)["layers"]:
        assert call("HEAD", f"/v2/other/app/blobs/{layer['digest']}").status == 200


def test_asking_again_makes_the_same_artifact(registry, call, app):
    first = converted(call, REPOSITORY, app)
    assert converted(call, REPOSITORY, app) == first
    assert "0 layers converted, 1 reused" in registry.log


# Why it may fail ----------------------------------------------------------------------------------


TEXTS = {
    "UNKNOWN_ERROR": "Conversion operation failed due to an unknown error.",
    "RESOURCE_NOT_FOUND": "Conversion operation failed because target resource isn't found.",
    "UNSUPPORTED_PLATFORM": "Conversion isn't currently supported for image platform.",
    "NO_SUPPORTED_PLATFORM_FOUND":
        "Conversion isn't currently supported for any of the image platforms in the index.",
    "UNSUPPORTED_MEDIATYPE": "Conversion isn't supported for the image MediaType.",
    "UNSUPPORTED_ARTIFACT_TYPE": "Conversion isn't supported for the image ArtifactType.",
    "IMAGE_NOT_RUNNABLE": "Conversion isn't supported for nonrunnable images.",
}


def failure(call: Calls, name: str, repository: str = REPOSITORY) -> dict:
    """The error of an operation that fails; it is the same in all places."""
    done = ended(call, repository, ask(call, repository, name))
    assert done["status"] == "Failed", done
    error = done["error"]
    assert done["details"] == f"{error['code']}: {error['message']}"
    if error["code"] in TEXTS:
        assert error["message"] == TEXTS[error["code"]]
    return error


def windows_image(call: Calls) -> str:
    config = json.dumps({"os": "windows", "architecture": "amd64",
                         "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    push_blob(call, REPOSITORY, config)
    body = image(config)
    push_manifest(call, REPOSITORY, digest(body), body)
    return digest(body)


def test_each_error_code_is_reached_by_an_image_that_deserves_it(registry, call, app):
    assert failure(call, digest(b"absent"))["code"] == "RESOURCE_NOT_FOUND"
    windows = windows_image(call)
    assert failure(call, windows)["code"] == "UNSUPPORTED_PLATFORM"
    only_windows = push_index(call, REPOSITORY, "win",
                              [(windows, {"os": "windows", "architecture": "amd64"})])
    assert failure(call, only_windows)["code"] == "NO_SUPPORTED_PLATFORM_FOUND"
    layer = manifest(call, REPOSITORY, app)["layers"][0]["digest"]
    assert failure(call, layer)["code"] == "UNSUPPORTED_MEDIATYPE"
    (artifact,) = converted(call, REPOSITORY, app)
    assert failure(call, artifact)["code"] == "UNSUPPORTED_ARTIFACT_TYPE"
    chart = json.dumps({**json.loads(image()), "config": {
        **json.loads(image())["config"],
        "mediaType": "application/vnd.cncf.helm.config.v1+json"}}).encode()
    push_blob(call, REPOSITORY, b"{}")
    push_manifest(call, REPOSITORY, digest(chart), chart)
    assert failure(call, digest(chart))["code"] == "IMAGE_NOT_RUNNABLE"


def test_a_blob_that_is_lost_is_an_unknown_error_and_the_log_says_more(registry, call, app):
    layer = manifest(call, REPOSITORY, app)["layers"][0]["digest"].partition(":")[2]
    os.unlink(registry.directory / "data/content/blobs/sha256" / layer[:2] / layer)

    assert failure(call, app)["code"] == "UNKNOWN_ERROR"
    assert layer in registry.log
    assert artifacts(call, REPOSITORY, app) == []


def test_a_layer_that_went_while_the_conversion_waited_is_not_opened(registry, call, tmp_path):
    """Whoever else has it."""
    ask(call, "other/app", registry.push(slow_image(tmp_path / "slow"), "other/app:v1"))
    worker = registry.hold_worker()
    made = one_layer(tmp_path / "app")
    for repository in (REPOSITORY, "other/has-it"):
        registry.push(made, f"{repository}:v1")
    name = made.manifest_digest
    (layer,) = manifest(call, REPOSITORY, name)["layers"]
    identity = ask(call, REPOSITORY, name)
    lose_link(registry, REPOSITORY, layer["digest"])

    os.kill(worker, signal.SIGCONT)

    assert ended(call, REPOSITORY, identity)["error"]["code"] == "RESOURCE_NOT_FOUND"
    assert call("HEAD", f"/v2/other/has-it/blobs/{layer['digest']}").status == 200
    assert f"{REPOSITORY}@{name}: its blob {layer['digest']} is not in the repository" in registry.log


def test_a_sparse_manifest_opens_no_blob_of_another_repository(start, tmp_path):
    registry = start("sparse_manifests = true\n")
    call = Calls(registry.host)
    registry.push(one_layer(tmp_path / "app"), "other/app:v1")
    body = call("GET", "/v2/other/app/manifests/v1").body
    name = digest(body)
    push_manifest(call, REPOSITORY, "v1", body)
    assert failure(call, name)["code"] == "RESOURCE_NOT_FOUND"

    config = json.loads(body)["config"]["digest"]
    push_blob(call, REPOSITORY, call("GET", f"/v2/other/app/blobs/{config}").body)
    assert failure(call, name)["code"] == "RESOURCE_NOT_FOUND"
    of_index = push_index(call, REPOSITORY, "multi", [(name, AMD64)])
    assert failure(call, of_index)["code"] == "RESOURCE_NOT_FOUND"

    for layer in json.loads(body)["layers"]:
        push_blob(call, REPOSITORY, call("GET", f"/v2/other/app/blobs/{layer['digest']}").body)
    assert len(converted(call, REPOSITORY, of_index)) == 1


def test_only_the_configured_platforms_are_converted(start, tmp_path):
    registry = start('[conversion]\nplatforms = ["linux/arm64"]\n')
    name = registry.push(one_layer(tmp_path / "app"), f"{REPOSITORY}:v1")
    assert failure(Calls(registry.host), name)["code"] == "UNSUPPORTED_PLATFORM"


def test_bombs_are_refused_and_say_why(start, tmp_path):
    registry = start("[conversion]\nmax_layer_mib = 8\nmax_entries = 50\n")
    call = Calls(registry.host)
    many = images.image_of(tmp_path / "many", [tar(tmp_path / "many.tar", lambda t: [
        t.file(f"{n}", b"") for n in range(60)])])
    zeros = images.image_of(tmp_path / "zeros", [tar(tmp_path / "zeros.tar", lambda t:
                                                     t.file("zeros", bytes(9 << 20)))])
    long_name = images.image_of(tmp_path / "long", [tar(tmp_path / "long.tar", lambda t:
                                                        t.file("n" * 5000, b""))])
    deep = images.image_of(tmp_path / "deep", [tar(tmp_path / "deep.tar", lambda t:
                                                   t.file("d/" * 1200 + "f", b""))])
    expected = [(many, "LIMIT_EXCEEDED", "50 entries"), (zeros, "LIMIT_EXCEEDED", "inflates"),
                (long_name, None, "name"), (deep, None, "directories below each other")]
    for n, (bomb, code, words) in enumerate(expected):
        name = registry.push(bomb, f"{REPOSITORY}:{n}")
        error = failure(call, name)
        assert words in error["message"] and "layer sha256:" in error["message"], error
        assert error["code"] == code if code else error["code"] in ("LIMIT_EXCEEDED",
                                                                    "LAYER_INVALID")
        assert artifacts(call, REPOSITORY, name) == []


def test_a_layer_with_another_diff_id_is_refused(registry, call, tmp_path):
    made = one_layer(tmp_path / "app")
    registry.push(made, f"{REPOSITORY}:v1")
    config = {**made.config, "rootfs": {"type": "layers", "diff_ids": [digest(b"wrong")]}}
    raw = json.dumps(config).encode()
    push_blob(call, REPOSITORY, raw)
    body = json.dumps({"schemaVersion": 2, "mediaType": images.MANIFEST,
                       "layers": manifest_of(made)["layers"],
                       "config": descriptor(raw, images.CONFIG)}).encode()
    push_manifest(call, REPOSITORY, digest(body), body)
    assert failure(call, digest(body))["code"] == "LAYER_INVALID"


# Cut short ----------------------------------------------------------------------------------------


def test_a_cancellation_ends_the_work_within_a_second_and_leaves_nothing(registry, call, tmp_path):
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    before = files_of(registry)
    identity = ask(call, REPOSITORY, name)
    worker = registry.hold_worker()

    started = time.monotonic()
    assert call("POST", f"/acr/v1/{REPOSITORY}/_operations/{identity}:cancel").status == 200
    daemons.wait_until(lambda: not daemons.is_running(worker), 30, "the end of the worker")
    took = time.monotonic() - started

    assert took < 1, took
    daemons.wait_until(lambda: "was given up" in registry.log, 30, "the end of the conversion")
    assert files_of(registry) == before
    assert artifacts(call, REPOSITORY, name) == []
    assert operation(call, REPOSITORY, identity)["status"] == "Canceled"
    assert len(converted(call, REPOSITORY, name)) == 1  # it can be asked for again


def test_a_conversion_survives_the_death_of_the_registry(registry, call, tmp_path):
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    before = files_of(registry)
    identity = ask(call, REPOSITORY, name)
    worker = registry.hold_worker()
    call.close()

    daemons.end([registry.daemon.pid], signal.SIGKILL)
    registry.stop()  # forgets the pid
    daemons.wait_until(lambda: not daemons.is_running(worker), 30, "the end of the worker")
    assert files_of(registry) == before
    registry.start()

    again = Calls(registry.host)
    assert ended(again, REPOSITORY, identity)["status"] == "Succeeded"
    assert len(artifacts(again, REPOSITORY, name)) == 1


def test_a_stop_gives_the_conversion_back_at_once(registry, call, tmp_path):
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    identity = ask(call, REPOSITORY, name)
    registry.hold_worker()
    call.close()
    registry.stop()
    registry.start()

    again = Calls(registry.host)
    assert ended(again, REPOSITORY, identity)["status"] == "Succeeded"


def test_a_worker_that_is_killed_fails_its_conversion(registry, call, tmp_path):
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    identity = ask(call, REPOSITORY, name)
    os.kill(registry.hold_worker(), signal.SIGKILL)

    assert ended(call, REPOSITORY, identity)["error"]["code"] == "UNKNOWN_ERROR"
    assert "worker was killed" in registry.log


def test_nothing_is_visible_before_all_of_it_is(registry, call, tmp_path):
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    identity = ask(call, REPOSITORY, name)
    worker = registry.hold_worker()
    assert artifacts(call, REPOSITORY, name) == []

    os.kill(worker, signal.SIGCONT)

    while True:
        found = artifacts(call, REPOSITORY, name)
        if found:
            break
        assert operation(call, REPOSITORY, identity)["status"] in ("Running", "Succeeded")
    for layer in manifest(call, REPOSITORY, found[0])["layers"]:
        assert call("HEAD", f"/v2/{REPOSITORY}/blobs/{layer['digest']}").status == 200


# The queue ----------------------------------------------------------------------------------------


def test_two_requests_for_one_image_join(registry, call, tmp_path):
    name = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:v1")
    first = ask(call, REPOSITORY, name)
    registry.hold_worker()
    assert ask(call, REPOSITORY, name) == first


@pytest.mark.parametrize("limit", [1, 2])
def test_as_many_images_are_converted_at_once_as_is_configured(start, tmp_path, limit):
    registry = start(f"[conversion]\nconcurrency = {limit}\n")
    call = Calls(registry.host)
    names = [registry.push(slow_image(tmp_path / f"slow{n}", seed=n), f"{REPOSITORY}:v{n}")
             for n in range(limit + 1)]
    held = set()
    with before_others():
        asked = [ask(call, REPOSITORY, name) for name in names]
        while len(held) < limit:
            held.add(registry.hold_worker(besides=held))

    states = sorted(operation(call, REPOSITORY, identity)["status"] for identity in asked)
    assert states == ["NotStarted"] + limit * ["Running"]
    assert set(registry.workers()) == held

    for worker in held:
        os.kill(worker, signal.SIGCONT)
    assert {ended(call, REPOSITORY, identity)["status"] for identity in asked} == {"Succeeded"}


def test_what_a_person_asks_for_goes_before_what_pushes_brought(registry, call, tmp_path):
    blocking = registry.push(slow_image(tmp_path / "slow"), f"{REPOSITORY}:slow")
    first = ask(call, REPOSITORY, blocking)
    worker = registry.hold_worker()
    assert set_switch(call, "auto/app", True).status == 202
    automatic = registry.push(one_layer(tmp_path / "auto", seed=5), "auto/app:v1")
    person = registry.push(one_layer(tmp_path / "person", seed=6), f"{REPOSITORY}:v2")
    ask(call, REPOSITORY, person)

    os.kill(worker, signal.SIGCONT)

    ended(call, REPOSITORY, first)
    last = call("GET", f"/acr/v1/auto/app/_streaming/{automatic}").json()["id"]
    assert ended(call, "auto/app", last)["status"] == "Succeeded"  # logged, which its artifact is not
    lines = [line for line in registry.log.splitlines() if " layers converted" in line]
    order = [next(n for n in (blocking, person, automatic) if n in line) for line in lines]
    assert order == [blocking, person, automatic]


def test_a_push_converts_by_itself_where_that_is_switched_on(registry, call, tmp_path):
    assert set_switch(call, REPOSITORY, True).status == 202
    name = registry.push(one_layer(tmp_path / "app"), f"{REPOSITORY}:v1")
    other = registry.push(one_layer(tmp_path / "other", seed=1), "quiet/app:v1")
    daemons.wait_until(lambda: len(artifacts(call, REPOSITORY, name)) == 1, 120, "the artifact")
    found = call("GET", f"/acr/v1/{REPOSITORY}/_streaming/{name}").json()
    assert ended(call, REPOSITORY, found["id"])["status"] == "Succeeded"

    assert set_switch(call, REPOSITORY, False).status == 202
    third = registry.push(one_layer(tmp_path / "third", seed=2), f"{REPOSITORY}:v3")
    for repository, each in (("quiet/app", other), (REPOSITORY, third)):
        assert call("GET", f"/acr/v1/{repository}/_streaming/{each}").status == 404
    assert len(artifacts(call, REPOSITORY, name)) == 1  # switching off takes nothing away


def test_operations_are_listed_by_repository_and_status(registry, call, app):
    good = ask(call, REPOSITORY, app)
    bad = ask(call, "other/app", digest(b"absent"))
    ended(call, REPOSITORY, good)
    ended(call, "other/app", bad)

    def listed(query: str) -> list[str]:
        return [each["id"] for each in call("GET", f"/runnel/v1/_operations?{query}").json()["operations"]]
    assert listed("") == [bad, good]
    assert listed(f"repository={REPOSITORY}") == [good]
    assert listed("status=Failed") == [bad]
    assert listed(f"repository={REPOSITORY}&status=Failed") == []
    assert call("GET", "/runnel/v1/_operations?status=Odd").status == 400
    page = call("GET", "/runnel/v1/_operations?n=1")
    assert [each["id"] for each in page.json()["operations"]] == [bad]
    following = re.fullmatch(r'<(.*)>; rel="next"', page["Link"])[1]
    assert [each["id"] for each in call("GET", following).json()["operations"]] == [good]
    (entry,) = call("GET", "/runnel/v1/_operations?status=Failed").json()["operations"]
    assert entry["error"]["code"] == "RESOURCE_NOT_FOUND" and entry["endTime"]
    assert entry["automatic"] is False


def test_a_whole_repository_is_converted_and_artifacts_are_deleted(registry, call, app, tmp_path):
    converted(call, REPOSITORY, app)
    more = registry.push(one_layer(tmp_path / "more", seed=1), f"{REPOSITORY}:v2")
    registry.push(one_layer(tmp_path / "again", seed=1), f"{REPOSITORY}:v3")
    push_blob(call, REPOSITORY, b"{}")
    signature = image(layers=[descriptor(b"{}", "application/vnd.dev.cosign.simplesigning.v1+json")])
    push_manifest(call, REPOSITORY, f"{more.replace(':', '-')}.sig", signature)

    answer = call("POST", f"/runnel/v1/{REPOSITORY}/_streaming")

    assert answer.status == 202 and answer.json()["skipped"] == 1
    (started,) = answer.json()["operations"]
    assert started["digest"] == more
    assert ended(call, REPOSITORY, started["id"])["status"] == "Succeeded"
    (artifact,) = artifacts(call, REPOSITORY, more)
    deleted = call("DELETE", f"/runnel/v1/{REPOSITORY}/_artifact/{more}")
    assert (deleted.status, deleted.json()) == (202, {"deleted": [artifact]})
    assert artifacts(call, REPOSITORY, more) == []
    assert call("DELETE", f"/runnel/v1/{REPOSITORY}/_artifact/{more}").status == 404
    assert call("HEAD", f"/v2/{REPOSITORY}/manifests/{more}").status == 200
    (own,) = artifacts(call, REPOSITORY, app)
    assert call("DELETE", f"/runnel/v1/{REPOSITORY}/_artifact/{own}").json() == {"deleted": [own]}


def test_receivers_are_told_of_conversions(start, receiver, tmp_path):  # noqa: F811
    registry = start(f'[webhooks.ci]\nurl = "{receiver.url}"\n')
    call = Calls(registry.host)
    name = registry.push(one_layer(tmp_path / "app"), f"{REPOSITORY}:v1")
    identity = ask(call, REPOSITORY, name)
    ended(call, REPOSITORY, identity)
    failed = ask(call, REPOSITORY, digest(b"absent"))
    ended(call, REPOSITORY, failed)

    daemons.wait_until(lambda: len(receiver.events) >= 3, 60, "three events")

    push, completed, not_completed = receiver.events
    assert push["action"] == "push"
    assert (completed["action"], completed["digest"], completed["operation"]) == (
        "convert_completed", name, identity)
    assert completed["artifacts"] == artifacts(call, REPOSITORY, name)
    assert not_completed["action"] == "convert_failed"
    assert not_completed["error"]["code"] == "RESOURCE_NOT_FOUND"


def test_conversion_can_be_switched_off(start):
    registry = start("[conversion]\nenabled = false\n")
    call = Calls(registry.host)
    assert call("GET", f"/acr/v1/{REPOSITORY}/_streaming").status == 404
    assert not (registry.directory / "data/converter.key").exists()

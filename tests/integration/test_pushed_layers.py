"""What the registry makes of layers that come in an artifact that was made elsewhere: its own work, not the artifact's
word, and that before the first node's vote needs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from converting import runnel as run_runnel
from converting import tar
from converting_service import (ConvertingRegistry, ask, converted, files_of, lose_link, manifest,
                                noise, one_layer, slow_image)
from converting_service import registry, served  # noqa: F401  (fixtures)
from registry_calls import Calls, digest, push_manifest
from sandbox import daemons, images
from told_starts import REPOSITORY, chunks_of, read, recorded, tell


def two_layers(at: Path) -> images.Image:
    at.mkdir()
    return images.image_of(at / "layout", [
        tar(at / f"layer{n}.tar", lambda t, n=n: t.directory("d").file(f"d/{n}", noise(300_000, n)))
        for n in range(2)])


def convert_elsewhere(registry: ConvertingRegistry, at: Path, key: Path | None = None) -> str:
    """`runnel convert`, with a key that the registry does not have unless it is said; the artifact."""
    if key is None:
        key = at / "other.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True)
    (at / "work").mkdir()
    done = run_runnel("convert", f"{registry.host}/{REPOSITORY}:v1", "--key", str(key), "--json",
                      "--work-directory", str(at / "work"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]["artifact"]


def wait_for_a_look(registry: ConvertingRegistry, name: str, same: int, others: int) -> None:
    line = f"{name}: of the layers of an artifact that was pushed, {same} are what is made here, {others} not"
    daemons.wait_until(lambda: line in registry.log, 60, line)


def blob_file(registry: ConvertingRegistry, name: str) -> Path:
    hex_digits = name.removeprefix("sha256:")
    return registry.directory / "data/content/blobs/sha256" / hex_digits[:2] / hex_digits


def test_layers_of_an_artifact_with_our_signature_are_reused(registry, call, tmp_path):
    name = registry.push(one_layer(tmp_path / "image"), f"{REPOSITORY}:v1")
    convert_elsewhere(registry, tmp_path, registry.directory / "data/converter.key")

    converted(call, REPOSITORY, name)

    assert "0 layers converted, 1 reused" in registry.log.splitlines()[-1], registry.log


def test_layers_that_were_made_elsewhere_are_made_once_more_and_then_reused(registry, call, tmp_path):
    name = registry.push(two_layers(tmp_path / "image"), f"{REPOSITORY}:v1")
    files = files_of(registry)
    pushed = manifest(call, REPOSITORY, convert_elsewhere(registry, tmp_path))

    wait_for_a_look(registry, name, 2, 0)
    new = {Path(each) for each in files_of(registry) - files}
    assert new == {blob_file(registry, each["digest"]) for each in [*pushed["layers"], pushed["config"]]}

    converted(call, REPOSITORY, name)
    assert "0 layers converted, 2 reused" in registry.log.splitlines()[-1], registry.log


def test_the_first_vote_then_needs_no_layer_of_the_image(registry, call, tmp_path):
    image = two_layers(tmp_path / "image")
    name = registry.push(image, f"{REPOSITORY}:v1")
    pushed, artifact = read(call, convert_elsewhere(registry, tmp_path))
    wait_for_a_look(registry, name, 2, 0)
    for layer in manifest(call, REPOSITORY, name)["layers"]:
        blob_file(registry, layer["digest"]).unlink()  # so that nothing can be made of it

    tell(call, name, pushed, chunks_of(artifact, "d/1"))

    renewed = recorded(call, name)
    assert renewed["layers"][:-1] == pushed["layers"][:-1]
    keys = call("GET", "/.well-known/runnel/converter-keys").json()["keys"]
    assert renewed["annotations"]["dev.runnel.key-id"] in [each["id"] for each in keys]


def test_an_artifact_that_gives_layers_the_blobs_of_others_is_not_believed(start, tmp_path):
    registry = start("[conversion]\nenabled = false\n")
    call = Calls(registry.host)
    name = registry.push(two_layers(tmp_path / "image"), f"{REPOSITORY}:v1")
    artifact = convert_elsewhere(registry, tmp_path)
    lie = manifest(call, REPOSITORY, artifact)
    first, second = lie["layers"][:2]
    for key in ("digest", "size"):
        first[key], second[key] = second[key], first[key]
    assert call("DELETE", f"/v2/{REPOSITORY}/manifests/{artifact}").status == 202
    call.close()
    registry.stop()
    registry.text = ""
    registry.start()
    call = Calls(registry.host)

    body = json.dumps(lie).encode()
    push_manifest(call, REPOSITORY, digest(body), body)
    wait_for_a_look(registry, name, 0, 2)

    converted(call, REPOSITORY, name)
    assert "2 layers converted, 0 reused" in registry.log.splitlines()[-1], registry.log


def test_a_layer_that_the_repository_does_not_have_is_not_opened(start, tmp_path):
    registry = start("[conversion]\nenabled = false\n")
    call = Calls(registry.host)
    name = registry.push(one_layer(tmp_path / "image"), f"{REPOSITORY}:v1")
    artifact = json.dumps(manifest(call, REPOSITORY, convert_elsewhere(registry, tmp_path))).encode()
    (layer,) = manifest(call, REPOSITORY, name)["layers"]
    lose_link(registry, REPOSITORY, layer["digest"])
    call.close()
    registry.stop()
    registry.text = ""
    registry.start()

    push_manifest(Calls(registry.host), REPOSITORY, digest(artifact), artifact)

    line = f"{REPOSITORY}@{name}: layers of an artifact that was pushed: RESOURCE_NOT_FOUND"
    daemons.wait_until(lambda: line in registry.log, 60, line)


def test_it_waits_while_a_conversion_that_somebody_asked_for_goes_on(registry, call, tmp_path):
    name = registry.push(two_layers(tmp_path / "image"), f"{REPOSITORY}:v1")
    slow = registry.push(slow_image(tmp_path / "slow"), "team/slow:v1")
    ask(call, "team/slow", slow)
    held = registry.hold_worker()

    convert_elsewhere(registry, tmp_path)
    os.kill(held, signal.SIGCONT)
    wait_for_a_look(registry, name, 2, 0)

    at = registry.log.index
    assert at(f"team/slow@{slow}: 1 artifacts") < at(f"{name}: of the layers")

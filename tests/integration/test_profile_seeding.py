"""What starts of one version of an image read gives the first hot pack of the next version."""

from __future__ import annotations

import json
import time

import pytest
from converting import artifact_manifest, blob
from converting import runnel as run_runnel
from converting_service import artifacts, converted, push_index
from converting_service import registry, served  # noqa: F401  (fixtures)
from format_reader import Artifact, read_artifact
from registry_calls import Calls
from told_starts import HOT, REPOSITORY, chunks_of, read, recorded, tell, version


def test_an_earlier_versions_starts_give_the_first_hot_pack(registry, call, tmp_path):
    first = registry.push(version(tmp_path / "one", 100), f"{REPOSITORY}:v1")
    (made,) = converted(call, REPOSITORY, first)
    manifest, artifact = read(call, made)
    assert manifest["annotations"]["dev.runnel.hot"] == "guessed"
    tell(call, first, manifest, chunks_of(artifact, *HOT))
    assert recorded(call, first)["annotations"]["dev.runnel.hot"] == "recorded"

    second = registry.push(version(tmp_path / "two", 200), f"{REPOSITORY}:v2")
    (made,) = converted(call, REPOSITORY, second)
    manifest, artifact = read(call, made)

    assert manifest["annotations"]["dev.runnel.hot"] == "seeded"
    hot = set(chunks_of(artifact, *HOT))
    assert hot <= set(artifact.boot.hot)
    assert len(artifact.boot.hot) < 2 * len(hot) + 4  # and their neighbours in chunks, no more
    # In the order of the first read.
    assert artifact.boot.hot.index(chunks_of(artifact, HOT[0])[-1]) < artifact.boot.hot.index(
        chunks_of(artifact, HOT[1])[-1])

    # Its own starts go before those of the version before.
    tell(call, second, manifest, chunks_of(artifact, "srv/part-30"))
    own = recorded(call, second)
    assert own["annotations"]["dev.runnel.hot"] == "recorded"
    assert own["annotations"]["dev.runnel.generation"] == "2"
    shown = json.loads(run_runnel("inspect", f"{call.host}/{REPOSITORY}@{second}", "--json").stdout)
    assert shown["hot_from"] == "recorded"


def test_no_image_waits_for_another_ones_minute(registry, call, tmp_path):
    first, second = (registry.push(version(tmp_path / name, seed), f"{REPOSITORY}:{name}")
                     for name, seed in (("one", 100), ("two", 200)))
    (made,) = converted(call, REPOSITORY, first)
    (other,) = converted(call, REPOSITORY, second)
    manifest, artifact = read(call, made)
    tell(call, first, manifest, chunks_of(artifact, *HOT))
    recorded(call, first)
    # The first image has been made anew: this vote waits until a minute is over.
    tell(call, first, manifest, chunks_of(artifact, "srv/part-30"))

    manifest, artifact = read(call, other)
    voted = time.monotonic()
    tell(call, second, manifest, chunks_of(artifact, *HOT))
    recorded(call, second)

    assert time.monotonic() - voted < 30
    assert len(artifacts(call, REPOSITORY, first)) == 2


def seeded_elsewhere(registry, call, tmp_path, *read_at_start: str) -> tuple[dict, Artifact]:
    """Of another repository's image with the same base, after a start of the first one."""
    first = registry.push(version(tmp_path / "one", 100), f"{REPOSITORY}:v1")
    (made,) = converted(call, REPOSITORY, first)
    manifest, artifact = read(call, made)
    tell(call, first, manifest, chunks_of(artifact, *read_at_start))
    recorded(call, first)

    second = registry.push(version(tmp_path / "two", 200), "elsewhere/app2:v1")
    (made,) = converted(call, "elsewhere/app2", second)
    reference = f"{call.host}/elsewhere/app2:v1"
    manifest = artifact_manifest(reference, made)
    return manifest, read_artifact(manifest, lambda digest: blob(reference, digest))


def test_another_repositorys_starts_give_what_they_read_of_a_shared_layer(registry, call, tmp_path):
    manifest, artifact = seeded_elsewhere(registry, call, tmp_path, "etc/base", *HOT)

    assert manifest["annotations"]["dev.runnel.hot"] == "seeded"
    assert set(artifact.boot.hot) == set(chunks_of(artifact, "etc/base")), "the rest is not shared"


def test_another_repositorys_starts_tell_nothing_of_other_layers(registry, call, tmp_path):
    manifest, artifact = seeded_elsewhere(registry, call, tmp_path, *HOT)

    assert manifest["annotations"]["dev.runnel.hot"] == "guessed"
    assert artifact.boot.hot == []


def test_who_does_not_want_that_switches_it_off(start, tmp_path):
    made = start("[conversion]\nshared_profiles = false\n")
    manifest, _ = seeded_elsewhere(made, Calls(made.host), tmp_path, "etc/base")
    assert manifest["annotations"]["dev.runnel.hot"] == "guessed"


def test_the_artifacts_of_an_index_are_renewed_with_its_images(registry, call, tmp_path):
    image = registry.push(version(tmp_path / "one", 100), f"{REPOSITORY}:v1")
    other = registry.push(version(tmp_path / "two", 200), f"{REPOSITORY}:other")
    index = push_index(call, REPOSITORY, "both", [
        (image, {"os": "linux", "architecture": "amd64"}),
        (other, {"os": "linux", "architecture": "amd64", "variant": "v3"})])
    assert len(converted(call, REPOSITORY, index)) == 2
    (made,) = artifacts(call, REPOSITORY, image)
    manifest, artifact = read(call, made)
    tell(call, image, manifest, chunks_of(artifact, *HOT))
    renewed = recorded(call, image)

    reference = f"{call.host}/{REPOSITORY}:both"
    found = [artifact_manifest(reference, each) for each in artifacts(call, REPOSITORY, index)]
    generations = [each["annotations"]["dev.runnel.generation"] for each in found]
    assert sorted(generations) == ["1", "1", "2"]
    (newest,) = [each for each in found if each["annotations"]["dev.runnel.generation"] == "2"]
    assert newest["layers"] == renewed["layers"], "the same blobs"
    assert newest["subject"]["digest"] == index
    verified = run_runnel("verify", reference)
    assert verified.returncode == 0, verified.stderr


def test_profile_show_says_what_the_hot_pack_was_made_of(registry, call, tmp_path):
    first = registry.push(version(tmp_path / "one", 100), f"{REPOSITORY}:v1")
    (made,) = converted(call, REPOSITORY, first)
    show = ("artifact-streaming", "profile", "show", "-n", registry.host, "--image", f"{REPOSITORY}:v1")
    nobody = run_runnel(*show)
    assert nobody.returncode == 1 and b"its hot pack is guessed" in nobody.stderr
    manifest, artifact = read(call, made)
    tell(call, first, manifest, chunks_of(artifact, *HOT))
    recorded(call, first)

    pack = json.loads(run_runnel(*show).stdout)["hotPack"]

    assert (pack["madeOf"], pack["generation"]) == ("recorded", 2)
    assert pack["artifact"] in artifacts(call, REPOSITORY, first)


def test_a_version_without_those_files_is_guessed_at(registry, call, tmp_path):
    first = registry.push(version(tmp_path / "one", 100), f"{REPOSITORY}:v1")
    (made,) = converted(call, REPOSITORY, first)
    manifest, artifact = read(call, made)
    tell(call, first, manifest, chunks_of(artifact, HOT[1]))
    recorded(call, first)

    second = registry.push(version(tmp_path / "two", 300, parts=3), f"{REPOSITORY}:v2")
    (made,) = converted(call, REPOSITORY, second)

    notes = artifact_manifest(f"{call.host}/{REPOSITORY}:v2", made)["annotations"]
    assert notes["dev.runnel.hot"] == "guessed"

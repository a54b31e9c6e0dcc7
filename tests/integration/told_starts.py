"""What tests of profiles share: an image whose starts are known, and a node's word of them."""

from __future__ import annotations

import json
from pathlib import Path

from converting import artifact_manifest, blob, tar
from converting_service import artifacts, noise
from format_reader import Artifact, LayerBlob, read_artifact
from registry_calls import Calls
from sandbox import daemons, images

REPOSITORY = "team/app"
HOT = ("srv/part-07", "srv/part-23")
FILE = 150_000


def version(at: Path, seed: int, parts: int = 40) -> images.Image:
    """A base that stays, and an application whose every file is another one."""
    at.mkdir()

    def application(out):
        out.directory("srv")
        out.file("srv/added-by-this-version", noise(FILE, 1000 + seed))
        for number in range(parts):
            out.file(f"srv/part-{number:02}", noise(FILE, seed + number))

    return images.image_of(at / "layout", [
        tar(at / "base.tar", lambda t: t.directory("etc").file("etc/base", noise(FILE, 5))),
        tar(at / "application.tar", application)])


def read(call: Calls, artifact: str) -> tuple[dict, Artifact]:
    reference = f"{call.host}/{REPOSITORY}:v1"
    manifest = artifact_manifest(reference, artifact)
    return manifest, read_artifact(manifest, lambda digest: blob(reference, digest))


def chunks_of(artifact: Artifact, *names: str) -> list[tuple[int, int]]:
    """Where the files lie: layer, chunk."""
    out = []
    for name in names:
        file = artifact.files()[name.encode()]
        layer: LayerBlob = artifact.layers[file.identity[0]]
        for _, device_block, blocks in file.inode.extents:
            out += [(file.identity[0], number)
                    for number in layer.table.covering(device_block, blocks)]
    return out


def tell(call: Calls, image: str, manifest: dict, chunks: list[tuple[int, int]]) -> None:
    """A node's vote."""
    profile = {"version": 1, "image": "i",
               "layers": [each["digest"] for each in manifest["layers"][:-1]],
               "chunks": [list(each) for each in dict.fromkeys(chunks)]}
    told = call("POST", f"/runnel/v1/{REPOSITORY}/_profiles/{image}?node=one",
                json.dumps(profile).encode())
    assert told.status == 204, told


def recorded(call: Calls, image: str) -> dict:
    """The manifest of the artifact that a vote brought about."""
    daemons.wait_until(lambda: len(artifacts(call, REPOSITORY, image)) == 2, 60,
                       "another boot blob after a vote")
    found = [artifact_manifest(f"{call.host}/{REPOSITORY}:v1", each)
             for each in artifacts(call, REPOSITORY, image)]
    return max(found, key=lambda each: int(each["annotations"]["dev.runnel.generation"]))

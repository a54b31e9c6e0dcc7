"""What is switched off on a repository, a tag or a manifest, and on which paths that counts."""

from __future__ import annotations

import json

import pytest
from registry_calls import (IMAGE, INDEX, Calls, Answer, digest, image, push_blob, push_image,
                            push_manifest)


def switch(call: Calls, target: str, **to: bool) -> Answer:
    answer = call("PATCH", f"/acr/v1/{target}", json.dumps(to).encode())
    assert answer.status == 200, answer
    return answer


def rule(answer: Answer) -> str:
    return answer.json()["errors"][0]["detail"]["rule"]


def test_all_is_on_at_first_and_what_is_not_named_stays(call):
    name = push_image(call, "at/first", "v1")

    every = {"deleteEnabled": True, "writeEnabled": True, "readEnabled": True, "listEnabled": True}
    assert call("GET", "/acr/v1/at/first").json()["changeableAttributes"] == every
    tag = call("GET", "/acr/v1/at/first/_tags/v1").json()
    assert tag["tag"] == {"name": "v1", "digest": name, "changeableAttributes": every}
    switch(call, f"at/first/_manifests/{name}", listEnabled=False)
    switch(call, f"at/first/_manifests/{name}", deleteEnabled=False)
    manifest = call("GET", f"/acr/v1/at/first/_manifests/{name}").json()["manifest"]
    assert manifest["changeableAttributes"] == every | {"listEnabled": False, "deleteEnabled": False}
    assert call("GET", "/acr/v1/at/first").json()["changeableAttributes"] == every


@pytest.mark.parametrize(("target", "body", "status"), [
    ("no/such", b"{}", 404), ("at/bad/_tags/none", b"{}", 404), ("at/bad/_tags/-", b"{}", 400),
    ("at/bad/_manifests/sha256:bad", b"{}", 400), ("UPPER", b"{}", 400),
    ("at/bad", b"[]", 400), ("at/bad", b'{"readEnabled": 1}', 400), ("at/bad", b'{"other": true}', 400),
])
def test_what_is_none_is_refused(call, target, body, status):
    push_blob(call, "at/bad", b"{}")

    assert call("PATCH", f"/acr/v1/{target}", body).status == status


def test_a_tag_that_is_not_written_is_neither_moved_nor_hit_by_a_parameter(call):
    name = push_image(call, "at/write", "v1")
    push_manifest(call, "at/write", "latest", image())
    other = image(annotations={"other": "1"})
    switch(call, "at/write/_tags/latest", writeEnabled=False)

    for target in ("manifests/latest", f"manifests/{digest(other)}?tag=v9&tag=latest"):
        answer = call("PUT", f"/v2/at/write/{target}", other, {"Content-Type": IMAGE})
        assert (answer.status, answer.code) == (403, "DENIED")
        assert rule(answer) == "writeEnabled is false on at/write:latest"

    assert call("HEAD", "/v2/at/write/manifests/latest")["Docker-Content-Digest"] == name
    assert call("HEAD", "/v2/at/write/manifests/v9").status == 404
    push_manifest(call, "at/write", "v1", other)
    assert call("DELETE", "/v2/at/write/manifests/latest").status == 202


def test_a_repository_that_is_not_written_takes_nothing(call):
    name = push_image(call, "at/frozen", "v1")
    source = push_blob(call, "at/source", b"mounted")
    place = call("POST", "/v2/at/frozen/blobs/uploads/")["Location"]
    switch(call, "at/frozen", writeEnabled=False)

    for answer in (call("POST", "/v2/at/frozen/blobs/uploads/"),
                   call("POST", f"/v2/at/frozen/blobs/uploads/?mount={source}&from=at/source"),
                   call("POST", f"/v2/at/frozen/blobs/uploads/?digest={digest(b'x')}", b"x"),
                   call("PATCH", place, b"x"),
                   call("PUT", f"{place}?digest={digest(b'')}"),
                   call("PUT", "/v2/at/frozen/manifests/v2", image(), {"Content-Type": IMAGE})):
        assert (answer.status, answer.code) == (403, "DENIED")
        assert rule(answer) == "writeEnabled is false on at/frozen"
    assert call("GET", f"/v2/at/frozen/manifests/{name}").status == 200
    switch(call, "at/frozen", writeEnabled=True)
    assert call("POST", "/v2/at/frozen/blobs/uploads/").status == 202


@pytest.mark.parametrize("target", ["%2A", "*", "{name}?tag=%2A", "v1?tag=v2&tag=*"])
def test_a_push_to_what_is_no_name_takes_no_lock_away(call, target):
    """"*" is what the repository's own attributes are kept under."""
    repository = f"at/star{len(target)}"
    name = push_image(call, repository, "v1")
    switch(call, f"{repository}/_tags/v1", listEnabled=False)  # so that names are looked at one by one
    switch(call, repository, writeEnabled=False, readEnabled=False, deleteEnabled=False)
    before = call("GET", f"/acr/v1/{repository}").json()["changeableAttributes"]
    body = image(annotations={"other": "1"})

    answer = call("PUT", f"/v2/{repository}/manifests/{target.format(name=name)}", body, {"Content-Type": IMAGE})

    assert (answer.status, answer.code) == (400, "TAG_INVALID")
    assert call("GET", f"/acr/v1/{repository}").json()["changeableAttributes"] == before
    assert not before["writeEnabled"]
    answer = call("PUT", f"/v2/{repository}/manifests/v1", body, {"Content-Type": IMAGE})
    assert (answer.status, answer.code) == (403, "DENIED")


def test_what_is_not_deleted_is_not_deleted_by_another_name(call):
    name = push_image(call, "at/keep", "v1", annotations={"keep": "1"})
    push_manifest(call, "at/keep", "v2", image(annotations={"keep": "1"}))
    switch(call, "at/keep/_tags/v1", deleteEnabled=False)

    for target in ("/v2/at/keep/manifests/v1", f"/v2/at/keep/manifests/{name}", "/acr/v1/at/keep"):
        answer = call("DELETE", target)
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        assert rule(answer) == "deleteEnabled is false on at/keep:v1"
    assert call("DELETE", "/v2/at/keep/manifests/v2").status == 202

    switch(call, "at/keep/_tags/v1", deleteEnabled=True)
    switch(call, f"at/keep/_manifests/{name}", deleteEnabled=False)
    assert call("DELETE", f"/v2/at/keep/manifests/{name}").status == 405
    assert call("DELETE", "/acr/v1/at/keep").status == 405
    switch(call, f"at/keep/_manifests/{name}", deleteEnabled=True)
    unneeded = push_blob(call, "at/keep", b"no manifest needs this")
    switch(call, "at/keep", deleteEnabled=False)
    for target in (f"manifests/{name}", "manifests/v1", f"blobs/{unneeded}"):
        assert call("DELETE", f"/v2/at/keep/{target}").status == 405
    assert call("DELETE", "/acr/v1/at/keep").status == 405
    switch(call, "at/keep", deleteEnabled=True)
    assert call("DELETE", "/acr/v1/at/keep").status == 202


def test_what_is_not_read_is_not_read_by_another_name(call):
    name = push_image(call, "at/secret", "v1")
    push_manifest(call, "at/secret", "v2", image())
    switch(call, f"at/secret/_manifests/{name}", readEnabled=False)
    for reference in (name, "v1", "v2"):
        answer = call("GET", f"/v2/at/secret/manifests/{reference}")
        assert (answer.status, answer.code) == (403, "DENIED")
        assert call("HEAD", f"/v2/at/secret/manifests/{reference}").status == 403

    switch(call, f"at/secret/_manifests/{name}", readEnabled=True)
    switch(call, "at/secret", readEnabled=False)
    blob = digest(b"{}")
    for target in (f"manifests/{name}", f"blobs/{blob}", f"referrers/{name}"):
        assert call("GET", f"/v2/at/secret/{target}").status == 403
    for query in (f"mount={blob}&from=at/secret", f"mount={blob}"):
        assert call("POST", f"/v2/at/elsewhere/blobs/uploads/?{query}").status in (201, 202)
    only_here = push_blob(call, "at/secret", b"only here")
    for query in (f"mount={only_here}&from=at/secret", f"mount={only_here}"):
        assert call("POST", f"/v2/at/elsewhere/blobs/uploads/?{query}").status == 202


def test_what_is_not_listed_can_still_be_named(call):
    push_blob(call, "at/list", b"{}")
    for tag in ("a", "b", "c", "d"):
        push_manifest(call, "at/list", tag, image())
    subject = digest(image())
    signature = image(subject={"mediaType": IMAGE, "digest": subject, "size": 1})
    push_manifest(call, "at/list", digest(signature), signature)
    switch(call, "at/list/_tags/b", listEnabled=False)
    switch(call, f"at/list/_manifests/{digest(signature)}", listEnabled=False)

    assert call("GET", "/v2/at/list/tags/list").json()["tags"] == ["a", "c", "d"]
    first = call("GET", "/v2/at/list/tags/list?n=2")
    assert first.json()["tags"] == ["a", "c"] and "last=c" in first["Link"]
    assert call("HEAD", "/v2/at/list/manifests/b").status == 200
    referrers = call("GET", f"/v2/at/list/referrers/{subject}")
    assert (referrers["Content-Type"], referrers.json()["manifests"]) == (INDEX, [])
    assert "at/list" in call("GET", "/v2/_catalog").json()["repositories"]
    switch(call, "at/list", listEnabled=False)
    assert "at/list" not in call("GET", "/v2/_catalog").json()["repositories"]


def deletions(call: Calls, repository: str) -> list[dict]:
    return call("GET", f"/runnel/v1/_soft-delete?repository={repository}").json()["deletions"]


def restore(call: Calls, deletion: dict) -> Answer:
    return call("POST", f"/runnel/v1/_soft-delete/{deletion['id']}:restore")


@pytest.mark.parametrize(("attribute", "status"), [("writeEnabled", 403), ("deleteEnabled", 405)])
def test_restoring_does_not_move_a_tag_that_is_switched_off(call, attribute, status):
    repository = f"at/restore-{attribute.lower()}"
    first = push_image(call, repository, "v1")
    other = image(annotations={"other": "1"})
    push_manifest(call, repository, "v1", other)
    (overwritten,) = deletions(call, repository)
    switch(call, f"{repository}/_tags/v1", **{attribute: False})

    answer = restore(call, overwritten)

    assert answer.status == status
    assert rule(answer) == f"{attribute} is false on {repository}:v1"
    assert call("HEAD", f"/v2/{repository}/manifests/v1")["Docker-Content-Digest"] == digest(other)
    switch(call, f"{repository}/_tags/v1", **{attribute: True})
    assert restore(call, overwritten).status == 200
    assert call("HEAD", f"/v2/{repository}/manifests/v1")["Docker-Content-Digest"] == first


@pytest.mark.parametrize("target", ["", "/_tags/v1", "/_manifests/{name}"])
def test_what_is_not_deleted_is_not_purged(call, target):
    repository = f"at/purge{len(target)}"
    name = push_image(call, repository, "v1")
    assert call("DELETE", f"/v2/{repository}/manifests/v1").status == 202
    (deleted,) = deletions(call, repository)
    push_manifest(call, repository, "v1", image())
    switch(call, repository + target.format(name=name), deleteEnabled=False)

    answer = call("DELETE", f"/runnel/v1/_soft-delete/{deleted['id']}")

    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert rule(answer).startswith(f"deleteEnabled is false on {repository}")
    assert deletions(call, repository) == [deleted]
    switch(call, repository + target.format(name=name), deleteEnabled=True)
    assert call("DELETE", f"/runnel/v1/_soft-delete/{deleted['id']}").status == 204


def test_an_image_is_not_deleted_with_an_artifact_that_is_locked(call):
    name = push_image(call, "at/artifact", "v1")
    artifact = image(artifactType="application/vnd.azure.artifact.streaming.v1",
                     subject={"mediaType": IMAGE, "digest": name, "size": len(image())})
    push_manifest(call, "at/artifact", "streamed", artifact)

    for target in (f"_manifests/{digest(artifact)}", "_tags/streamed"):
        switch(call, f"at/artifact/{target}", deleteEnabled=False)
        answer = call("DELETE", f"/v2/at/artifact/manifests/{name}")
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        assert rule(answer).startswith("deleteEnabled is false on at/artifact")
        switch(call, f"at/artifact/{target}", deleteEnabled=True)
    assert call("HEAD", f"/v2/at/artifact/manifests/{digest(artifact)}").status == 200
    assert call("DELETE", f"/v2/at/artifact/manifests/{name}").status == 202
    assert call("HEAD", f"/v2/at/artifact/manifests/{digest(artifact)}").status == 404
    assert call("GET", f"/v2/at/artifact/referrers/{name}").json()["manifests"] == []


@pytest.mark.parametrize("way", ["restored", "pushed again"])
def test_an_artifact_goes_and_comes_with_its_image(call, way):
    repository = f"at/back-{way.replace(' ', '-')}"
    name = push_image(call, repository, "v1")
    subject = {"mediaType": IMAGE, "digest": name, "size": len(image())}
    artifact = image(artifactType="application/vnd.azure.artifact.streaming.v1", subject=subject)
    signature = image(artifactType="application/x-signature", subject=subject)
    for each in (artifact, signature):
        push_manifest(call, repository, digest(each), each)

    def referrers() -> set[str]:
        listed = call("GET", f"/v2/{repository}/referrers/{name}").json()["manifests"]
        return {entry["digest"] for entry in listed}

    assert call("DELETE", f"/v2/{repository}/manifests/{name}").status == 202
    assert referrers() == {digest(signature)}
    assert call("HEAD", f"/v2/{repository}/manifests/{digest(artifact)}").status == 404

    if way == "restored":
        (deleted,) = deletions(call, repository)
        assert restore(call, deleted).json()["manifests"] == 2
    else:
        push_manifest(call, repository, name, image())

    assert referrers() == {digest(artifact), digest(signature)}
    for each in (image(), artifact):
        assert call("GET", f"/v2/{repository}/manifests/{digest(each)}").body == each
    assert call("HEAD", f"/v2/{repository}/manifests/v1").status == (200 if way == "restored" else 404)


def test_a_tag_that_is_pushed_anew_begins_without_the_lock_of_the_one_that_is_gone(call):
    name = push_image(call, "at/anew", "v1")
    switch(call, "at/anew/_tags/v1", writeEnabled=False)
    switch(call, f"at/anew/_manifests/{name}", writeEnabled=False)
    assert call("DELETE", "/v2/at/anew/manifests/v1").status == 202
    (deleted,) = deletions(call, "at/anew")
    assert restore(call, deleted).status == 200  # with its lock
    assert call("PUT", "/v2/at/anew/manifests/v1", image(annotations={"b": "1"}),
                {"Content-Type": IMAGE}).status == 403

    assert call("DELETE", f"/v2/at/anew/manifests/{name}").status == 202
    push_manifest(call, "at/anew", name, image())
    push_manifest(call, "at/anew", "v1", image())

    tag = call("GET", "/acr/v1/at/anew/_tags/v1").json()["tag"]
    assert tag["changeableAttributes"]["writeEnabled"]
    push_manifest(call, "at/anew", "v1", image(annotations={"b": "1"}))


def test_a_repository_that_is_pushed_anew_begins_without_the_lock_of_the_one_that_is_gone(call):
    push_image(call, "at/again", "v1")
    switch(call, "at/again", writeEnabled=False)
    assert call("POST", "/v2/at/again/blobs/uploads/").status == 403
    assert call("DELETE", "/acr/v1/at/again").status == 202

    push_image(call, "at/again", "v1")

    attributes = call("GET", "/acr/v1/at/again").json()["changeableAttributes"]
    assert attributes["writeEnabled"]

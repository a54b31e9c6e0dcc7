"""The routes of ACR's own API beside conversion that its clients use, as plain HTTP."""

from __future__ import annotations

import json
import uuid

import pytest
from registry_calls import Calls, push_image, push_manifest, image, digest

EVERY = {"deleteEnabled": True, "writeEnabled": True, "readEnabled": True, "listEnabled": True}


def following(answer) -> str:
    return answer["Link"].split(">")[0].lstrip("<")


def tag_of(call: Calls, repository: str, tag: str) -> str | None:
    answer = call("HEAD", f"/v2/{repository}/manifests/{tag}")
    return answer["Docker-Content-Digest"] if answer.status == 200 else None


def test_the_catalog_has_both_names(call):
    for name in ("catalog/a", "catalog/b"):
        push_image(call, name, "v1")

    every = call("GET", "/acr/v1/_catalog").json()["repositories"]
    assert {"catalog/a", "catalog/b"} <= set(every)
    page = call("GET", "/acr/v1/_catalog?n=1&last=catalog")
    assert page.json() == {"repositories": ["catalog/a"]}
    assert call("GET", following(page)).json() == {"repositories": ["catalog/b"]}


def test_only_that_api_says_that_it_is_another_ones_product(call):
    for path in ("/v2/", "/v2/_catalog", "/runnel/v1/absent/_profiles/sha256:" + 64 * "0", "/healthz"):
        (server,) = call("GET", path).all("Server")
        assert server.startswith("runnel/"), path


@pytest.mark.parametrize("path", ["_catalog", "_deleted/_catalog", "absent/app", "absent/app/_tags",
                                  "absent/app/_streaming", "absent/app/_operations/1", "no\\such"])
def test_every_answer_has_the_headers_that_clients_know(call, path):
    answer = call("GET", f"/acr/v1/{path}")

    assert answer["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert answer.all("Access-Control-Expose-Headers") == [
        "Docker-Content-Digest, WWW-Authenticate, Link, X-Ms-Correlation-Request-Id"]
    (identity,) = answer.all("X-Ms-Correlation-Request-Id")
    assert str(uuid.UUID(identity)) == identity
    assert answer.all("Server") == ["AzureContainerRegistry"]
    assert call("GET", f"/acr/v1/{path}")["X-Ms-Correlation-Request-Id"] != identity


def test_tags_are_listed_with_what_they_point_to(call):
    first = push_image(call, "tags/app", "v1", b'{"a":1}')
    second = push_image(call, "tags/app", "v2", b'{"a":2}')
    push_image(call, "tags/app", "unlisted", b'{"a":2}')
    call("PATCH", "/acr/v1/tags/app/_tags/unlisted", b'{"listEnabled":false}')
    call("PATCH", "/acr/v1/tags/app/_tags/v2", b'{"deleteEnabled":false}')

    answer = call("GET", "/acr/v1/tags/app/_tags")

    assert answer.json()["imageName"] == "tags/app"
    assert answer.json()["tags"] == [
        {"name": "v1", "digest": first, "signed": False, "changeableAttributes": EVERY},
        {"name": "v2", "digest": second, "signed": False,
         "changeableAttributes": EVERY | {"deleteEnabled": False}}]
    page = call("GET", "/acr/v1/tags/app/_tags?n=2")
    assert [each["name"] for each in page.json()["tags"]] == ["v1"]  # one of the page is not listed
    assert [each["name"] for each in call("GET", following(page)).json()["tags"]] == ["v2"]
    assert call("GET", "/acr/v1/tags/none/_tags").code == "NAME_UNKNOWN"
    assert call("GET", "/acr/v1/tags/app/_tags?orderby=timedesc").status == 400
    assert call("GET", "/acr/v1/tags/app/_tags?n=x").code == "PAGINATION_NUMBER_INVALID"


def test_a_tag_is_taken_away_and_its_image_stays(call):
    name = push_image(call, "untag/app", "v1")

    assert call("DELETE", "/acr/v1/untag/app/_tags/v1").status == 202
    assert tag_of(call, "untag/app", "v1") is None
    assert call("HEAD", f"/v2/untag/app/manifests/{name}").status == 200
    assert call("DELETE", "/acr/v1/untag/app/_tags/v1").status == 404
    assert call("DELETE", f"/acr/v1/untag/app/_tags/{name}").status in (400, 404, 405)
    assert call("HEAD", f"/v2/untag/app/manifests/{name}").status == 200


def test_what_was_deleted_is_listed_and_restored(call):
    first = push_image(call, "deleted/app", "v1", b'{"a":1}')
    assert call("GET", "/acr/v1/_deleted/deleted/app/_manifests").json()["manifests"] == []
    call("DELETE", f"/v2/deleted/app/manifests/{first}")

    assert "deleted/app" in call("GET", "/acr/v1/_deleted/_catalog").json()["repositories"]
    (gone,) = call("GET", "/acr/v1/_deleted/deleted/app/_manifests").json()["manifests"]
    assert (gone["digest"], gone["tags"]) == (first, ["v1"]) and gone["deletedAt"].endswith("Z")
    (tag,) = call("GET", "/acr/v1/_deleted/deleted/app/_tags").json()["tags"]
    assert tag == {"digest": first, "deletedAt": gone["deletedAt"], "tag": "v1"}
    back = call("POST", f"/acr/v1/_deleted/deleted/app/_manifests/{first}?force=False", b'{"tag":"v1"}')
    assert back.status == 200, back
    assert (back.json()["digest"], back.json()["tags"]) == (first, ["v1"])
    assert tag_of(call, "deleted/app", "v1") == first
    again = call("POST", f"/acr/v1/_deleted/deleted/app/_manifests/{first}", b'{"tag":"v1"}')
    assert (again.status, again.code) == (404, "MANIFEST_UNKNOWN")


def test_a_tag_that_was_pushed_again_is_moved_only_by_force(call):
    first = push_image(call, "forced/app", "v1", b'{"a":1}')
    call("DELETE", f"/v2/forced/app/manifests/{first}")
    second = push_image(call, "forced/app", "v1", b'{"a":2}')
    path = f"/acr/v1/_deleted/forced/app/_manifests/{first}"

    kept = call("POST", path, b'{"tag":"v1"}')
    assert (kept.status, kept.code) == (409, "CONFLICT")
    assert tag_of(call, "forced/app", "v1") == second
    assert call("POST", path + "?force=True", b'{"tag":"v1"}').status == 200
    assert tag_of(call, "forced/app", "v1") == first
    assert call("HEAD", f"/v2/forced/app/manifests/{second}").status == 200
    (moved,) = call("GET", "/acr/v1/_deleted/forced/app/_tags").json()["tags"]
    assert (moved["tag"], moved["digest"]) == ("v1", second), "and that can be undone, too"


def test_deleted_tags_are_listed_with_the_last_one_last(call):
    names = []
    for n in range(3):
        names.append(push_image(call, "order/app", "v1", json.dumps({"n": n}).encode()))
        call("DELETE", "/v2/order/app/manifests/v1")

    tags = call("GET", "/acr/v1/_deleted/order/app/_tags").json()["tags"]

    assert [each["digest"] for each in tags] == names


@pytest.mark.parametrize(("method", "path", "body", "status"), [
    ("GET", "BAD/_manifests", b"", 400), ("GET", "a/b/_other", b"", 405),
    ("POST", "a/b/_manifests/sha256:12", b"{}", 400), ("DELETE", "a/b/_tags", b"", 405),
    ("POST", "a/b/_manifests/sha256:" + "0" * 64, b"no json", 400),
    ("POST", "a/b/_manifests/sha256:" + "0" * 64, b"{}", 404)])
def test_what_makes_no_sense_is_refused(call, method, path, body, status):
    assert call(method, f"/acr/v1/_deleted/{path}", body).status == status

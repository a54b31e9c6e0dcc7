"""The right to read for a day that a token is exchanged for: for some images, and nothing beside them."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from registry_calls import (IMAGE, Calls, basic, bcrypt, descriptor, digest, image, index, push_blob,
                            push_manifest)
from sandbox import services

PEOPLE = {"writer": "w-secret", "reader": "r-secret"}
REPOSITORY = "team/app"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Guarded(services.Registry):
    def _argv(self) -> list[str]:
        people = self.directory / "htpasswd"
        people.write_text("".join(f"{name}:{bcrypt(word)}\n" for name, word in PEOPLE.items()))
        config = self.directory / "registry.toml"
        config.write_text(f'version = 1\n[auth]\nhtpasswd = "{people}"\n'
                          '[users.reader]\nroles = ["AcrPull"]\nrepositories = ["team/*"]\n')
        return [*super()._argv(), "--config", str(config)]


class Pushed:
    """An image of one layer, and a referrer of it with a blob of its own."""

    def __init__(self, call: Calls, name: str):
        self.config, self.layer, self.extra = (f"{name} {part}".encode()
                                               for part in ("config", "layer", "artifact"))
        for data in (self.config, self.layer, self.extra, b"{}"):
            push_blob(call, REPOSITORY, data)
        manifest = image(self.config, layers=[descriptor(self.layer, LAYER)])
        self.manifest = digest(manifest)
        push_manifest(call, REPOSITORY, name, manifest)
        artifact = image(layers=[descriptor(self.extra, LAYER)], artifactType="application/x-test",
                         subject=descriptor(manifest, IMAGE))
        self.artifact = digest(artifact)
        push_manifest(call, REPOSITORY, self.artifact, artifact)
        self.described = descriptor(manifest, IMAGE)
        self.blobs = [digest(data) for data in (self.config, self.layer, self.extra)]


@pytest.fixture(scope="module")
def guarded(runnel, tmp_path_factory):  # noqa: ARG001
    made = Guarded(tmp_path_factory.mktemp("image-rights"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="module")
def pushed(guarded):
    call = Calls(guarded.host, basic("writer", PEOPLE["writer"]))
    try:
        yield Pushed(call, "mine"), Pushed(call, "other")
    finally:
        call.close()


@pytest.fixture
def anyone(guarded):
    call = Calls(guarded.host)
    yield call
    call.close()


def post(call: Calls, path: str, *fields: tuple[str, str]):
    return call("POST", path, urlencode(fields).encode(),
                {"Content-Type": "application/x-www-form-urlencoded"})


def access_token(guarded, scope: str = f"repository:{REPOSITORY}:pull") -> str:
    call = Calls(guarded.host, basic("reader", PEOPLE["reader"]))
    try:
        return call("GET", f"/oauth2/token?scope={scope}").json()["token"]
    finally:
        call.close()


def exchange(call: Calls, token: str, *images: str):
    return post(call, "/oauth2/exchange", ("grant_type", "access_token"), ("access_token", token),
                *(("image", one) for one in images))


def limited(guarded, call: Calls, *images: str) -> str:
    """An access token that came of an exchange for these images."""
    exchanged = exchange(call, access_token(guarded), *images)
    assert exchanged.status == 200, exchanged
    assert exchanged.json()["expires_in"] == 24 * 3600
    again = post(call, "/oauth2/token", ("grant_type", "refresh_token"),
                 ("scope", f"repository:{REPOSITORY}:pull,push repository:team/b:pull"),
                 ("refresh_token", exchanged.json()["refresh_token"]))
    assert again.json()["scope"] == f"repository:{REPOSITORY}:pull"
    return again.json()["token"]


def status_of(call: Calls, token: str, target: str, method: str = "GET") -> int:
    return call(method, f"/v2/{REPOSITORY}/{target}",
                headers={"Authorization": f"Bearer {token}"}).status


def test_it_reads_the_image_and_what_belongs_to_it(guarded, pushed, anyone):
    mine, _ = pushed

    token = limited(guarded, anyone, mine.manifest)

    for method in ("GET", "HEAD"):
        for blob in mine.blobs:
            assert status_of(anyone, token, f"blobs/{blob}", method) == 200
        for manifest in (mine.manifest, "mine", mine.artifact):
            assert status_of(anyone, token, f"manifests/{manifest}", method) == 200
    listed = anyone("GET", f"/v2/{REPOSITORY}/referrers/{mine.manifest}",
                    headers={"Authorization": f"Bearer {token}"})
    assert [one["digest"] for one in listed.json()["manifests"]] == [mine.artifact]
    part = anyone("GET", f"/v2/{REPOSITORY}/blobs/{mine.blobs[1]}",
                  headers={"Authorization": f"Bearer {token}", "Range": "bytes=0-3"})
    assert (part.status, part.body) == (206, mine.layer[:4])


def test_everything_else_of_the_repository_is_refused_as_if_it_were_absent(guarded, pushed, anyone):
    mine, other = pushed
    token = limited(guarded, anyone, mine.manifest)
    absent = digest(b"nobody has pushed this")

    def answer(target: str, method: str = "GET"):
        said = anyone(method, f"/v2/{REPOSITORY}/{target}",
                      headers={"Authorization": f"Bearer {token}"})
        return said.status, said["WWW-Authenticate"], said.body

    for method in ("GET", "HEAD"):
        refused = answer(f"blobs/{absent}", method)
        assert refused[0] == 401 and 'error="insufficient_scope"' in refused[1]
        for blob in other.blobs:
            assert answer(f"blobs/{blob}", method) == refused
        refused = answer(f"manifests/{absent}", method)
        assert refused[0] == 401
        for manifest in (other.manifest, "other", other.artifact, "no-such-tag"):
            assert answer(f"manifests/{manifest}", method) == refused
    refused = answer(f"referrers/{absent}")
    assert refused[0] == 401 and answer(f"referrers/{other.manifest}") == refused
    assert status_of(anyone, token, "tags/list") == 401
    for method, target in (("DELETE", f"blobs/{mine.blobs[0]}"), ("POST", "blobs/uploads/"),
                           ("DELETE", f"manifests/{mine.manifest}"),
                           ("POST", f"blobs/uploads/?mount={other.blobs[0]}&from={REPOSITORY}")):
        assert status_of(anyone, token, target, method) in (401, 403), target
    for path in ("/v2/_catalog", f"/acr/v1/{REPOSITORY}", f"/acr/v1/{REPOSITORY}/_tags",
                 f"/acr/v1/{REPOSITORY}/_streaming", "/runnel/v1/_tokens"):
        assert anyone("GET", path, headers={"Authorization": f"Bearer {token}"}).status >= 400, path


def test_an_index_stands_for_its_manifests(guarded, pushed, anyone):
    mine, other = pushed
    call = Calls(guarded.host, basic("writer", PEOPLE["writer"]))
    whole = index([mine.described])
    push_manifest(call, REPOSITORY, "index", whole, "application/vnd.oci.image.index.v1+json")
    call.close()

    token = limited(guarded, anyone, digest(whole))

    for blob in mine.blobs:
        assert status_of(anyone, token, f"blobs/{blob}") == 200
    assert status_of(anyone, token, f"manifests/{mine.manifest}") == 200
    assert status_of(anyone, token, f"blobs/{other.blobs[1]}") == 401


def test_several_images_are_one_right(guarded, pushed, anyone):
    token = limited(guarded, anyone, *(one.manifest for one in pushed))

    for one in pushed:
        assert status_of(anyone, token, f"blobs/{one.blobs[2]}") == 200


def test_it_is_not_given_for_nothing_in_particular_nor_for_another_day(guarded, pushed, anyone):
    mine, other = pushed
    token = access_token(guarded)
    for images in ((), ("no digest",), (mine.manifest,) * 33):
        assert exchange(anyone, token, *images).status == 400, images

    of_exchange = limited(guarded, anyone, mine.manifest)

    for images in ((mine.manifest,), (other.manifest,)):
        assert exchange(anyone, of_exchange, *images).status == 400
    offline = anyone("GET", f"/oauth2/token?scope=repository:{REPOSITORY}:pull&offline_token=true",
                     headers={"Authorization": f"Bearer {of_exchange}"})
    assert offline.status == 200 and "refresh_token" not in json.loads(offline.body)
    again = json.loads(offline.body)["token"]
    assert status_of(anyone, again, f"blobs/{mine.blobs[1]}") == 200
    assert status_of(anyone, again, f"blobs/{other.blobs[1]}") == 401, "limits are handed on"


def test_it_ends_with_the_image(guarded, anyone):
    call = Calls(guarded.host, basic("writer", PEOPLE["writer"]))
    gone = Pushed(call, "gone")
    whole = index([gone.described])
    push_manifest(call, REPOSITORY, "gone-index", whole, "application/vnd.oci.image.index.v1+json")
    token = limited(guarded, anyone, gone.manifest, digest(whole), *[digest(whole)] * 30)
    for _ in range(2):
        assert [status_of(anyone, token, f"blobs/{blob}") for blob in gone.blobs] == [200] * 3

    assert call("DELETE", f"/v2/{REPOSITORY}/manifests/{gone.manifest}").status == 202
    call.close()

    for _ in range(2):
        assert [status_of(anyone, token, f"blobs/{blob}") for blob in gone.blobs] == [401] * 3

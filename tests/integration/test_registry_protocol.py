"""What real clients depend on, request by request, over raw HTTP.

The specification's conformance suite (test_registry_conformance.py) asks whether pushes and pulls
work; this asks for the codes, headers and pages that it does not look at.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import socket
from pathlib import Path

import pytest
from registry_calls import (IMAGE, INDEX, Calls, descriptor, digest, image, index, push_blob,
                            push_image, push_manifest, target_of, with_query)

ABSENT = digest(b"nobody has this")
UPLOAD_PATH = re.compile(r"^/v2/p/a/blobs/uploads/[0-9a-f-]{32,}(\?|$)")


def begin(call: Calls, repository: str = "p/a") -> str:
    """The path of a new upload."""
    answer = call("POST", f"/v2/{repository}/blobs/uploads/")
    assert answer.status == 202
    return answer["Location"]


def open_sockets(served) -> int:
    descriptors = Path(f"/proc/{served.daemon.pid}/fd")
    count = 0
    for each in descriptors.iterdir():
        try:
            count += os.readlink(each).startswith("socket:")
        except FileNotFoundError:
            pass  # closed meanwhile
    return count


# The ping, and errors ----------------------------------------------------------------------------


def test_ping(call):
    answer = call("GET", "/v2/")

    assert answer.status == 200 and answer.json() == {}
    assert answer["Docker-Distribution-API-Version"] == "registry/2.0"


@pytest.mark.parametrize(("method", "target", "status", "code"), [
    ("GET", "/v2/p/a/manifests/absent", 404, "MANIFEST_UNKNOWN"),
    ("GET", f"/v2/p/a/manifests/{ABSENT}", 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/no/such/manifests/absent", 404, "MANIFEST_UNKNOWN"),
    ("DELETE", "/v2/p/a/manifests/absent", 404, "MANIFEST_UNKNOWN"),
    ("GET", f"/v2/p/a/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
    ("DELETE", f"/v2/p/a/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/p/a/blobs/uploads/00000000000000000000000000000000", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("PATCH", "/v2/p/a/blobs/uploads/00000000000000000000000000000000", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("DELETE", "/v2/p/a/blobs/uploads/00000000000000000000000000000000", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("GET", "/v2/no/such/tags/list", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/a/../b/tags/list", 400, "NAME_INVALID"),
    ("GET", f"/v2/{'a' * 300}/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/p/a/manifests/.tag", 400, "TAG_INVALID"),
    ("GET", f"/v2/p/a/manifests/{'t' * 129}", 400, "TAG_INVALID"),
    ("GET", "/v2/p/a/manifests/sha256:baddigeststring", 400, "DIGEST_INVALID"),
    ("PUT", "/v2/p/a/manifests/sha256:baddigeststring", 400, "DIGEST_INVALID"),
    ("GET", "/v2/p/a/blobs/sha256:baddigeststring", 400, "DIGEST_INVALID"),
    ("GET", "/v2/p/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", 400, "DIGEST_INVALID"),
    ("GET", "/v2/p/a/referrers/sha256:baddigeststring", 400, "DIGEST_INVALID"),
    ("POST", "/v2/p/a/blobs/uploads/?digest=sha256:bad", 400, "DIGEST_INVALID"),
    ("GET", "/v2/p/a/tags/list?n=abc", 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", "/v2/p/a/nothing/here", 404, "UNSUPPORTED"),
    ("PUT", "/v2/p/a/tags/list", 405, "UNSUPPORTED"),
])
def test_errors_have_a_code_and_a_message(call, method, target, status, code):
    answer = call(method, target)

    assert (answer.status, answer.code) == (status, code)
    assert answer.json()["errors"][0]["message"]
    if status == 405:
        assert "GET" in answer["Allow"]


# Manifests ---------------------------------------------------------------------------------------


def test_a_manifest_comes_back_as_it_went(call):
    push_blob(call, "p/bytes", b"{}")
    odd = json.dumps(json.loads(image()) | {"x-unknown": [1.0, "é"]}, indent=3).encode() + b"\n"
    pushed = push_manifest(call, "p/bytes", "v1", odd)
    assert pushed["Location"] == f"/v2/p/bytes/manifests/{digest(odd)}"  # relative
    assert pushed["Docker-Content-Digest"] == digest(odd)

    for reference in ("v1", digest(odd)):
        for accept in ([], [("Accept", INDEX), ("Accept", IMAGE)], [("Accept", f"{INDEX}, */*")],
                       [("Accept", "application/vnd.docker.distribution.manifest.v1+json")]):
            got = call("GET", f"/v2/p/bytes/manifests/{reference}", headers=accept)
            assert (got.status, got.body, got["Content-Type"]) == (200, odd, IMAGE)
            assert got["Docker-Content-Digest"] == digest(odd)
    head = call("HEAD", "/v2/p/bytes/manifests/v1")
    assert (head.status, head.body) == (200, b"")
    assert (head["Content-Length"], head["Content-Type"]) == (str(len(odd)), IMAGE)
    assert head["Docker-Content-Digest"] == digest(odd)
    assert call("GET", "/v2/p/bytes/manifests/v1",
                headers={"If-None-Match": head["ETag"]}).status == 304


def test_the_type_is_kept_without_parameters(call):
    push_blob(call, "p/type", b"{}")
    push_manifest(call, "p/type", "v1", image(), f"{IMAGE}; charset=utf-8")

    assert call("HEAD", "/v2/p/type/manifests/v1")["Content-Type"] == IMAGE


def test_a_manifest_names_the_blobs_that_are_missing(call):
    answer = call("PUT", "/v2/p/sparse/manifests/v1", image(b"{...}"), {"Content-Type": IMAGE})

    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert answer.json()["errors"][0]["detail"]["digests"] == [digest(b"{...}")]


def test_layers_that_lie_elsewhere_need_not_be_here(call):
    push_blob(call, "p/foreign", b"{}")
    layer = descriptor(b"far", "application/vnd.oci.image.layer.v1.tar+gzip",
                       urls=["https://elsewhere.example/far"])
    push_manifest(call, "p/foreign", "v1", image(layers=[layer]))


def test_a_blob_that_a_manifest_names_is_not_deleted_whatever_it_names_it_as(call):
    for data in (b"{}", b"far", b"cache"):
        push_blob(call, "p/named", data)
    far = descriptor(b"far", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                     urls=["https://elsewhere.example/far"])
    cache = descriptor(b"cache", "application/vnd.buildkit.cacheconfig.v0")
    manifests = [image(layers=[far]), index([cache])]
    push_manifest(call, "p/named", "v1", manifests[0])
    push_manifest(call, "p/named", "cache", manifests[1], INDEX)

    for data in (b"{}", b"far", b"cache"):
        answer = call("DELETE", f"/v2/p/named/blobs/{digest(data)}")
        assert (answer.status, answer.code) == (405, "UNSUPPORTED"), data
        assert call("HEAD", f"/v2/p/named/blobs/{digest(data)}").status == 200, data
    for manifest in manifests:
        assert call("DELETE", f"/v2/p/named/manifests/{digest(manifest)}").status == 202
    for data in (b"{}", b"far", b"cache"):
        assert call("DELETE", f"/v2/p/named/blobs/{digest(data)}").status == 202, data


def test_another_manifest_than_its_digest_says_is_refused(call):
    push_blob(call, "p/mismatch", b"{}")

    answer = call("PUT", f"/v2/p/mismatch/manifests/{ABSENT}", image(), {"Content-Type": IMAGE})

    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_a_document_that_is_two_things_is_refused(call):
    push_blob(call, "p/confused", b"{}")
    both = json.dumps(json.loads(image()) | {"manifests": []}).encode()
    other_type = json.dumps(json.loads(image()) | {"mediaType": INDEX}).encode()
    for body, said in ((both, IMAGE), (both, INDEX), (other_type, IMAGE), (image(), INDEX)):
        answer = call("PUT", "/v2/p/confused/manifests/v1", body, {"Content-Type": said})
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID"), (body, said)


def test_four_mebibytes_are_taken_and_more_is_not(call):
    push_blob(call, "p/large", b"{}")
    room = (4 << 20) - len(image(annotations={"a": ""}))
    push_manifest(call, "p/large", "v1", image(annotations={"a": "x" * room}))

    answer = call("PUT", "/v2/p/large/manifests/v2", image(annotations={"a": "x" * (room + 1)}),
                  {"Content-Type": IMAGE})

    assert (answer.status, answer.code) == (413, "MANIFEST_INVALID")


def test_a_manifest_that_does_not_say_its_length_is_bounded_too(call, served):
    push_blob(call, "p/endless", b"{}")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(f"PUT /v2/p/endless/manifests/v1 HTTP/1.1\r\nHost: {served.host}\r\n"
                           f"Content-Type: {IMAGE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        sent = 0
        while sent < 64 << 20 and not select.select([connection], [], [], 0)[0]:
            connection.sendall(chunk)
            sent += 0x10000
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert 4 << 20 < sent < 64 << 20  # what it did not ask for was still on its way


@pytest.mark.parametrize(("depth", "status"), [(10, 201), (1_000, 400), (1_000_000, 400)])
def test_a_manifest_is_not_nested_without_end(call, depth, status):
    push_blob(call, "p/deep", b"{}")
    body = image()[:-1] + b', "deep": ' + b"[" * depth + b"]" * depth + b"}"

    answer = call("PUT", "/v2/p/deep/manifests/v1", body, {"Content-Type": IMAGE})

    assert answer.status == status
    assert status == 201 or answer.code == "MANIFEST_INVALID"
    assert call("GET", "/v2/").status == 200


def test_tag_parameters_are_confirmed_one_by_one(call):
    push_blob(call, "p/tags", b"{}")
    manifest = image(annotations={"for": "tags"})
    name = digest(manifest, "sha512")
    tags = [f"t{number}" for number in range(12)]

    answer = call("PUT", f"/v2/p/tags/manifests/{name}?" + "&".join(f"tag={tag}" for tag in tags),
                  manifest, {"Content-Type": IMAGE})

    assert answer.status == 201 and answer.all("OCI-Tag") == tags
    assert call("HEAD", "/v2/p/tags/manifests/t11")["Docker-Content-Digest"] == name
    wrong = call("PUT", f"/v2/p/tags/manifests/{name}?tag=a&tag=-b", manifest,
                 {"Content-Type": IMAGE})
    assert (wrong.status, wrong.code) == (400, "TAG_INVALID")
    assert call("HEAD", "/v2/p/tags/manifests/a").status == 404


def test_a_subject_is_confirmed_whether_it_exists_or_not(call):
    name = push_image(call, "p/subject", "v1")
    for subject in (name, ABSENT):
        manifest = image(subject={"mediaType": IMAGE, "digest": subject, "size": 7})
        answer = push_manifest(call, "p/subject", digest(manifest), manifest)
        assert answer["OCI-Subject"] == subject
    assert push_manifest(call, "p/subject", "v1", image())["OCI-Subject"] is None


def test_a_deletion_is_seen_at_once_and_takes_the_tags_along(call):
    name = push_image(call, "p/gone", "v1", annotations={"n": "1"})
    push_manifest(call, "p/gone", "v2", image(annotations={"n": "1"}))
    assert call("DELETE", "/v2/p/gone/manifests/v1").status == 202
    assert call("HEAD", "/v2/p/gone/manifests/v1").status == 404
    assert call("HEAD", f"/v2/p/gone/manifests/{name}").status == 200

    assert call("DELETE", f"/v2/p/gone/manifests/{name}").status == 202

    for reference in ("v2", name):
        assert call("HEAD", f"/v2/p/gone/manifests/{reference}").status == 404
    assert call("GET", "/v2/p/gone/tags/list").json() == {"name": "p/gone", "tags": []}


def test_a_bomb_of_nested_indexes_costs_nothing(call):
    push_image(call, "p/bomb", "leaf")
    child = call("GET", "/v2/p/bomb/manifests/leaf").body
    media_type = IMAGE
    for level in range(40):
        entry = descriptor(child, media_type)
        child, media_type = index([entry, entry], annotations={"level": str(level)}), INDEX
        push_manifest(call, "p/bomb", "top", child, INDEX)

    assert call("GET", f"/v2/p/bomb/referrers/{digest(child)}").status == 200
    assert call("DELETE", f"/v2/p/bomb/manifests/{digest(child)}").status == 202


@pytest.mark.parametrize("media_type", [IMAGE, INDEX])
def test_all_that_a_manifest_may_have_is_stored(call, media_type):
    push_blob(call, "p/shapes", b"{}")
    inner = index([])
    push_manifest(call, "p/shapes", digest(inner), inner, INDEX)
    data = descriptor(b"{}", "application/vnd.oci.image.config.v1+json") | {"data": "e30="}
    body = (json.dumps(json.loads(image()) | {"config": data, "unknown": {"a": [None, 1e3]}}).encode()
            if media_type == IMAGE else
            index([descriptor(inner, INDEX, platform={"os": "?", "architecture": "?"})], unknown=[]))

    pushed = push_manifest(call, "p/shapes", "v1", body, media_type)
    got = call("GET", pushed["Location"])

    assert (got.status, got.body, got["Content-Type"]) == (200, body, media_type)
    assert got["Content-Length"] == str(len(body))


def test_the_answer_to_head_has_no_body_whatever_it_says(call):
    push_image(call, "p/heads", "v1")
    for target in ("/v2/p/heads/manifests/absent", f"/v2/p/heads/blobs/{ABSENT}",
                   "/v2/p/heads/manifests/sha256:bad", "/v2/p/heads/nothing"):
        head, got = call("HEAD", target), call("GET", target)
        assert (head.status, head.body) == (got.status, b""), target
        assert got.json()["errors"]


def test_the_name_that_a_mirror_is_asked_by_does_not_matter(call):
    name = push_image(call, "p/mirrored", "v1")
    for target in ("manifests/v1", f"manifests/{name}", f"blobs/{digest(b'{}')}", "tags/list",
                   f"referrers/{name}"):
        plain = call("GET", f"/v2/p/mirrored/{target}")
        assert plain.status == 200
        assert call("GET", f"/v2/p/mirrored/{target}?ns=docker.io").body == plain.body


@pytest.mark.parametrize(("name", "valid"), [
    ("a", True), ("0/1", True), ("a.b_c-d", True), ("a__b", True), ("a---b", True), ("a" * 200, True),
    ("a___b", False), ("a..b", False), ("a._b", False), ("-a", False), ("a-", False), ("a//b", False),
    ("/a", False), ("a/", False), ("a/B", False), ("a%20b", False), ("a" * 256, False),
])
def test_names_of_repositories(call, name, valid):
    answer = call("POST", f"/v2/{name}/blobs/uploads/")

    assert answer.status == 202 if valid else answer.status in (400, 404)
    if not valid and answer.status == 400:
        assert answer.code == "NAME_INVALID"


@pytest.mark.parametrize(("tag", "valid"), [
    ("_", True), ("A.b-C_9", True), ("t" * 128, True),
    ("t" * 129, False), ("-t", False), (".t", False), ("a%2Bb", False), ("a%20b", False),
])
def test_names_of_tags(call, tag, valid):
    push_blob(call, "p/tagnames", b"{}")

    answer = call("PUT", f"/v2/p/tagnames/manifests/{tag}", image(), {"Content-Type": IMAGE})

    assert answer.status == (201 if valid else 400)
    assert valid or answer.code == "TAG_INVALID"


# Uploads -----------------------------------------------------------------------------------------


def test_an_upload_begins_at_a_relative_place(call):
    answer = call("POST", "/v2/p/a/blobs/uploads/", headers={"Content-Type": "application/json"})

    assert answer.status == 202
    assert UPLOAD_PATH.match(answer["Location"]) and answer["Docker-Upload-UUID"]
    assert answer["Range"] == "0-0"
    status = call("GET", target_of(answer["Location"]))
    assert (status.status, status["Range"]) == (204, "0-0")


def test_chunks_are_counted_from_the_beginning_of_the_blob(call):
    place = begin(call)
    for first, data, seen in ((0, b"0123", "0-3"), (4, b"45", "0-5")):
        last = first + len(data) - 1
        answer = call("PATCH", place, data, {"Content-Range": f"{first}-{last}"})
        assert (answer.status, answer["Range"]) == (202, seen)
        place = answer["Location"]
    streamed = call("PATCH", place, b"6789")
    assert (streamed.status, streamed["Range"]) == (202, "0-9")
    status = call("GET", place)
    assert (status.status, status["Range"]) == (204, "0-9") and UPLOAD_PATH.match(status["Location"])

    done = call("PUT", with_query(place, f"digest={digest(b'0123456789')}"))

    assert done.status == 201 and done["Docker-Content-Digest"] == digest(b"0123456789")
    assert done["Location"] == f"/v2/p/a/blobs/{digest(b'0123456789')}"
    assert call("GET", done["Location"]).body == b"0123456789"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_chunk_out_of_order_appends_nothing(call, method):
    place = begin(call)
    assert call("PATCH", place, b"abcd", {"Content-Range": "0-3"}).status == 202
    target = with_query(place, f"digest={digest(b'abcdZZZZ')}") if method == "PUT" else place

    for first in (0, 3, 5, 100):
        answer = call(method, target, b"ZZZZ", {"Content-Range": f"{first}-{first + 3}"})
        assert (answer.status, answer["Range"]) == (416, "0-3")
        assert UPLOAD_PATH.match(answer["Location"])

    assert call("GET", place)["Range"] == "0-3"
    done = call("PUT", with_query(place, f"digest={digest(b'abcdefgh')}"), b"efgh",
                {"Content-Range": "4-7"})
    assert done.status == 201
    assert call("GET", f"/v2/p/a/blobs/{digest(b'abcdefgh')}").body == b"abcdefgh"


def test_a_client_that_takes_0_0_for_one_byte_is_corrected(call):
    place = begin(call)

    assert call("PATCH", place, b"b", {"Content-Range": "1-1"}).status == 416
    assert call("PATCH", place, b"a", {"Content-Range": "0-0"}).status == 202


def test_other_bytes_than_the_digest_says_become_no_blob(call):
    place = begin(call)
    assert call("PATCH", place, b"other bytes").status == 202

    answer = call("PUT", with_query(place, f"digest={ABSENT}"))

    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert call("POST", f"/v2/p/a/blobs/uploads/?digest={ABSENT}", b"other").code == "DIGEST_INVALID"
    for name in (ABSENT, digest(b"other bytes")):
        assert call("HEAD", f"/v2/p/a/blobs/{name}").status == 404


def test_an_upload_that_was_cancelled_is_gone(call):
    place = begin(call)

    assert call("DELETE", place).status == 204

    assert call("GET", place).code == "BLOB_UPLOAD_UNKNOWN"
    assert call("DELETE", place).status == 404


def test_a_chunked_body_without_a_range_is_a_stream(call, served):
    place = begin(call)
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(f"PATCH {place} HTTP/1.1\r\nHost: {served.host}\r\nConnection: close\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 202 ") and b"\r\nRange: 0-4\r\n" in answer
    assert call("PUT", with_query(place, f"digest={digest(b'abcde')}")).status == 201


def test_the_empty_blob_and_the_other_hash(call):
    assert call("POST", f"/v2/p/a/blobs/uploads/?digest={digest(b'')}", b"").status == 201
    assert call("GET", f"/v2/p/a/blobs/{digest(b'')}").body == b""
    long = digest(b"long", "sha512")
    place = begin(call)
    assert call("PATCH", place, b"long").status == 202
    assert call("PUT", with_query(place, f"digest={long}")).status == 201
    assert call("GET", f"/v2/p/a/blobs/{long}").body == b"long"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_an_upload_may_say_with_which_hash_it_will_end(call, algorithm):
    content = b"pushed in pieces"
    name = digest(content, algorithm)

    begun = call("POST", f"/v2/p/a/blobs/uploads/?digest-algorithm={algorithm}")
    assert begun.status == 202
    sent = call("PATCH", begun["Location"], content[:7], {"Content-Range": "0-6"})
    assert sent.status == 202
    # The hash is held to: what has another digest of that kind becomes no blob.
    wrong = digest(b"something else", algorithm)
    refused = call("PUT", with_query(sent["Location"], f"digest={wrong}"), content[7:])
    assert refused.status == 400
    assert call("GET", f"/v2/p/a/blobs/{wrong}").status == 404

    begun = call("POST", f"/v2/p/a/blobs/uploads/?digest-algorithm={algorithm}")
    sent = call("PATCH", begun["Location"], content[:7], {"Content-Range": "0-6"})
    done = call("PUT", with_query(sent["Location"], f"digest={name}"), content[7:])
    assert done.status == 201 and done["Docker-Content-Digest"] == name
    assert call("GET", f"/v2/p/a/blobs/{name}").body == content


def test_a_mount_that_is_not_possible_is_an_upload(call):
    have = push_blob(call, "p/from", b"mounted")
    for query in (f"mount={have}&from=p/from", f"mount={have}&from=p%2Ffrom", f"mount={have}"):
        done = call("POST", f"/v2/p/to/blobs/uploads/?{query}")
        assert done.status == 201
        assert done["Location"] == f"/v2/p/to/blobs/{have}"
        assert done["Docker-Content-Digest"] == have
        assert call("DELETE", f"/v2/p/to/blobs/{have}").status == 202

    for query in (f"mount={ABSENT}&from=p/from", f"mount={have}&from=no/such", "mount=sha256:bad",
                  f"mount={ABSENT}"):
        other = call("POST", f"/v2/p/a/blobs/uploads/?{query}")
        assert other.status == 202 and UPLOAD_PATH.match(other["Location"]), query
        assert call("DELETE", other["Location"]).status == 204


# Blobs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "status", "part", "where"), [
    ("bytes=0-3", 206, slice(0, 4), "bytes 0-3/1000"),
    ("bytes=998-", 206, slice(998, None), "bytes 998-999/1000"),
    ("bytes=-5", 206, slice(995, None), "bytes 995-999/1000"),
    ("bytes=-5000", 206, slice(0, None), "bytes 0-999/1000"),
    ("bytes=990-5000", 206, slice(990, None), "bytes 990-999/1000"),
    ("bytes=1000-", 416, None, "bytes */1000"),
    ("bytes=500-0", 416, None, "bytes */1000"),
    ("bytes=-0", 416, None, "bytes */1000"),
    ("lines=1-2", 200, slice(0, None), None),
    # Several ranges: the whole, which RFC 9110 (14.2) leaves to the server.
    ("bytes=0-1,5-6", 200, slice(0, None), None),
    ("bytes=0-1, 2000-", 200, slice(0, None), None),
    ("bytes=2000-,3000-", 200, slice(0, None), None),
])
def test_ranges(call, asked, status, part, where):
    data = bytes(range(250)) * 4
    name = push_blob(call, "p/range", data)

    answer = call("GET", f"/v2/p/range/blobs/{name}", headers={
        "Range": asked, "Accept-Encoding": "zstd, gzip, deflate"})

    assert (answer.status, answer["Content-Range"]) == (status, where)
    if part is not None:
        assert answer.body == data[part]
        assert answer["Accept-Ranges"] == "bytes" and answer["Content-Encoding"] is None
    else:
        assert answer.code == "RANGE_INVALID"


def test_who_goes_in_the_middle_of_a_range_is_noticed(call, served):
    """containerd asks for everything from an offset on, takes what it wants and closes."""
    data = bytes(32 << 20)
    name = push_blob(call, "p/left", data)
    before = open_sockets(served)

    for number in range(20):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as one:
            one.sendall(f"GET /v2/p/left/blobs/{name} HTTP/1.1\r\nHost: x\r\n"
                        f"Range: bytes={number << 20}-\r\n\r\n".encode())
            assert one.recv(64 * 1024).startswith(b"HTTP/1.1 206 ")

    served.daemon.wait_for(lambda: open_sockets(served) <= before, "it lets go of them")
    answer = call("GET", f"/v2/p/left/blobs/{name}", headers={"Range": f"bytes={len(data) - 3}-"})
    assert (answer.status, answer.body) == (206, b"\0\0\0")


def test_a_blobs_head_says_all_but_the_bytes(call):
    name = push_blob(call, "p/head", b"12345")

    answer = call("HEAD", f"/v2/p/head/blobs/{name}")

    assert (answer.status, answer["Content-Length"], answer.body) == (200, "5", b"")
    assert answer["Docker-Content-Digest"] == name and answer["Accept-Ranges"] == "bytes"
    assert answer["ETag"] and "max-age=31536000" in answer["Cache-Control"]
    condition = {"If-Range": '"other"', "Range": "bytes=0-1"}
    assert call("GET", f"/v2/p/head/blobs/{name}", headers=condition).status == 200


def test_a_blob_that_a_manifest_needs_stays(call):
    push_image(call, "p/needed", "v1")

    answer = call("DELETE", f"/v2/p/needed/blobs/{digest(b'{}')}")

    assert (answer.status, answer.code) == (405, "UNSUPPORTED")


# Lists -------------------------------------------------------------------------------------------


def pages(call: Calls, target: str, member: str) -> list[list]:
    """Follows Link to the end."""
    found = []
    while target:
        answer = call("GET", target)
        assert answer.status == 200
        found.append(answer.json()[member])
        link = answer["Link"]
        target = ""
        if link:
            matched = re.fullmatch(r'<(/v2/[^>]+)>; *rel="?next"?', link)
            assert matched, link
            target = matched[1]
    return found


def test_tags_come_in_pages(call):
    push_blob(call, "p/paged", b"{}")
    tags = ["A", "Z", "a", "a-", "a1", "a10", "a2", "b"]
    for tag in tags:
        push_manifest(call, "p/paged", tag, image())

    assert call("GET", "/v2/p/paged/tags/list").json() == {"name": "p/paged", "tags": tags}
    assert pages(call, "/v2/p/paged/tags/list?n=3", "tags") == [tags[:3], tags[3:6], tags[6:]]
    assert pages(call, "/v2/p/paged/tags/list?n=8", "tags") == [tags]
    assert pages(call, "/v2/p/paged/tags/list?n=2&last=a1x", "tags") == [["a2", "b"]]
    assert pages(call, "/v2/p/paged/tags/list?last=a1", "tags") == [["a10", "a2", "b"]]
    assert pages(call, "/v2/p/paged/tags/list?n=0", "tags") == [[]]
    assert pages(call, "/v2/p/paged/tags/list?n=10000000000", "tags") == [tags]
    assert pages(call, "/v2/p/paged/tags/list?n=99999999999999999999999", "tags") == [tags]


def test_a_page_is_never_longer_than_the_registry_likes(call):
    push_blob(call, "p/longlist", b"{}")
    manifest = image()
    tags = [f"t{number:05}" for number in range(10_050)]
    for first in range(0, len(tags), 80):  # the client takes no more than 100 headers
        query = "&".join(f"tag={tag}" for tag in tags[first:first + 80])
        answer = call("PUT", f"/v2/p/longlist/manifests/{digest(manifest)}?{query}", manifest,
                      {"Content-Type": IMAGE})
        assert answer.status == 201

    found = pages(call, "/v2/p/longlist/tags/list?n=10000000000", "tags")

    assert sum(found, []) == tags
    assert [len(page) for page in found] == [10_000, 50]


def test_a_repository_with_blobs_only_has_no_tags(call):
    push_blob(call, "p/untagged", b"only a blob")

    assert call("GET", "/v2/p/untagged/tags/list").json() == {"name": "p/untagged", "tags": []}


def test_the_catalog_comes_in_pages(call):
    for name in ("c/a", "c/a-b", "c/a/b", "c/ab"):
        push_blob(call, name, b"{}")
    every = call("GET", "/v2/_catalog?n=10000000000").json()["repositories"]

    assert every == sorted(every) and {"c/a", "c/a-b", "c/a/b", "c/ab"} <= set(every)
    found = pages(call, "/v2/_catalog?n=2&last=c", "repositories")
    assert sum(found, [])[:4] == ["c/a", "c/a-b", "c/a/b", "c/ab"]
    assert all(len(page) == 2 for page in found[:-1])
    assert call("GET", "/v2/_catalog?n=0").json() == {"repositories": []}


# Referrers ---------------------------------------------------------------------------------------


def referrer(call: Calls, repository: str, subject: str, **more) -> str:
    manifest = image(subject={"mediaType": IMAGE, "digest": subject, "size": 7}, **more)
    push_manifest(call, repository, digest(manifest), manifest)
    return digest(manifest)


@pytest.mark.parametrize("repository", ["p/referred", "no/such/repository"])
def test_nothing_refers_to_what_nobody_knows(call, repository):
    push_blob(call, "p/referred", b"{}")

    answer = call("GET", f"/v2/{repository}/referrers/{ABSENT}")

    assert (answer.status, answer["Content-Type"]) == (200, INDEX)
    assert answer.json() == {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    assert answer["OCI-Filters-Applied"] is None


def test_referrers_say_what_they_are_and_are_filtered(call):
    push_blob(call, "p/referrers", b"{}")
    subject = digest(b"a subject that comes later")
    plain = referrer(call, "p/referrers", subject)
    sbom = referrer(call, "p/referrers", subject, artifactType="application/x-sbom+json",
                    annotations={"who": "me", "empty": ""})
    group = index([], subject={"mediaType": IMAGE, "digest": subject, "size": 7})
    push_manifest(call, "p/referrers", digest(group), group, INDEX)

    every = call("GET", f"/v2/p/referrers/referrers/{subject}").json()["manifests"]

    assert [entry["digest"] for entry in every] == [digest(group), sbom, plain]  # newest first
    assert "artifactType" not in every[0]
    assert every[1]["artifactType"] == "application/x-sbom+json"
    assert every[1]["annotations"] == {"who": "me", "empty": ""}
    assert every[2]["artifactType"] == "application/vnd.oci.image.config.v1+json"
    assert all(entry["size"] > 0 and entry["mediaType"] for entry in every)
    one = call("GET", f"/v2/p/referrers/referrers/{subject}?artifactType=application/x-sbom%2Bjson")
    assert one["OCI-Filters-Applied"] == "artifactType"
    assert [entry["digest"] for entry in one.json()["manifests"]] == [sbom]
    either = call("GET", f"/v2/p/referrers/referrers/{subject}?artifactType=application/x-sbom%2Bjson"
                  "&artifactType=application/vnd.oci.image.config.v1%2Bjson")
    assert [entry["digest"] for entry in either.json()["manifests"]] == [sbom, plain]
    none = call("GET", f"/v2/p/referrers/referrers/{subject}?artifactType=none/such")
    assert none.json()["manifests"] == [] and none["OCI-Filters-Applied"] == "artifactType"
    assert call("DELETE", f"/v2/p/referrers/manifests/{sbom}").status == 202
    left = call("GET", f"/v2/p/referrers/referrers/{subject}").json()["manifests"]
    assert [entry["digest"] for entry in left] == [digest(group), plain]


def test_what_older_clients_keep_under_a_tag_is_listed_too(call):
    push_blob(call, "p/fallback", b"{}")
    subject = digest(b"signed by an older client")
    signature = image(annotations={"signature": "1"})
    push_manifest(call, "p/fallback", digest(signature), signature)
    new = referrer(call, "p/fallback", subject)
    tagged = index([descriptor(signature, IMAGE, artifactType="x/signature"),
                    descriptor(b"was deleted", IMAGE, artifactType="x/signature")])
    push_manifest(call, "p/fallback", subject.replace(":", "-"), tagged, INDEX)

    listed = call("GET", f"/v2/p/fallback/referrers/{subject}").json()["manifests"]
    filtered = call("GET", f"/v2/p/fallback/referrers/{subject}?artifactType=x/signature")

    assert {entry["digest"] for entry in listed} == {digest(signature), new}
    assert [entry["digest"] for entry in filtered.json()["manifests"]] == [digest(signature)]


def test_one_page_of_referrers_is_filled_before_there_is_a_link(call):
    push_blob(call, "p/many", b"{}")
    subject = digest(b"much referred to")
    made = [referrer(call, "p/many", subject, annotations={"n": str(n), "text": "x" * 400_000})
            for n in range(11)]

    found = pages(call, f"/v2/p/many/referrers/{subject}", "manifests")

    assert [entry["digest"] for page in found for entry in page] == made[::-1]
    assert [len(page) for page in found] == [10, 1]
    first = call("GET", f"/v2/p/many/referrers/{subject}")
    assert 4 * 1048 * 1048 > len(first.body) > 4_000_000


# Heads of requests -------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [
    "GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + "x" * 70_000 + "\r\n\r\n",
    "GET /v2/\r\n\r\n",
    "POST /v2/p/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
    "Transfer-Encoding: chunked\r\n\r\n",
    "GET /v2/%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v2/p%00/tags/list HTTP/1.1\r\nHost: a\r\n\r\n",
])
def test_a_request_that_is_none_is_refused(served, head):
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(head.encode())
        status = connection.recv(65536).split(b" ")[1]
    assert status in (b"400", b"431")


def test_a_digest_is_never_a_path(call):
    evil = hashlib.sha256(b"x").hexdigest()[:-6] + "%2e%2e%2f"
    for target in (f"/v2/p/a/blobs/sha256:{evil}", "/v2/p/a/blobs/..%2f..%2fmetadata.sqlite",
                   "/v2/p/a/blobs/uploads/..%2f..%2flayout", "/v2/p/a/blobs/sha256:../../layout"):
        assert call("GET", target).status in (400, 404), target

"""`runnel convert`, `inspect`, `ls` and `cat` against real registries, and what they make read by
a second implementation of the format."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import pty
import stat
import subprocess
from dataclasses import replace

import pytest
from converting import (ELSEWHERE, OURS, Converter, artifact_manifest, blob, known_image, pattern,
                        put_manifest, runnel, state, tar, two_layers)
from format_reader import read_artifact
from liar import Liar
from needs import needs
from sandbox import images, services
from sandbox.containerd import run


@pytest.fixture
def convert(runnel, tmp_path) -> Converter:
    return Converter(tmp_path / "work")


@pytest.fixture
def debian(tmp_path):
    """Debian's registry: no referrers API, so the fallback tag is what there is."""
    needs("docker-registry")
    made = services.DebianRegistry(tmp_path / "debian")
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def known(tmp_path):
    return known_image(tmp_path / "known")


def push(registry, image: images.Image, name: str = "team/app:1") -> str:
    reference = f"{registry.host}/{name}"
    images.push(image.layout, reference)
    return reference


def only(results: list[dict]) -> dict:
    assert len(results) == 1
    return results[0]


def blob_digests(reference: str, artifact: str) -> list[str]:
    return [layer["digest"] for layer in artifact_manifest(reference, artifact)["layers"]]


# Where artifacts go, and of what type -------------------------------------------------------------


def test_artifacts_have_the_type_of_their_registry_and_the_same_blobs_in_each(
        registry, debian, known, convert):
    ours, elsewhere = push(registry, known.image), push(debian, known.image)
    before = [state(ours), state(elsewhere)]

    made = [only(convert(ours).results), only(convert(elsewhere).results)]

    assert blob_digests(ours, made[0]["artifact"]) == blob_digests(elsewhere, made[1]["artifact"])
    for reference, result, was, kind in zip([ours, elsewhere], made, before, [OURS, ELSEWHERE]):
        (entry,) = images.referrers(reference)
        assert entry["digest"] == result["artifact"]
        assert entry["artifactType"] == kind
        manifest = artifact_manifest(reference, result["artifact"])
        assert manifest["artifactType"] == kind
        assert manifest["subject"]["digest"] == was.digest == result["subject"]
        now = state(reference)
        assert (now.digest, now.manifest) == (was.digest, was.manifest)
    assert state(ours).tags == before[0].tags
    fallback = before[1].digest.replace(":", "-")
    assert state(elsewhere).tags == tuple(sorted([*before[1].tags, fallback]))


def all_of(terminal) -> bytes:
    """What was written to a terminal that nobody has open any more; it comes in pieces."""
    shown = b""
    while True:
        try:
            shown += terminal.read(1 << 16)
        except OSError:  # EIO: that was all
            return shown


def test_progress_is_for_terminals(registry, known):
    reference = f"{registry.host}/progress:1"
    images.push(known.image.layout, reference)
    argv = [services.program(), "convert", reference]

    done = subprocess.run(argv, capture_output=True, timeout=60, check=True)
    assert done.stderr == b""

    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=True)
        os.close(theirs)
        shown = all_of(terminal)
    assert shown.startswith(b"\r\x1b[Klayer 1/5: ") and shown.endswith(b"\r\x1b[K")
    assert b"layer" not in done.stdout.splitlines()[0].partition(b" artifact ")[0]


@pytest.mark.parametrize("where", ["registry", "debian"])
def test_converting_again_changes_nothing(where, known, convert, request):
    reference = push(request.getfixturevalue(where), known.image)
    first = only(convert(reference).results)
    after = state(reference)

    again = only(convert(reference).results)

    assert first["changed"] and first["pushed_bytes"] > 0
    assert not again["changed"] and again["pushed_bytes"] == 0
    assert again["artifact"] == first["artifact"]
    assert state(reference) == after


@pytest.mark.parametrize("where", ["registry", "debian"])
def test_an_index_gets_an_artifact_for_each_platform_and_for_itself(
        where, tmp_path, convert, request):
    registry = request.getfixturevalue(where)
    entries = []
    for architecture in ("amd64", "arm64"):
        layer = tar(tmp_path / f"{architecture}.tar", lambda t: t.file("arch", architecture.encode()))
        image = images.image_of(tmp_path / architecture, [layer])
        config = {**image.config, "architecture": architecture}
        entries.append(platform_entry(registry, image, config, architecture))
    attestation = {**entries[0], "platform": {"os": "unknown", "architecture": "unknown"},
                   "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    index = {"schemaVersion": 2, "mediaType": images.INDEX, "manifests": [*entries, attestation]}
    reference = f"{registry.host}/team/app:multi"
    digest = put_manifest(reference, index, images.INDEX)

    done = convert(reference)

    assert done.code == 0, done.error
    assert [r["platform"] for r in done.results] == ["linux/amd64", "linux/arm64"]
    assert [r["subject"] for r in done.results] == [e["digest"] for e in entries]
    second = {entry["digest"]: artifact_manifest(reference, entry["digest"])
              for entry in images.referrers(reference)}
    assert {m["annotations"]["streaming.platform.arch"] for m in second.values()} == {
        "amd64", "arm64"}
    for result, entry in zip(done.results, entries):
        first = artifact_manifest(reference, result["artifact"])
        assert first["subject"]["digest"] == entry["digest"]
        (twin,) = [m for m in second.values() if m["layers"] == first["layers"]]
        assert twin["subject"]["digest"] == digest
        assert result["artifact"] not in second
    assert images.manifest_of(reference) == (digest, index)
    after = state(reference)
    assert [r["changed"] for r in convert(reference).results] == [False, False]
    assert state(reference) == after


def test_what_is_no_image_among_an_indexs_entries_is_skipped(registry, tmp_path, convert):
    layer = tar(tmp_path / "layer.tar", lambda t: t.file("name", b"content"))
    image = images.image_of(tmp_path / "image", [layer])
    entry = platform_entry(registry, image, image.config, "amd64")
    windows = platform_entry(registry, image, {**image.config, "os": "windows"}, "windows")
    del entry["platform"], windows["platform"]
    _, manifest = images.manifest_of(f"{registry.host}/team/app:amd64")
    (only_layer,) = manifest["layers"]
    others = [{**manifest, "artifactType": "application/vnd.example"},
              {**manifest, "config": {**manifest["config"], "mediaType": "application/vnd.example"}},
              {**manifest, "layers": [{**only_layer, "mediaType": "application/vnd.example"}]}]
    entries = [windows, entry]
    for number, each in enumerate(others):
        digest = put_manifest(f"{registry.host}/team/app:other{number}", each, images.MANIFEST)
        _, stored = images.manifest_of(f"{registry.host}/team/app:other{number}")
        entries.append({"mediaType": images.MANIFEST, "digest": digest,
                        "size": len(json.dumps(stored).encode())})
    reference = f"{registry.host}/team/app:multi"
    put_manifest(reference, {"schemaVersion": 2, "mediaType": images.INDEX, "manifests": entries},
                 images.INDEX)

    done = convert(reference)

    assert done.code == 0, done.error
    assert [each["subject"] for each in done.results] == [entry["digest"]]


def platform_entry(registry, image: images.Image, config: dict, architecture: str) -> dict:
    """Pushes the image with another configuration; answers with an index's entry for it."""
    data = json.dumps(config, sort_keys=True).encode()
    digest = images.sha256(data)
    images.blob_path(image.layout, digest).write_bytes(data)
    manifest = images.read_layout(image.layout)
    manifest["config"] |= {"digest": digest, "size": len(data)}
    repoint(image, manifest)
    push(registry, image, f"team/app:{architecture}")
    manifest_digest, _ = images.manifest_of(f"{registry.host}/team/app:{architecture}")
    return {"mediaType": images.MANIFEST, "digest": manifest_digest,
            "size": len(json.dumps(manifest, sort_keys=True).encode()),
            "platform": {"os": "linux", "architecture": architecture}}


def repoint(image: images.Image, manifest: dict) -> None:
    """Makes this manifest the layout's one image."""
    data = json.dumps(manifest, sort_keys=True).encode()
    digest = images.sha256(data)
    images.blob_path(image.layout, digest).write_bytes(data)
    index = json.loads((image.layout / "index.json").read_text())
    index["manifests"][0] |= {"digest": digest, "size": len(data)}
    (image.layout / "index.json").write_text(json.dumps(index))


# What comes out is what went in -------------------------------------------------------------------


def test_cat_prints_every_file_as_it_was_put_in(registry, known, convert):
    reference = push(registry, known.image)
    convert(reference)

    for path, content in known.files.items():
        done = runnel("cat", reference, "/" + path)
        assert done.returncode == 0, done.stderr
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(content).digest(), path


@pytest.mark.parametrize("path", ["/link", "/dir-link/name", "etc/../etc/name", "//etc//name"])
def test_cat_follows_links_and_dots(path, registry, known, convert):
    reference = push(registry, known.image)
    convert(reference)

    assert runnel("cat", reference, path).stdout == b"runnel\n"


@pytest.mark.parametrize("path, says", [
    ("/etc/gone", "gone"), ("/no/such", "no"), ("/broken", "no"), ("/etc", "not a regular file"),
    ("/pipe", "not a regular file"), ("/loop", "loop"), ("/etc/name/below", "name")])
def test_cat_says_why_it_cannot(path, says, registry, known, convert):
    reference = push(registry, known.image)
    convert(reference)

    done = runnel("cat", reference, path)

    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"runnel: ") and says in done.stderr.decode()
    assert registry.host in done.stderr.decode()


def test_ls_lists_what_is_there(registry, known, convert):
    reference = push(registry, known.image)
    convert(reference)

    done = runnel("ls", reference, "/etc", "--json")

    assert done.returncode == 0, done.stderr
    entries = {e["name"]: e for e in map(json.loads, done.stdout.splitlines())}
    assert set(entries) == {"name", "shadow"}
    assert entries["name"] == {"name": "name", "mode": "-rw-r--r--", "uid": 7, "gid": 0, "size": 7,
                               "mtime": 1_600_000_000, "target": ""}
    top = [line.split() for line in runnel("ls", reference).stdout.decode().splitlines()]
    assert ["lrwxrwxrwx", "0", "0", "8", "link", "->", "etc/name"] in top
    assert ["drwxr-x---", "3", "4"] in [line[:3] for line in top if line[4:] == ["etc"]]
    assert runnel("ls", reference, "/no").returncode == 1
    assert [line for line in top if b"\x01" in " ".join(line).encode()] == []


def test_ls_prints_json_whatever_bytes_a_name_has(registry, tmp_path, convert):
    names = [b"\xff\xfe", b"line\nbreak", b'"quote"\\', b"\x1b[31mred", "\u00e4".encode()]
    layer = tar(tmp_path / "a.tar", lambda t: [t.file(name, b"x") for name in names])
    reference = push(registry, images.image_of(tmp_path / "layout", [layer]))
    convert(reference)

    listed = runnel("ls", reference, "--json").stdout.decode("utf-8").splitlines()

    assert {json.loads(line)["name"] for line in listed} == {
        '"\\xff\\xfe"', "line\nbreak", '"quote"\\', "\x1b[31mred", "\u00e4"}
    assert b"\x1b" not in runnel("ls", reference).stdout
    assert runnel("cat", reference, b"/\xff\xfe").stdout == b"x"


def test_inspect_says_what_the_artifact_has(registry, known, convert):
    reference = push(registry, known.image)
    result = only(convert(reference).results)

    said = json.loads(runnel("inspect", reference, "--json").stdout)

    manifest = artifact_manifest(reference, result["artifact"])
    assert said["subject"] == result["subject"]
    assert said["artifact_type"] == OURS
    assert [layer["blob"] for layer in said["layers"]] == [
        layer["digest"] for layer in manifest["layers"][:-1]]
    assert [layer["diff_id"] for layer in said["layers"]] == known.image.diff_ids
    assert said["layers"][3]["slot"] == 0
    assert said["boot"] in runnel("inspect", reference).stdout.decode()


def test_an_image_without_an_artifact_is_an_error_that_says_how_to_make_one(registry, known):
    reference = push(registry, known.image)

    for command in (["inspect"], ["ls"], ["cat"]):
        done = runnel(*command, reference, *(["/top"] if command == ["cat"] else []))
        assert done.returncode == 1
        assert f"runnel convert {reference}" in done.stderr.decode()


def test_layers_are_what_their_bytes_say_whatever_their_label(registry, tmp_path, convert):
    image = two_layers(tmp_path / "image", lambda t: t.file("top", b"top"))
    wrong = [replace(image.layers[0], media_type=images.LAYER["zstd"]),
             replace(image.layers[1], media_type=images.LAYER["plain"])]
    plain = images.layer_of(tar(tmp_path / "plain.tar", lambda t: t.file("p", b"p")), "plain")
    wrong.append(replace(plain, media_type=images.LAYER["gzip"]))
    reference = push(registry, images.write_layout(tmp_path / "wrong", wrong))

    done = convert(reference)

    assert done.code == 0, done.error
    assert runnel("cat", reference, "/d/base").stdout == pattern(3000)
    assert runnel("cat", reference, "/p").stdout == b"p"


def test_a_layer_that_an_image_has_twice_is_converted_once(registry, tmp_path, convert):
    first = tar(tmp_path / "a.tar", lambda t: t.file("a", pattern(5000)))
    second = tar(tmp_path / "b.tar", lambda t: t.whiteout("a").file("b", b"b"))
    reference = push(registry, images.image_of(tmp_path / "layout", [first, second, first]))

    result = only(convert(reference).results)

    blobs = blob_digests(reference, result["artifact"])
    assert blobs[0] == blobs[2] != blobs[1]
    said = json.loads(runnel("inspect", reference, "--json").stdout)
    assert [layer["slot"] for layer in said["layers"]] == [1, 2, 1]
    assert runnel("cat", reference, "/a").stdout == pattern(5000)


def test_an_image_of_one_empty_layer_converts(registry, tmp_path, convert):
    reference = push(registry, images.image_of(
        tmp_path / "layout", [tar(tmp_path / "e.tar", lambda t: None)]))

    assert convert(reference).code == 0
    assert runnel("ls", reference).stdout == b""
    assert json.loads(runnel("inspect", reference, "--json").stdout)["layers"][0]["chunks"] == 0


# The format, read by somebody else ----------------------------------------------------------------


def test_a_second_reader_puts_every_file_together_again(registry, known, convert, tmp_path):
    reference = push(registry, known.image)
    hot = tmp_path / "hot"
    hot.write_text("/top\n/no/such\n/sizes/700001\n")
    result = only(convert(reference, "--hot-files", str(hot)).results)
    manifest = artifact_manifest(reference, result["artifact"])

    artifact = read_artifact(manifest, lambda digest: blob(reference, digest))

    files = artifact.files()
    regular = {path: file for path, file in files.items() if stat.S_ISREG(file.inode.mode)}
    assert {p: artifact.content(f) for p, f in regular.items()} == {
        path.encode(): content for path, content in known.files.items()}
    assert files[b"hard"].identity == files[b"etc/name"].identity
    assert files[b"link"].inode.target == b"etc/name"
    assert files[b"null"].inode.rdev == 1 << 8 | 3
    assert files[b"opt"].attributes.mode == stat.S_IFDIR | 0o700
    assert (files[b"etc"].attributes.mode, files[b"etc"].attributes.uid) == (
        stat.S_IFDIR | 0o750, 3)
    hot_bytes = [layer.data[c.blob_offset:c.blob_offset + c.stored_size]
                 for layer, c in ((artifact.layers[n], artifact.layers[n].table.chunks[i])
                                  for n, i in artifact.boot.hot)]
    assert artifact.boot.pack == hot_bytes
    assert {n for n, _ in artifact.boot.hot} == {0, 2}
    assert [d["annotations"]["dev.runnel.source"] for d in manifest["layers"][:-1]] == [
        f"{layer.descriptor['digest']} {layer.diff_id}" for layer in known.image.layers]


def test_a_second_reader_hashes_every_chunk_and_follows_the_rules_of_cutting(
        registry, known, convert):
    reference = push(registry, known.image)
    result = only(convert(reference).results)
    artifact = read_artifact(artifact_manifest(reference, result["artifact"]),
                             lambda digest: blob(reference, digest))

    chunks = 0
    for layer in artifact.layers:
        assert len(layer.device()) == layer.table.device_blocks * 4096
        assert layer.table.chunk_max == 131072
        chunks += len(layer.table.chunks)
        starts = {chunk.device_block for chunk in layer.table.chunks}
        for inode in layer.tree:
            blocks = sum(extent[2] for extent in inode.extents)
            if inode.extents and blocks * 4096 >= 32768:
                assert inode.extents[0][1] in starts
    assert chunks > 10


# Bad input ----------------------------------------------------------------------------------------


def refuses(reference: str, convert: Converter, *says: str, at: str | None = None, **options) -> str:
    """The conversion fails, says so, and leaves the registry as it was."""
    before = state(reference)
    done = convert(at or reference, **options)
    assert done.code == 1, done.error
    last = done.error.strip().splitlines()[-1]
    assert last.startswith("runnel: ")
    for part in (at or reference, *says):
        assert part in last
    assert state(reference) == before
    return last


def layer_name(image: images.Image, number: int) -> str:
    return f"layer {number} ({image.layers[number - 1].descriptor['digest']})"


@pytest.mark.parametrize("write, says", [
    (lambda t: t.file("ok", b"1").file("../out", b"x"), "../out"),
    (lambda t: t.file("ok", b"1").file("/absolute", b"x"), "/absolute"),
    (lambda t: t.file("ok", b"1").file("d/../../up", b"x"), "d/../../up"),
    (lambda t: t.file("ok", b"1").hard_link("link", "nowhere"), "link"),
    (lambda t: t.file("ok", b"1").raw(b"\x55" * 512), "byte"),
], ids=["dot-dot", "absolute", "dots-within", "link-to-nothing", "no-tar-header"])
def test_a_layer_with_a_bad_entry_is_refused_by_name(write, says, registry, tmp_path, convert):
    image = two_layers(tmp_path / "image", write)
    reference = push(registry, image)

    refuses(reference, convert, layer_name(image, 2), says)


def test_a_hard_link_into_a_lower_layer_is_refused_as_the_ordinary_pull_does(
        registry, tmp_path, convert):
    image = two_layers(tmp_path / "image", lambda t: t.hard_link("copy", "d/base"))
    reference = push(registry, image)

    refuses(reference, convert, layer_name(image, 2), "copy", "d/base", "pull")


def test_a_wrong_diff_id_is_refused(registry, tmp_path, convert):
    image = two_layers(tmp_path / "image", lambda t: t.file("top", b"top"))
    wrong = "sha256:" + "5" * 64
    image = images.write_layout(tmp_path / "wrong", [image.layers[0],
                                                    replace(image.layers[1], diff_id=wrong)])

    refuses(push(registry, image), convert, layer_name(image, 2), wrong)


def test_a_layer_that_an_image_has_twice_must_have_one_diff_id(registry, tmp_path, convert):
    layer = images.layer_of(tar(tmp_path / "a.tar", lambda t: t.file("a", b"a")))
    wrong = "sha256:" + "5" * 64
    image = images.write_layout(tmp_path / "wrong", [layer, replace(layer, diff_id=wrong)])

    refuses(push(registry, image), convert, layer_name(image, 2), wrong)


def test_as_many_diff_ids_as_layers_or_nothing(registry, tmp_path, convert):
    image = two_layers(tmp_path / "image", lambda t: t.file("top", b"top"))
    manifest = images.read_layout(image.layout)
    manifest["layers"].pop()
    repoint(image, manifest)
    reference = push(registry, image)

    refuses(reference, convert, "1 layers", "2")


def bent(image: images.Image, at, bend) -> images.Image:
    """The image with other bytes as its second layer, whose digest and size the manifest has."""
    layer = image.layers[1]
    data = bend(bytearray(layer.blob.read_bytes()))
    changed = at / "bent.blob"
    changed.write_bytes(data)
    return images.write_layout(at / "bent", [image.layers[0], replace(layer, blob=changed)])


def flip(data: bytearray) -> bytes:
    data[len(data) // 2] ^= 0x40
    return bytes(data)


@pytest.mark.parametrize("bend, says", [
    (flip, ""),
    (lambda data: bytes(data[:len(data) // 2]), "cut short after"),
    (lambda data: gzip.compress(gzip.decompress(data)[:-5000]), ""),
    (lambda data: bytes(data) + b"not gzip at all", ""),
    (lambda data: b"", ""),
    (lambda data: bytes(data[:3]), ""),
], ids=["flipped-bit", "half", "tar-cut", "garbage-behind", "nothing", "three-bytes"])
def test_a_layer_whose_bytes_are_broken_is_refused(bend, says, registry, tmp_path, convert):
    good = two_layers(tmp_path / "image", lambda t: t.file("top", pattern(60_000)))
    image = bent(good, tmp_path, bend)
    reference = push(registry, image)

    refuses(reference, convert, layer_name(image, 2), says)


@pytest.mark.parametrize("bend", [flip, lambda data: bytes(data[:len(data) // 2])])
def test_a_broken_zstd_layer_is_refused(bend, registry, tmp_path, convert):
    top = tar(tmp_path / "top.tar", lambda t: t.file("top", pattern(60_000)))
    good = images.image_of(tmp_path / "good", [(top, "zstd"), (top, "zstd")])
    image = bent(good, tmp_path, bend)
    reference = push(registry, image)

    refuses(reference, convert, layer_name(image, 2))


def test_what_is_no_container_image_is_refused(registry, known, convert):
    reference = push(registry, known.image)
    result = only(convert(reference).results)
    host, repository, _ = images.split_reference(reference)

    done = convert(f"{host}/{repository}@{result['artifact']}")

    assert done.code == 1
    assert "not a container image" in done.error


def test_a_missing_image_is_an_error(registry, convert):
    done = convert(f"{registry.host}/no/such:tag")

    assert done.code == 1
    assert f"{registry.host}/no/such:tag" in done.error


# Bad registries -----------------------------------------------------------------------------------


@pytest.fixture
def pushed(registry, tmp_path):
    """An image whose second layer is large enough to be cut in many places; and its reference."""
    image = two_layers(tmp_path / "image", lambda t: t.file("top", pattern(2_000_000)))
    return image, push(registry, image)


def on_layer(image: images.Image, lie, **more) -> dict:
    """A rule: lie about the second layer's blob."""
    return {"method": "GET", "path": image.layers[1].descriptor["digest"], "lie": lie, **more}


def status(number: int) -> dict:
    return {"kind": "status", "status": number}


CUT, DROP, STALL = {"kind": "cut", "at": 1000}, {"kind": "drop"}, {"kind": "stall", "at": 1000}


def lying(reference: str, *rules: dict) -> Liar:
    return Liar(reference.split("/")[0], *rules)


def through(liar: Liar) -> str:
    return f"{liar.host}/team/app:1"


@pytest.mark.parametrize("lie", [{"kind": "cut", "at": 100_000}, DROP, status(503), status(429)],
                         ids=["cut", "drop", "503", "429"])
def test_a_connection_that_fails_once_is_made_good(lie, pushed, convert):
    image, reference = pushed
    with lying(reference, on_layer(image, lie, times=1)) as liar:
        done = convert(through(liar))
        requests = liar.requests

    assert done.code == 0, done.error
    asked = [path for method, path, *_ in requests
             if method == "GET" and path.endswith(image.layers[1].descriptor["digest"])]
    assert len(asked) == 2
    assert runnel("cat", reference, "/top").stdout == pattern(2_000_000)


@pytest.mark.parametrize("lie, says", [
    (CUT, ""), (DROP, ""), (status(500), "500"), (status(429), "429"), (status(404), "404"),
    (status(403), "403"), ({"kind": "body", "text": "shorter"}, "bytes"),
], ids=["cut", "drop", "500", "429", "404", "403", "shorter"])
def test_a_registry_that_always_fails_is_given_up(lie, says, pushed, convert):
    image, reference = pushed
    with lying(reference, on_layer(image, lie)) as liar:
        refuses(reference, convert, layer_name(image, 2), says, at=through(liar))


@pytest.mark.parametrize("lie", ["flip", "garbage", "zeros", "swap"])
def test_other_bytes_of_the_right_size_are_refused(lie, pushed, convert):
    image, reference = pushed
    with lying(reference, on_layer(image, lie)) as liar:
        refuses(reference, convert, layer_name(image, 2), at=through(liar))


def test_a_registry_that_falls_silent_is_given_up_in_time(pushed, convert):
    image, reference = pushed
    with lying(reference, on_layer(image, STALL)) as liar:
        refuses(reference, convert, layer_name(image, 2), at=through(liar), timeout=1)


def test_a_silence_that_ends_with_a_new_connection_is_made_good(pushed, convert):
    image, reference = pushed
    with lying(reference, on_layer(image, STALL, times=1)) as liar:
        done = convert(through(liar), timeout=3)  # a busy disk can take one to answer a PUT

    assert done.code == 0, done.error
    assert runnel("cat", reference, "/top").stdout == pattern(2_000_000)


@pytest.mark.parametrize("method, path", [("PUT", "/manifests/"), ("POST", "/blobs/uploads/"),
                                          ("GET", "^/v2/$")])
def test_a_registry_that_takes_nothing_has_no_artifact(method, path, pushed, convert):
    _, reference = pushed
    with lying(reference, {"method": method, "path": path, "lie": status(500)}) as liar:
        refuses(reference, convert, "500", at=through(liar))


@pytest.mark.parametrize("method, path", [("PUT", "/blobs/uploads/"), ("PATCH", "/blobs/uploads/"),
                                          ("POST", "/blobs/uploads/"), ("PUT", "/manifests/")])
@pytest.mark.parametrize("lie", [DROP, status(503), {"kind": "cut", "at": 0}],
                         ids=["drop", "503", "cut"])
def test_a_push_that_fails_once_is_made_good(method, path, lie, pushed, convert):
    _, reference = pushed
    asked = 1 if path == "/manifests/" or method == "POST" else 0  # before the conversion, for the right
    rule = {"method": method, "path": path, "after": asked, "times": 1, "lie": lie}
    with lying(reference, rule) as liar:
        done = convert(through(liar))

    assert done.code == 0, done.error
    assert len(images.referrers(reference)) == 1
    assert runnel("cat", reference, "/top").stdout == pattern(2_000_000)


def test_a_conversion_that_is_killed_leaves_nothing(pushed, convert):
    image, reference = pushed
    before = state(reference)
    with lying(reference, on_layer(image, {"kind": "stall", "at": 500_000})) as liar:
        process = subprocess.Popen([services.program(), "convert", through(liar),
                                    "--work-directory", str(convert.work)],
                                   stderr=subprocess.DEVNULL)
        liar.wait_for(lambda counters: counters["lies"].get("stall"))
        process.kill()
        process.wait(30)

    assert list(convert.work.iterdir()) == []
    assert state(reference) == before
    assert convert(reference).code == 0


def test_the_first_question_is_asked_again_when_the_connection_breaks(pushed, convert):
    _, reference = pushed
    with lying(reference, {"path": "^/v2/$", "times": 1, "lie": DROP}) as liar:
        done = convert(through(liar))

    assert done.code == 0, done.error
    (entry,) = images.referrers(reference)
    assert entry["artifactType"] == OURS


def test_cat_never_prints_a_byte_that_is_not_verified(pushed, convert):
    _, reference = pushed
    convert(reference)
    (entry,) = images.referrers(reference)
    layer = blob_digests(reference, entry["digest"])[1]
    lie = {"method": "GET", "path": layer, "lie": {"kind": "body", "text": "x" * 1000}}
    with lying(reference, lie) as liar:
        done = runnel("cat", f"{through(liar)}", "/top", "--timeout", "2")

    assert done.returncode == 1
    assert pattern(2_000_000).startswith(done.stdout)
    assert done.stderr.startswith(b"runnel: ")


# Signatures ---------------------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path):
    needs("openssl")
    path = tmp_path / "key.pem"
    run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)])
    return path


def signed_lines(manifest: dict, config: str) -> str:
    """docs/format.md, section 7."""
    notes = manifest["annotations"]
    *layers, boot = manifest["layers"]
    lines = ["runnel-signature 2", "format runnel-erofs 1",
             f"subject {manifest['subject']['digest']}", f"config {config}",
             f"boot {boot['digest']} {boot['size']}", f"head {notes['dev.runnel.head']}"]
    for layer in layers:
        of = layer["annotations"]
        lines.append(f"layer {layer['digest']} {layer['size']} {of['dev.runnel.table']} "
                     f"{of['dev.runnel.source']}")
    lines.append(f"generation {notes['dev.runnel.generation']}")
    return "".join(line + "\n" for line in lines)


def openssl_accepts(text: str, signature: str, public, directory) -> bool:
    (directory / "text").write_text(text)
    (directory / "signature").write_bytes(base64.b64decode(signature, validate=True))
    done = subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin", "-in",
         str(directory / "text"), "-sigfile", str(directory / "signature")], capture_output=True)
    return done.returncode == 0


def test_openssl_verifies_the_signature_from_the_documentation_alone(
        registry, known, convert, key, tmp_path):
    reference = push(registry, known.image)
    public, der = tmp_path / "public.pem", tmp_path / "public.der"
    run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(public)])
    run(["openssl", "pkey", "-in", str(key), "-pubout", "-outform", "DER", "-out", str(der)])

    result = only(convert(reference, "--key", str(key)).results)

    manifest = artifact_manifest(reference, result["artifact"])
    notes = manifest["annotations"]
    assert notes["dev.runnel.key-id"] == hashlib.sha256(der.read_bytes()[-32:]).hexdigest()[:16]
    _, source = images.manifest_of(reference)
    text = signed_lines(manifest, source["config"]["digest"])
    assert openssl_accepts(text, notes["dev.runnel.signature"], public, tmp_path)
    assert not openssl_accepts(text.replace("generation 1", "generation 2"),
                               notes["dev.runnel.signature"], public, tmp_path)
    said = json.loads(runnel("inspect", reference, "--json").stdout)
    assert said["signed_by"] == notes["dev.runnel.key-id"]


def test_the_second_manifest_of_an_index_signs_the_index(registry, known, convert, key, tmp_path):
    single = push(registry, known.image)
    digest, source = images.manifest_of(single)
    size = len(images.blob_path(known.image.layout, digest).read_bytes())
    reference = f"{registry.host}/team/app:multi"
    index = put_manifest(reference, {
        "schemaVersion": 2, "mediaType": images.INDEX, "manifests": [{
            "mediaType": images.MANIFEST, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": "amd64"}}]}, images.INDEX)
    public = tmp_path / "public.pem"
    run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(public)])

    convert(reference, "--key", str(key))

    (entry,) = images.referrers(reference)
    twin = artifact_manifest(reference, entry["digest"])
    assert twin["subject"]["digest"] == index
    text = signed_lines(twin, source["config"]["digest"])
    assert openssl_accepts(text, twin["annotations"]["dev.runnel.signature"], public, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no key", None])
def test_a_key_that_is_none_is_an_error_before_anything_is_done(
        content, registry, known, convert, tmp_path):
    reference = push(registry, known.image)
    path = tmp_path / "bad.pem"
    if content is not None:
        path.write_bytes(content)

    done = convert(reference, "--key", str(path))

    assert done.code == 1
    assert str(path) in done.error
    assert images.referrers(reference) == []


# The command line ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    ["convert"], ["cat", "127.0.0.1:1/a"], ["inspect", "a", "b"], ["ls", "--no-such"], [],
    ["no-such-command"], ["convert", "127.0.0.1:1/a", "--threads", "0"],
    ["convert", "127.0.0.1:1/a", "--work-directory", "/no/such/directory"]])
def test_usage_errors_end_with_2(arguments):
    done = runnel(*arguments)

    assert done.returncode == 2
    assert done.stdout == b"" and done.stderr != b""


@pytest.mark.parametrize("reference", ["UPPER/case", "", "127.0.0.1:1/a@sha256:12", "a b"])
def test_a_reference_that_is_none_is_an_error(reference):
    done = runnel("convert", reference)

    assert done.returncode in (1, 2)
    assert done.stderr != b""


def test_a_registry_that_is_not_there_is_an_error_in_time(convert):
    done = convert("127.0.0.1:1/team/app:1", timeout=1)

    assert done.code == 1
    assert "127.0.0.1:1" in done.error


@pytest.mark.parametrize("command", [
    "registry", "node", "convert", "inspect", "ls", "cat", "pull", "version", "node status",
    "node clear"])
def test_the_help_of_each_command_has_an_example(command):
    done = runnel(*command.split(), "--help")

    assert done.returncode == 0
    assert f"Example: runnel {command}" in done.stdout.decode()

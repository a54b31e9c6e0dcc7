#!/usr/bin/env python3
"""Writes the seeds of worker_message_fuzz (convert/worker_job.h), node_state_fuzz, node_records_fuzz,
credentials_fuzz and registry_api_fuzz."""

import hashlib
import json
import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
DIGEST = "sha256:" + "0123456789abcdef" * 4
JSON = "Content-Type: application/json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OWNER = "Authorization: Basic b3duZXI6b3duZXI="


def save(target: str, name: str, data: bytes) -> None:
    directory = CORPUS / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)


def text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode()


def texts(*values: str) -> bytes:
    return struct.pack("<I", len(values)) + b"".join(text(value) for value in values)


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(message)) + message for message in messages)


def worker_messages() -> None:
    progress = struct.pack("<BQ", 1, 1 << 20)
    layer = struct.pack("<BQQ", 2, 1000, 4000)
    boot = b"\3" + text(DIGEST) + struct.pack("<Q", 9000) + text(DIGEST) + struct.pack("<Q", 800) + text("guessed")
    failed = struct.pack("<BB", 4, 7) + text("layer 1: more than 4000000 entries")
    for name, message in {"progress": progress, "layer": layer, "boot": boot, "failed": failed}.items():
        save("worker_message", name, message)
    save("worker_message", "frames", framed(progress, boot))

    limits = struct.pack("<5QI", 1 << 30, 3600, 64 << 30, 200, 4_000_000, 2)
    save("worker_message", "layer_job", b"\1" + limits + text(DIGEST) + struct.pack("<Q", 1234))
    layers = struct.pack("<I", 1) + text(DIGEST) + struct.pack("<QI", 1000, 0)
    process = texts("/bin/app", "-v") + texts("PATH=/bin") + text("/srv")
    boot_job = struct.pack("<Q", 1) + text("") + process + layers + text("{}") + layers + text("")
    save("worker_message", "boot_job", b"\2" + limits + boot_job)


def chunk_table_digest() -> bytes:
    """Of the table of node_state_fuzz.cc: 20 chunks of one block, stored in 100 bytes, without digests."""
    page = b"".join(struct.pack("<QII32x", i * 100, 100, i) for i in range(20)).ljust(4096, b"\0")
    header = b"RNLTABLE" + struct.pack("<IIQQII24x", 1, 131072, 20, 2000, 20, 1)
    return hashlib.sha256(header + hashlib.sha256(page).digest()).digest()


def node_state() -> None:
    valid = b"RNLVALID" + struct.pack("<II", 1, 20) + chunk_table_digest()
    closed = b"RNLCLEAN" + struct.pack("<II", 1, 2) + b"\1" * 32 + b"\2" * 32
    save("node_state", "closed_layers", closed + hashlib.sha256(closed).digest())
    save("node_state", "validity", valid.ljust(4096, b"\0") + b"\x0f\x80\x01")
    shown = [
        ["registry.example", "team/app", "alice", "secret", 0, 0, []],
        ["registry.example", "team/other", "", "eyJ", 2, 1_800_000_000_000_000_000, [DIGEST]],
    ]
    save("node_state", "credentials", json.dumps(shown).encode())
    request = struct.pack("<IIQQIIIHH", 80, 15, 2, 3, 0, 0, 1, 0, 0).ljust(504, b"\1") + struct.pack("<q", 5_000_000_000)
    save("node_state", "requests", request)
    times = {"asked_us": 1, "sent_us": 2, "first_byte_us": 3, "ended_us": 4}
    events = {
        "image": "registry.example/team/app:v1", "container": "c", "reason": "Streaming", "now_us": 9,
        "worker_started_us": 0, "worker_restarts": 0, "begun_before_worker": False, "dropped": 0, "boot_bytes": 7,
        "requests": [{"number": 1, "who": "demand", "what": "layer 1", "method": "GET", "path": "/v2/", "first": 0,
                      "last": 9, "layer": 1, **times, "connected": True, "ranged": True, "bytes": 10, "status": 206,
                      "error": ""}],
        "spans": [{"kind": "step", "what": "mount", "detail": "", "begin_us": 1, "end_us": 2}],
        "reads": [{"layer": 1, "chunk": 2, "blob_offset": 3, "stored": 4, "file": "/bin/app", "at_us": 5,
                   "arrived_us": 6, "ready_us": 7, "origin": "demand", "wait": "fetch"}],
    }
    save("node_state", "events", json.dumps(events).encode())


def node_records() -> None:
    image = {"version": 1, "host": "registry.example:5000", "repository": "team/app", "subject": DIGEST,
             "chain_ids": [DIGEST], "layer_sizes": [1 << 63]}
    save("node_records", "image", json.dumps(image).encode())
    mount = {"fuse_device": "0:50", "layers": [DIGEST], "served": [DIGEST], "parallel_loops": True, "tree": 7,
             "metadata": "/var/lib/runnel/images/a/metadata.erofs"}
    save("node_records", "mount", json.dumps(mount).encode())
    del mount["served"], mount["parallel_loops"], mount["tree"]
    save("node_records", "earlier_mount", json.dumps(mount).encode())
    labels = json.dumps({"containerd.io/gc.root": "now", "empty": "", "\u00fc": "\0 \\ \u20ac"}).encode()
    save("node_records", "row", struct.pack("<5q", 3, 3, 1_800_000_000_000_000_000, 4096, 1) + labels)
    save("node_records", "mountinfo",
         b"36 20 0:50 / /var/lib/run\\040nel/mounts/a ro shared:1 - erofs none ro\n"
         b"37 20 0:51 / /var/lib/run\\040nel rw - fuse.runnel runnel rw\n")


def install_journal() -> None:
    files = [{"path": "/etc/containerd/config.toml", "existed": True, "before_sha256": "a" * 64, "after_sha256": "b" * 64,
              "mode": 0o640, "uid": 0, "gid": 7, "directories": []},
             {"path": "/etc/a/b/hosts.toml", "existed": False, "before_sha256": "", "after_sha256": "c" * 64,
              "mode": 0o644, "uid": 0, "gid": 0, "directories": ["/etc/a", "/etc/a/b"]}]
    save("install_journal", "two", json.dumps({"version": 1, "committed": True, "files": files}).encode())


def credentials() -> None:
    auth = {"auth": "bWU6cGFzczp3b3Jk"}
    save("credentials", "logins", json.dumps({"auths": {
        "https://index.docker.io/v1/": auth, "registry.example:5000": {"username": "u", "password": "p"},
        "registry.example:5000/team": {"identitytoken": "t"}, "Registry.Example/v2/": {"registrytoken": "b"},
        "https://registry.example": auth}}).encode())
    save("credentials", "helpers", json.dumps(
        {"credHelpers": {"registry.example": "gcloud"}, "credsStore": "pass", "auths": {"docker.io": {}}}).encode())
    save("credentials", "helper_answer", b'{"ServerURL": "docker.io", "Username": "<token>", "Secret": "s"}')
    save("credentials", "provider_answer", json.dumps({
        "kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Registry", "cacheDuration": "6h30m", "auth": {
            "*.example:5000": {"username": "u", "password": "p"},
            "registry.example:5000/team": {"username": "v", "password": "q"}}}).encode())


def calls(*requests: tuple, guarded: bool = False) -> bytes:
    """Of (method and target, header lines, body)."""
    parts = []
    for line, headers, body in requests:
        lines = [line, *([OWNER] if guarded else []), *headers]
        parts.append("\n".join(lines) + "\n\n" + (body if isinstance(body, str) else json.dumps(body)))
    return (b"\1" if guarded else b"\0") + "\0".join(parts).encode()


def image() -> tuple[str, str]:
    """The manifest of the image that registry_api_fuzz.cc pushes, and its digest."""
    def descriptor(kind: str, content: bytes) -> dict:
        return {"mediaType": kind, "digest": "sha256:" + hashlib.sha256(content).hexdigest(), "size": len(content)}
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", b"layer")],
    }, separators=(",", ":"))
    return manifest, "sha256:" + hashlib.sha256(manifest.encode()).hexdigest()


def registry_api() -> None:
    manifest, digest = image()
    put = ("PUT /v2/team/app/manifests/v2?tag=v3", [f"Content-Type: {MANIFEST}"], manifest)
    save("registry_api", "distribution", calls(
        put, ("GET /v2/team/app/manifests/v2", ["Accept: */*"], ""), ("GET /v2/team/app/tags/list?n=1&last=v1", [], ""),
        (f"GET /v2/team/app/referrers/{digest}?artifactType=a", [], ""), ("GET /v2/_catalog?n=1", [], "")))
    save("registry_api", "upload", calls(
        ("POST /v2/team/app/blobs/uploads/", [], ""), ("PATCH @", ["Content-Range: 0-2"], "lay"), ("GET @", [], ""),
        ("PATCH @", ["Content-Range: 3-4"], "er"), ("PUT @?digest=sha256:" + hashlib.sha256(b"layer").hexdigest(), [], ""),
        (f"POST /v2/other/blobs/uploads/?mount={digest}&from=team/app", [], ""),
        (f"GET /v2/team/app/blobs/{digest}", ["Range: bytes=1-2"], "")))
    save("registry_api", "attributes", calls(
        ("PATCH /acr/v1/team/app/_tags/v1", [JSON], {"deleteEnabled": False, "writeEnabled": False}),
        ("PATCH /acr/v1/team/app", [JSON], {"teleportEnabled": True, "listEnabled": False}),
        (f"PATCH /acr/v1/team/app/_manifests/{digest}", [JSON], {"readEnabled": False}),
        ("GET /acr/v1/team/app/_tags?n=1&last=a&orderby=timedesc", [], ""), ("GET /acr/v1/team/app/_manifests?n=1", [], "")))
    save("registry_api", "deleted", calls(
        ("DELETE /v2/team/app/manifests/v1", [], ""), ("GET /runnel/v1/_soft-delete?repository=team/app&n=1", [], ""),
        (f"POST /acr/v1/_deleted/team/app/_manifests/{digest}?force=true", [JSON], {"tag": "v1"}),
        ("POST /runnel/v1/_soft-delete/1:restore", [], ""), ("DELETE /acr/v1/team/app", [], ""),
        ("DELETE /runnel/v1/_soft-delete/1", [], ""),
        ("PATCH /runnel/v1/_config/soft-delete", [JSON], {"retentionDays": 9, "status": "enabled"})))
    save("registry_api", "streaming", calls(
        ("POST /acr/v1/team/app/_streaming", [JSON], {"convertPushedImages": True, "holdTag": 30}),
        (f"POST /acr/v1/team/app/_streaming/{digest}", [JSON], {}), put,
        ("GET /runnel/v1/_operations?repository=team/app&status=NotStarted&n=1", [], ""),
        ("POST /runnel/v1/team/app/_streaming", [], ""), (f"DELETE /runnel/v1/team/app/_artifact/{digest}", [], ""),
        (f"GET /mount/v1/team/app/_manifests/{digest}", [], ""),
        ("GET @", [], "")))
    save("registry_api", "cancel", calls(
        (f"POST /acr/v1/team/app/_streaming/{digest}", [JSON], {}), ("POST @:cancel", [], ""),
        (f"GET /acr/v1/team/app/_streaming/{digest}", [], ""), ("GET /.well-known/runnel/converter-keys", [], "")))
    profile = {"version": 1, "image": "registry.example/team/app", "layers": [DIGEST], "chunks": [[0, 1], [0, 2]]}
    save("registry_api", "profiles", calls(
        put, (f"POST /runnel/v1/team/app/_profiles/{digest}?node=n1", [JSON], profile),
        (f"GET /runnel/v1/team/app/_profiles/{digest}", [], "")))
    save("registry_api", "management", calls(
        ("PUT /runnel/v1/_scope-maps/ci", [JSON],
         {"description": "for builds", "actions": ["repositories/team/*/content/read"]}),
        ("PUT /runnel/v1/_tokens/build", [JSON], {"scopeMap": "ci", "status": "enabled"}),
        ("POST /runnel/v1/_tokens/build:generate", [JSON], {"name": "password1", "days": 30}),
        ("POST /runnel/v1/_role-assignments", [JSON], {"assignee": "owner", "role": "AcrPull", "scope": "team/*"}),
        ("GET /runnel/v1/_tokens/build", [], ""), ("DELETE /runnel/v1/_scope-maps/ci", [], ""), guarded=True))
    save("registry_api", "tokens", b"\1" + calls(
        ("GET /v2/team/app/manifests/v1", [], ""),
        ("GET /oauth2/token?service=registry&scope=repository:team/app:pull,push&offline_token=true", [OWNER], ""),
        ("POST /oauth2/token", ["Content-Type: application/x-www-form-urlencoded"],
         "grant_type=password&username=owner&password=owner&scope=repository:team/app:pull"),
        ("POST /oauth2/exchange", ["Content-Type: application/x-www-form-urlencoded"],
         f"grant_type=access_token&access_token=@&image={digest}"),
        ("GET /v2/team/app/manifests/v1", ["Authorization: Bearer @"], ""),
        ("POST /oauth2/token", ["Content-Type: application/x-www-form-urlencoded"],
         "grant_type=refresh_token&refresh_token=@&scope=repository:team/app:pull"))[1:])


worker_messages()
node_state()
node_records()
install_journal()
credentials()
registry_api()

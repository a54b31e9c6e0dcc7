"""OCI image layouts made in Python, pushed with skopeo, and what registries say about them."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.containerd import run

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = {
    "plain": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Layer:
    """One layer as it will lie in a registry. `diff_id` can be set wrong on purpose."""

    blob: Path
    diff_id: str
    compression: str
    media_type: str

    @property
    def descriptor(self) -> dict:
        return {"mediaType": self.media_type, "digest": sha256_file(self.blob),
                "size": self.blob.stat().st_size}


def compress(tar: Path, compression: str) -> Path:
    """Beside the tar; equal input gives equal bytes."""
    if compression == "plain":
        return tar
    out = tar.with_suffix(tar.suffix + (".gz" if compression == "gzip" else ".zst"))
    if compression == "gzip":
        with open(tar, "rb") as source, open(out, "wb") as raw, \
                gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    else:
        run(["zstd", "-q", "-f", "-3", str(tar), "-o", str(out)])
    return out


def layer_of(tar: Path, compression: str = "gzip") -> Layer:
    return Layer(compress(tar, compression), sha256_file(tar), compression, LAYER[compression])


@dataclass
class Image:
    """An OCI layout on disk with one image, tagged "latest"."""

    layout: Path
    layers: list[Layer]
    config: dict = field(default_factory=dict)
    manifest_digest: str = ""

    @property
    def diff_ids(self) -> list[str]:
        return [layer.diff_id for layer in self.layers]

    @property
    def chain_ids(self) -> list[str]:
        return chain_ids(self.diff_ids)


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The names of the committed snapshots: first a diff ID, then hashes over the one before."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(sha256(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


def write_layout(layout: Path, layers: list[Layer], command: list[str] | None = None,
                 env: list[str] | None = None) -> Image:
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data: bytes) -> str:
        digest = sha256(data)
        (blobs / digest.partition(":")[2]).write_bytes(data)
        return digest

    descriptors = [layer.descriptor for layer in layers]
    for layer, descriptor in zip(layers, descriptors):
        target = blobs / descriptor["digest"].partition(":")[2]
        if not target.exists():
            target.hardlink_to(layer.blob)
    config = {
        "architecture": "amd64", "os": "linux",
        "config": {"Cmd": command or ["/bin/sh"], "WorkingDir": "/",
                   "Env": env or ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created_by": f"layer {n}"} for n in range(len(layers))],
    }
    config_bytes = json.dumps(config, sort_keys=True).encode()
    manifest = {
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": put(config_bytes), "size": len(config_bytes)},
        "layers": descriptors,
    }
    manifest_bytes = json.dumps(manifest, sort_keys=True).encode()
    digest = put(manifest_bytes)
    index = {"schemaVersion": 2, "manifests": [{
        "mediaType": MANIFEST, "digest": digest, "size": len(manifest_bytes),
        "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return Image(layout, layers, config, digest)


def image_of(directory: Path, tars: list[Path | tuple[Path, str]],
             command: list[str] | None = None) -> Image:
    """An image of the given layers, bottom first; a tar is gzipped unless it says otherwise."""
    layers = [layer_of(*t) if isinstance(t, tuple) else layer_of(t) for t in tars]
    return write_layout(directory, layers, command)


def read_layout(layout: Path) -> dict:
    """The manifest of the one image of a layout."""
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    return json.loads(blob_path(layout, digest).read_text())


def blob_path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def push(layout: Path, reference: str) -> None:
    """skopeo sends the layout's bytes as they are: digests stay. Loopback, so plain HTTP."""
    run(["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests",
         "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{reference}"])


def push_as_it_is(layout: Path, reference: str) -> None:
    """Every blob and manifest below the layout's one entry, which may be an index with artifacts that skopeo
    does not know. Loopback, so plain HTTP."""
    host, repository, tag = split_reference(reference)
    top = json.loads((layout / "index.json").read_text())["manifests"][0]
    _push_manifest(layout, f"http://{host}/v2/{repository}", top, tag)


def _push_manifest(layout: Path, base: str, descriptor: dict, name: str) -> None:
    content = blob_path(layout, descriptor["digest"]).read_bytes()
    manifest = json.loads(content)
    for child in manifest.get("manifests", []):
        _push_manifest(layout, base, child, child["digest"])
    for blob in [manifest["config"], *manifest["layers"]] if "layers" in manifest else []:
        _push_blob(layout, base, blob["digest"])
    status, _, body = request(f"{base}/manifests/{name}", "PUT", {"Content-Type": descriptor["mediaType"]}, content)
    if status != 201:
        raise LookupError(f"{base}/manifests/{name}: HTTP {status} {body[:200]!r}")


def _push_blob(layout: Path, base: str, digest: str) -> None:
    status, headers, body = request(f"{base}/blobs/uploads/", "POST", data=b"")
    if status == 202:
        place = urllib.parse.urljoin(base, headers["location"])
        place += ("&" if "?" in place else "?") + f"digest={digest}"
        status, _, body = request(place, "PUT", {"Content-Type": "application/octet-stream"},
                                  blob_path(layout, digest).read_bytes())
    if status != 201:
        raise LookupError(f"{base}: pushing {digest}: HTTP {status} {body[:200]!r}")


# What a registry says ---------------------------------------------------------------------------


def request(url: str, method: str = "GET", headers: dict[str, str] | None = None,
            data: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, body. HTTP errors are answers, not exceptions."""
    call = urllib.request.Request(url, method=method, headers=headers or {}, data=data)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(call, timeout=60) as answer:
            return answer.status, _lower(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, _lower(error.headers), error.read()


def _lower(headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def split_reference(reference: str) -> tuple[str, str, str]:
    """host:port, repository, tag or digest."""
    host, _, rest = reference.partition("/")
    if "@" in rest:
        repository, _, tag = rest.partition("@")
    else:
        repository, _, tag = rest.partition(":")
    return host, repository, tag or "latest"


def manifest_of(reference: str) -> tuple[str, dict]:
    """Digest and manifest of what the registry has under a reference."""
    host, repository, tag = split_reference(reference)
    accept = {"Accept": f"{MANIFEST}, {INDEX}"}
    status, headers, body = request(f"http://{host}/v2/{repository}/manifests/{tag}",
                                    headers=accept)
    if status != 200:
        raise LookupError(f"{reference}: HTTP {status} {body[:200]!r}")
    return headers.get("docker-content-digest", sha256(body)), json.loads(body)


def compressed_bytes(manifest: dict) -> int:
    """What an ordinary pull downloads as layers."""
    return sum(layer["size"] for layer in manifest["layers"])


def referrers(reference: str) -> list[dict]:
    host, repository, _ = split_reference(reference)
    digest, _ = manifest_of(reference)
    status, _, body = request(f"http://{host}/v2/{repository}/referrers/{digest}")
    if status == 404:
        tag = digest.replace(":", "-")
        status, _, body = request(f"http://{host}/v2/{repository}/manifests/{tag}",
                                  headers={"Accept": INDEX})
        if status == 404:
            return []
    return json.loads(body)["manifests"]

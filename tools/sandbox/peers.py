"""Snapshotters that others made and that start a container before its image has come: what a user might
take instead. Each is a process beside a containerd, as the node is, and has images in its own format.

They keep what they fetched in memory and on disk, each in its way, and none has a command that empties
it: forget() ends the process, takes its directory away and starts it anew.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

from sandbox import daemons, images, scratch
from sandbox.containerd import NAMESPACE, Containerd, run

ROOT = Path(__file__).resolve().parents[2]


class PeerError(Exception):
    """A peer is not there, or does not do what is measured."""


def programs(name: str) -> Path:
    """The directory of its programs, built when it is not there (tools/build-peers)."""
    built = subprocess.run([str(ROOT / "tools/build-peers"), name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True)
    if built.returncode != 0:
        raise PeerError(f"{name} cannot be built: {built.stderr.strip()[-400:]}")
    return Path(built.stdout.strip())


def absent(names: list[str]) -> dict[str, str]:
    """Those of the peers among them that are not to be had here, and why."""
    found = {}
    for name in names:
        if name in BY_NAME:
            try:
                programs(name)
            except PeerError as error:
                found[name] = str(error)
    return found


class Peer:
    name = ""

    def __init__(self, directory: Path, containerd_socket: Path):
        self.directory = directory
        self.containerd_socket = containerd_socket
        self.root = directory / "root"
        self.socket = directory / "s.sock"
        self.daemon = daemons.Daemon(self.name, directory)
        self.programs = programs(self.name)

    def argv(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> "Peer":
        self.root.mkdir(parents=True, exist_ok=True)
        self.daemon.start(self.argv())
        self.daemon.wait_for(lambda: daemons.answers_on(self.socket), "its socket answers")
        return self

    def stop(self) -> None:
        others = self.pids()
        self.daemon.stop()
        daemons.end([pid for pid in others if daemons.is_running(pid)], signal.SIGTERM)
        for mount in reversed(self.mounts()):
            scratch.unmount(mount.point)
        self.socket.unlink(missing_ok=True)

    def forget(self, containerd: Containerd) -> None:
        """`containerd` has no image and no snapshot of it any more; waits until it sees the new process."""
        self.stop()
        shutil.rmtree(self.root)
        self.start()
        daemons.wait_until(lambda: _makes_a_snapshot(containerd), 60, f"containerd talks to {self.name} again")

    def pids(self) -> list[int]:
        """Of all its processes."""
        return [self.daemon.pid] if self.daemon.pid else []

    def mounts(self) -> list[scratch.Mount]:
        return [mount for mount in scratch.mounts() if scratch.is_below(mount.point, str(self.directory))]

    def check_streams(self, reference: str) -> None:
        """It falls back to an ordinary pull in silence; a layer that streams is a FUSE mount."""
        if not any(mount.fs_type.startswith("fuse") for mount in self.mounts()):
            raise PeerError(f"{self.name} has no layer of {reference} mounted: it did not stream\n"
                            + self.daemon.last_words())

    def push_converted(self, layout: Path, reference: str, directory: Path) -> None:
        """The image in the peer's format, in a registry on loopback."""
        raise NotImplementedError


def _makes_a_snapshot(containerd: Containerd) -> bool:
    """One that is gone again. A list would not ask the snapshotter where containerd knows of no snapshot."""
    def snapshots(*arguments: str) -> bool:
        return subprocess.run(containerd._ctr("snapshots", "--snapshotter", containerd.snapshotter, *arguments),
                              capture_output=True).returncode == 0
    return snapshots("prepare", "there") and snapshots("rm", "there")


def import_plain(containerd: Containerd, layout: Path, reference: str, directory: Path) -> str:
    """Gives containerd the layout's image, for a converter to find. Returns the name that it has there."""
    archive = directory / "image.tar"
    plain = reference + "-plain"
    run(["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{layout}:latest", f"oci-archive:{archive}:{plain}"])
    containerd.ctr("images", "import", "--no-unpack", str(archive))
    archive.unlink()
    return plain


class Stargz(Peer):
    """stargz-snapshotter, with images that Debian's ctr-remote converts; no start is recorded."""

    name = "stargz"

    def argv(self) -> list[str]:
        return [str(self.programs / "stargz-service"), str(self.root), str(self.socket)]

    def push_converted(self, layout: Path, reference: str, directory: Path) -> None:
        """Kept beside the layout: it takes minutes, and for a large image many."""
        kept = layout.with_name(layout.name + "-estargz")
        if not kept.exists():
            made = directory / "estargz-layout"
            self._convert(layout, reference, directory)
            run(["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests", "--src-tls-verify=false",
                 f"docker://{reference}", f"oci:{made}:latest"])
            shutil.copytree(made, kept.with_suffix(".part"), dirs_exist_ok=True)
            kept.with_suffix(".part").rename(kept)
            shutil.rmtree(made)
        images.push(kept, reference)

    def _convert(self, layout: Path, reference: str, directory: Path) -> None:
        containerd = Containerd(directory / "estargz").start()
        try:
            plain = import_plain(containerd, layout, reference, directory)
            containerd.ctr("images", "optimize", "--oci", "--no-optimize", plain, reference, client="ctr-remote",
                           seconds=1800)
            containerd.ctr("images", "push", "--plain-http", reference)
        finally:
            containerd.stop()
            shutil.rmtree(containerd.directory)


class Soci(Peer):
    """SOCI: the layers stay as they are, and an index says where in their gzip streams files begin."""

    name = "soci"

    def argv(self) -> list[str]:
        config = self.directory / "config.toml"
        config.write_text(f"[background_fetch]\n  disable = true\n[content_store]\n  type = 'soci'\n"
                          f"  containerd_address = '{self.containerd_socket}'\n")
        return [str(self.programs / "soci-snapshotter-grpc"), "--address", str(self.socket), "--root", str(self.root),
                "--config", str(config)]

    def push_converted(self, layout: Path, reference: str, directory: Path) -> None:
        """Layers below 10 MiB get no index, as it is by default."""
        converted = directory / "soci"
        run([str(self.programs / "soci"), "--root", str(directory / "soci-root"), "convert", "--standalone", "--format",
             "oci-dir", str(layout), str(converted)], seconds=1800)
        images.push_as_it_is(converted, reference)
        shutil.rmtree(converted)


# The layer $1 with an end, as gzip in $2 and as it is in $3.
_WITH_END = ('{ gzip -dc "$1"; head -c 10240 /dev/zero; } | dd bs=10240 iflag=fullblock conv=sync status=none '
             '| tee "$3" | gzip -1 -n > "$2"')


def with_ends(layout: Path, directory: Path) -> Path:
    """The same files in tars that end with blocks of zeros: some builders write none, and nydus-image wants them."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def keep(content: bytes) -> dict:
        digest = images.sha256(content)
        images.blob_path(directory, digest).write_bytes(content)
        return {"digest": digest, "size": len(content)}

    manifest = images.read_layout(layout)
    config = json.loads(images.blob_path(layout, manifest["config"]["digest"]).read_text())
    plain, packed = directory / "plain", directory / "packed"
    for number, layer in enumerate(manifest["layers"]):
        run(["bash", "-euo", "pipefail", "-c", _WITH_END, "bash", str(images.blob_path(layout, layer["digest"])),
             str(packed), str(plain)])
        layer |= {"digest": images.sha256_file(packed), "size": packed.stat().st_size}
        config["rootfs"]["diff_ids"][number] = images.sha256_file(plain)
        packed.rename(images.blob_path(directory, layer["digest"]))
    plain.unlink()
    manifest["config"] |= keep(json.dumps(config).encode())
    top = {"mediaType": images.MANIFEST, **keep(json.dumps(manifest).encode()),
           "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory


class Nydus(Peer):
    """Nydus: RAFS v6 made by its converter, a nydusd for each image, on FUSE."""

    name = "nydus"
    # As nydus-snapshotter ships it but for the scheme, of a registry on loopback, and without fetching ahead:
    # a start's bytes are its own.
    NYDUSD = {
        "device": {"backend": {"type": "registry", "config": {
            "scheme": "http", "timeout": 5, "connect_timeout": 5, "retry_limit": 2}},
            "cache": {"type": "blobcache"}},
        "mode": "direct", "digest_validate": False, "iostats_files": False, "enable_xattr": True,
        "amplify_io": 1 << 20, "fs_prefetch": {"enable": False}}

    def argv(self) -> list[str]:
        nydusd = self.directory / "nydusd.json"
        nydusd.write_text(json.dumps(self.NYDUSD))
        # It raises its limit of open files to a million, or does not start where that is forbidden.
        wrapper = self.directory / "nydusd.sh"
        wrapper.write_text(f'#!/bin/sh\nexec {self.programs}/nydusd "$@" --rlimit-nofile 0\n')
        wrapper.chmod(0o755)
        config = self.directory / "config.toml"
        config.write_text(
            f"version = 1\nroot = '{self.root}'\naddress = '{self.socket}'\ndaemon_mode = 'dedicated'\n"
            f"cleanup_on_close = true\n[system]\nenable = false\n[daemon]\nnydusd_config = '{nydusd}'\n"
            f"nydusd_path = '{wrapper}'\nnydusimage_path = '{self.programs}/nydus-image'\n"
            "fs_driver = 'fusedev'\nrecover_policy = 'none'\nthreads_number = 4\n[cgroup]\nenable = false\n"
            "[log]\nlog_to_stdout = true\n[metrics]\naddress = ''\n[snapshot]\nsync_remove = true\n")
        return [str(self.programs / "containerd-nydus-grpc"), "--config", str(config)]

    def pids(self) -> list[int]:
        found = super().pids()
        for each in Path("/proc").glob("[0-9]*"):
            words = daemons.command_line(int(each.name)).split()
            if words and words[0] == str(self.programs / "nydusd") and any(str(self.root) in word for word in words):
                found.append(int(each.name))
        return found

    def push_converted(self, layout: Path, reference: str, directory: Path) -> None:
        containerd = Containerd(directory / "nydus").start()
        work = directory / "nydus-work"
        work.mkdir()
        try:
            plain = import_plain(containerd, with_ends(layout, work / "layout"), reference, directory)
            run([str(self.programs / "nydus-convert"), str(containerd.socket), NAMESPACE,
                 str(self.programs / "nydus-image"), str(work), plain, reference], seconds=1800)
            containerd.ctr("images", "push", "--plain-http", reference)
        finally:
            containerd.stop()
            shutil.rmtree(containerd.directory)
            shutil.rmtree(work)


BY_NAME = {peer.name: peer for peer in (Stargz, Soci, Nydus)}

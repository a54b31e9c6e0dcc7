"""What is measured. Each case starts what it needs in the bench's directory and says its bar."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from registry_bench import content, matrix, servers
from registry_bench.content import MANIFEST, Client
from registry_bench.measure import Side, compare, load
from sandbox import services

REPOSITORY, TAG = "bench/app", "v1"
BLOB_BYTES = 64 << 20
LARGE_PUSH_BYTES = 16 << 20


@dataclass
class Settings:
    directory: Path
    rounds: int
    seconds: float
    connections: int
    uploads: int
    upload_bytes: int
    manifests: int


class Bench:
    """Starts servers when a case wants them, and ends all of them at the end."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.running: list[services.Registry] = []
        self._identity: servers.Identity | None = None

    @property
    def identity(self) -> servers.Identity:
        if self._identity is None:
            self._identity = servers.Identity.make(self.settings.directory)
        return self._identity

    def start(self, server: services.Registry) -> services.Registry:
        self.running.append(server)  # first: also a server that does not get up is ended
        return server.start()

    def end(self, server: services.Registry) -> None:
        server.stop()
        self.running.remove(server)

    def place(self, name: str) -> Path:
        return self.settings.directory / name

    def with_blob(self, tls: bool) -> tuple[services.Registry, services.Registry, str, str]:
        """A registry with a large blob, nginx over the same files, and the blob's path on each."""
        data = self.place("files") / "data"
        kind = "tls" if tls else "plain"
        identity = self.identity if tls else None
        ours = self.start(servers.Runnel(self.place(f"files-{kind}"), identity, data))
        blob = content.blob_content(BLOB_BYTES)
        client = Client(ours.host, identity.context() if identity else None)
        digest = client.push_blob(REPOSITORY, blob)
        nginx = self.start(servers.Nginx(self.place(f"nginx-{kind}"), data / "content/blobs", identity))
        hexadecimal = digest.partition(":")[2]
        paths = (f"/v2/{REPOSITORY}/blobs/{digest}", f"/sha256/{hexadecimal[:2]}/{hexadecimal}")
        client.check_file(paths[0], blob)
        client.close()
        other = Client(nginx.host, identity.context() if identity else None)
        other.check_file(paths[1], blob)
        other.close()
        return ours, nginx, *paths

    def close(self) -> None:
        for server in reversed(self.running):
            server.stop()
        self.running.clear()


def against_nginx(bench: Bench, tls: bool, range_bytes: int | None, connections: int) -> dict:
    ours, nginx, path, file_path = bench.with_blob(tls)
    arguments = ["read", "--connections", str(connections), "--seconds", str(bench.settings.seconds)]
    if range_bytes:
        arguments += ["--range", str(range_bytes), "--of", str(BLOB_BYTES)]
    if tls:
        arguments.append("--tls")
    result = compare(Side(ours, [*arguments, "--target", path]),
                     Side(nginx, [*arguments, "--target", file_path]), bench.settings.rounds)
    bench.end(ours)
    bench.end(nginx)
    return result


def two_registries(bench: Bench, name: str) -> tuple[services.Registry, services.Registry]:
    return (bench.start(servers.Runnel(bench.place(f"{name}-runnel"))),
            bench.start(servers.DockerRegistry(bench.place(f"{name}-docker"))))


def manifest(bench: Bench, method: str) -> dict:
    pair = two_registries(bench, f"manifest-{method}")
    for server in pair:
        client = Client(server.host)
        client.check_manifest(REPOSITORY, TAG, client.push_image(REPOSITORY, TAG))
        client.close()
    arguments = ["read", "--method", method, "--target", f"/v2/{REPOSITORY}/manifests/{TAG}",
                 "--header", f"Accept: {MANIFEST}", "--connections", str(bench.settings.connections),
                 "--seconds", str(bench.settings.seconds)]
    result = compare(*(Side(server, arguments) for server in pair), bench.settings.rounds)
    for server in pair:
        bench.end(server)
    return result


def push(bench: Bench) -> dict:
    pair = two_registries(bench, "push")
    arguments = ["push", "--repository", REPOSITORY, "--bytes", "1024", "--count", "1000",
                 "--connections", str(bench.settings.connections), "--seed", "{round}",
                 "--seconds", "120"]
    result = compare(*(Side(server, arguments) for server in pair), bench.settings.rounds)
    for server in pair:
        bench.end(server)
    result["note"] = ("each of ours is on the disk when it is answered (fdatasync of bytes, "
                      "of the directory and of the database); docker-registry syncs its files, eleven times a push, but no "
                      "directory: power loss may take their names")
    return result


def push_large(bench: Bench) -> dict:
    """The bytes are all the same, and sent each time: neither registry can know before it has them."""
    pair = two_registries(bench, "push-large")
    size = LARGE_PUSH_BYTES
    arguments = ["push", "--repository", REPOSITORY, "--bytes", str(size), "--count", "48", "--connections",
                 str(min(16, bench.settings.connections)), "--seed", "{round}", "--seconds", "120"]
    result = compare(*(Side(server, arguments) for server in pair), bench.settings.rounds)
    for name in (server.name for server in pair):
        result[name]["pushed_bytes_per_second"] = round(result[name]["rate"] * size)
    for server in pair:
        bench.end(server)
    return result


def by_connections(bench: Bench, tls: bool) -> dict:
    """Every question over 1, 16, 64 and 256 connections."""
    ours, nginx, path, file_path = bench.with_blob(tls)
    identity = bench.identity if tls else None
    docker = bench.start(servers.DockerRegistry(bench.place("matrix-docker"), identity))
    for server in (ours, docker):
        client = Client(server.host, identity.context() if identity else None)
        client.check_manifest(REPOSITORY, TAG, client.push_image(REPOSITORY, TAG))
        client.close()
    rows = matrix.measure(matrix.Servers(ours, docker, nginx, path, file_path, BLOB_BYTES, REPOSITORY, TAG), tls,
                          bench.settings)
    for server in (ours, docker, nginx):
        bench.end(server)
    return {"rows": rows}


def fill(bench: Bench, name: str, *arguments: str) -> tuple[services.Registry, str]:
    """A registry over a store that the tool has filled, on tmpfs first: there a sync is free."""
    program = services.project_root() / "build/release/bench/runnel-fill-store"
    fast = Path("/dev/shm") / f"{bench.settings.directory.name}-{name}"
    data = bench.place(name) / "data"
    try:
        last = subprocess.run([str(program), "--data", str(fast), "--repository", REPOSITORY, *arguments],
                              check=True, capture_output=True, text=True).stdout.strip()
        data.parent.mkdir(parents=True)
        shutil.copytree(fast, data)
    finally:
        shutil.rmtree(fast, ignore_errors=True)
    return servers.Runnel(bench.place(name)), last


def walk(client: Client, first: str) -> tuple[list[tuple[str, int]], float]:
    """The pages and their bytes, and the milliseconds for all of them: the median of five walks."""
    times = []
    for _ in range(5):
        pages, following, begun = [], first, time.perf_counter()
        while following:
            answer, body = client.ask("GET", following, 200)
            pages.append((following, len(body)))
            link = answer.headers["Link"]
            following = link[1:link.index(">")] if link else ""
        times.append((time.perf_counter() - begun) * 1e3)
    return pages, round(statistics.median(times), 1)


def page(bench: Bench, name: str, target: Callable[[str], str], count: Callable[[dict], int],
         *arguments: str) -> dict:
    """The first page, the second one, and how many there are in all."""
    server, last = fill(bench, name, *arguments)
    bench.start(server)
    client = Client(server.host)
    targets, all_milliseconds = walk(client, target(last))
    total = sum(count(json.loads(client.ask("GET", each, 200)[1])) for each, _size in targets)
    times: dict[str, list[float]] = {}
    for _ in range(20):
        for number, (each, _size) in enumerate(targets[:2], 1):
            begun = time.perf_counter()
            client.ask("GET", each, 200)
            times.setdefault(f"page {number}", []).append((time.perf_counter() - begun) * 1e3)
    client.close()
    # One connection of the generator too: Python's own time is a part of the above.
    run = load(["read", "--target", targets[0][0], "--connections", "1", "--seconds", "1",
                "--port", str(server.port)])
    bench.end(server)
    return {"entries": total, "pages": len(targets), "all_milliseconds": {"runnel": all_milliseconds}, "page_bytes": targets[0][1],
            "milliseconds": round(run["p50_us"] / 1e3, 3), "p99_milliseconds": round(run["p99_us"] / 1e3, 3),
            "with_client": {key: round(statistics.median(value), 3) for key, value in times.items()}}


def tags_page(bench: Bench) -> dict:
    """And all of them, beside docker-registry, which gives them in one answer."""
    target = f"/v2/{REPOSITORY}/tags/list"
    result = page(bench, "tags", lambda _: target, lambda body: len(body["tags"]), "--tags", "100000")
    # On tmpfs: a disk takes minutes to forget 300,000 directories and files.
    fast = Path("/dev/shm") / f"{bench.settings.directory.name}-tags-docker"
    try:
        docker = bench.start(servers.DockerRegistry(fast))
        client = Client(docker.host)
        docker.add_tags(REPOSITORY, client.push_image(REPOSITORY, "m0"), 100_000)
        pages, result["all_milliseconds"][docker.name] = walk(client, target)
        found = sum(len(json.loads(client.ask("GET", each, 200)[1])["tags"]) for each, _size in pages)
        client.close()
        bench.end(docker)
    finally:
        shutil.rmtree(fast, ignore_errors=True)
    if found != result["entries"]:
        raise content.BenchError(f"docker-registry lists {found} tags, runnel {result['entries']}")
    return result


def referrers_page(bench: Bench) -> dict:
    return page(bench, "referrers", lambda digest: f"/v2/{REPOSITORY}/referrers/{digest}",
                lambda body: len(body["manifests"]), "--referrers", "10000")


def start_with_many(bench: Bench) -> dict:
    """From the start of the process to the answer for a manifest by tag, page cache dropped and not."""
    count = bench.settings.manifests
    server, _ = fill(bench, "million", "--manifests", str(count), "--repositories",
                     str(max(1, count // 1000)))
    first = "bench/app-0" if count >= 2000 else REPOSITORY
    times: dict[str, list[float]] = {"warm": [], "page cache dropped": []}
    for number in range(2 * 3):
        cold = number % 2 == 1
        if cold:
            subprocess.run(["sync", "-f", str(bench.settings.directory)], check=True)
            Path("/proc/sys/vm/drop_caches").write_text("1")
        begun = time.perf_counter()
        bench.start(server)
        client = Client(server.host)
        client.ask("GET", f"/v2/{first}/manifests/m0", 200, headers={"Accept": MANIFEST})
        times["page cache dropped" if cold else "warm"].append(time.perf_counter() - begun)
        client.close()
        bench.end(server)
    size = (server.data / "metadata.sqlite").stat().st_size
    return {"manifests": count, "database_bytes": size,
            "seconds": {key: round(statistics.median(value), 3) for key, value in times.items()}}


def uploads(bench: Bench) -> dict:
    """Many large pushes at once, of equal bytes: each is a file of its own until it is complete."""
    count, size = bench.settings.uploads, bench.settings.upload_bytes
    free = shutil.disk_usage(bench.settings.directory).free
    if count * size * 1.2 > free:
        raise content.BenchError(f"{count} uploads of {size} bytes need more than the {free} bytes "
                                 "that are free: --uploads, --upload-mib")
    server = bench.start(servers.Runnel(bench.place("uploads")))
    memory = servers.Memory(servers.pid_of(server))
    before = memory.anonymous()
    run = load(["push", "--repository", REPOSITORY, "--bytes", str(size), "--count", str(count),
                "--connections", str(count), "--seconds", "600", "--port", str(server.port)])
    result = {"uploads": count, "bytes_each": size, "finished": run["done"],
              "seconds": round(run["seconds"], 2),
              "bytes_per_second": round(count * size / run["seconds"]),
              "peak_resident_bytes": memory.peak(), "anonymous_bytes_before": before,
              "anonymous_bytes_after": memory.anonymous()}
    bench.end(server)
    if run["done"] != count:
        raise content.BenchError(f"only {run['done']} of {count} uploads ended")
    return result


@dataclass
class Case:
    name: str
    title: str
    run: Callable[[Bench], dict]
    bar: str
    met: Callable[[dict], bool]


def at_least(ratio: float) -> Callable[[dict], bool]:
    return lambda result: result["ratio"]["median"] >= ratio


CASES = [
    Case("range-64k", "64 KiB ranged GET, 16 connections",
         lambda b: against_nginx(b, False, 64 << 10, b.settings.connections),
         ">= 0.8 of nginx", at_least(0.8)),
    Case("range-4k", "4 KiB ranged GET, 16 connections",
         lambda b: against_nginx(b, False, 4 << 10, b.settings.connections), "none", lambda _: True),
    Case("range-1m", "1 MiB ranged GET, 16 connections",
         lambda b: against_nginx(b, False, 1 << 20, b.settings.connections), "none", lambda _: True),
    Case("bulk", "64 MiB GET, 2 connections", lambda b: against_nginx(b, False, None, 2),
         ">= 0.95 of nginx, CPU <= 1.1", lambda r: r["ratio"]["median"] >= 0.95
         and r["cpu_ratio"]["median"] <= 1.1),
    Case("head-manifest", "HEAD of a manifest by tag, 16 connections",
         lambda b: manifest(b, "HEAD"), ">= 10 x docker-registry", at_least(10)),
    Case("get-manifest", "GET of a manifest by tag, 16 connections",
         lambda b: manifest(b, "GET"), ">= 10 x docker-registry", at_least(10)),
    Case("push-1k", "1,000 pushes of 1 KiB, 16 at a time", push,
         ">= 5 x docker-registry", at_least(5)),
    Case("push-16m", "48 pushes of 16 MiB, 16 at a time", push_large, "none", lambda _: True),
    Case("tls-range-64k", "64 KiB ranged GET over TLS, 16 connections",
         lambda b: against_nginx(b, True, 64 << 10, b.settings.connections),
         ">= 0.8 of nginx", at_least(0.8)),
    Case("tls-bulk", "64 MiB GET over TLS, 2 connections", lambda b: against_nginx(b, True, None, 2),
         ">= 0.8 of nginx", at_least(0.8)),
    Case("connections", "each question over 1, 16, 64 and 256 connections",
         lambda b: by_connections(b, False), "none", lambda _: True),
    Case("tls-connections", "the same over TLS", lambda b: by_connections(b, True), "none", lambda _: True),
    Case("tags-page", "a page of 100,000 tags", tags_page, "< 10 ms",
         lambda r: r["milliseconds"] < 10 and r["entries"] == 100_001),
    Case("referrers-page", "a page of 10,000 referrers", referrers_page, "< 10 ms",
         lambda r: r["milliseconds"] < 10 and r["entries"] == 10_000),
    Case("start-1m", "start with 1,000,000 manifests", start_with_many, "< 1 s",
         lambda r: max(r["seconds"].values()) < 1),
    Case("uploads", "200 uploads of 100 MiB at once", uploads, "< 150 MiB of memory",
         lambda r: r["peak_resident_bytes"] < 150 << 20),
]

"""The same questions over few and many connections, of each server that can answer them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry_bench.content import MANIFEST
from registry_bench.measure import Side, compare
from sandbox import services

CONNECTIONS = (1, 16, 64, 256)
ROUNDS = 3
# A cell's measurement: there are 48 of them, of two servers each, round after round.
PART_OF_SECONDS = 4
LEAST_SECONDS = 0.5
PUSHES = 128


@dataclass(frozen=True)
class Servers:
    ours: services.Registry
    docker: services.Registry
    nginx: services.Registry
    blob_path: str
    file_path: str  # of the same bytes, at nginx
    blob_bytes: int
    repository: str
    tag: str


@dataclass(frozen=True)
class Question:
    title: str
    sides: Callable[[Servers], tuple[list[str], services.Registry, list[str]]]  # ours, the other, its


def _range(size: int) -> Callable[[Servers], tuple[list[str], services.Registry, list[str]]]:
    def sides(s: Servers) -> tuple[list[str], services.Registry, list[str]]:
        ask = ["read", "--range", str(size), "--of", str(s.blob_bytes), "--target"]
        return [*ask, s.blob_path], s.nginx, [*ask, s.file_path]
    return sides


def _manifest(method: str) -> Callable[[Servers], tuple[list[str], services.Registry, list[str]]]:
    def sides(s: Servers) -> tuple[list[str], services.Registry, list[str]]:
        ask = ["read", "--method", method, "--target", f"/v2/{s.repository}/manifests/{s.tag}", "--header",
               f"Accept: {MANIFEST}"]
        return ask, s.docker, ask
    return sides


def _push(s: Servers) -> tuple[list[str], services.Registry, list[str]]:
    ask = ["push", "--repository", s.repository, "--bytes", "1024", "--seed", "{round}"]
    return ask, s.docker, ask


QUESTIONS = (
    Question("HEAD of a manifest by tag", _manifest("HEAD")), Question("GET of a manifest by tag", _manifest("GET")),
    Question("4 KiB range", _range(4 << 10)), Question("64 KiB range", _range(64 << 10)),
    Question("1 MiB range", _range(1 << 20)), Question("push of 1 KiB", _push))


def _with_load(ask: list[str], connections: int, seconds: float, tls: bool) -> list[str]:
    """Pushes are counted, not timed. Each cell pushes other bytes than the one before."""
    if ask[0] == "push":
        ask = [each.replace("{round}", f"{connections}" + "{round}") for each in ask]
        ask = [*ask, "--count", str(max(PUSHES, connections)), "--seconds", "60"]
    else:
        ask = [*ask, "--seconds", str(seconds)]
    return [*ask, "--connections", str(connections), *(["--tls"] if tls else [])]


def measure(servers: Servers, tls: bool, settings, say=print) -> list[dict]:
    """A row for each question and number of connections."""
    seconds = max(LEAST_SECONDS, settings.seconds / PART_OF_SECONDS)
    rows = []
    for question in QUESTIONS:
        ask, other, its = question.sides(servers)
        for connections in CONNECTIONS:
            result = compare(Side(servers.ours, _with_load(ask, connections, seconds, tls)),
                             Side(other, _with_load(its, connections, seconds, tls)),
                             min(ROUNDS, settings.rounds))
            rows.append({"question": question.title, "connections": connections, "tls": tls,
                         "other": other.name, **result})
            say(f"{question.title}, {connections} connections: {result['ratio'].get('median')}", flush=True)
    return rows


def lost(rows: list[dict]) -> int:
    """Rows in which the other one was faster."""
    return sum(row["ratio"].get("median", 1) < 1 for row in rows)


def _cell(row: dict) -> str:
    ours, other, ratio = row["runnel"], row[row["other"]], row["ratio"]
    if not ratio:
        return f"{row['other']} answered nothing in time"
    shown = f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})"
    return ((f"**{shown}, slower**" if ratio["median"] < 1 else shown)
            + f"<br>p50 {ours['p50_us'] / 1e3:.2f} : {other['p50_us'] / 1e3:.2f} ms"
            f"<br>p99 {ours['p99_us'] / 1e3:.2f} : {other['p99_us'] / 1e3:.2f} ms"
            f"<br>CPU {ours['cpu_us_per_request']:,.0f} : {other['cpu_us_per_request']:,.0f} µs"
            f"<br>memory {ours['peak_resident_bytes'] >> 20} : {other['peak_resident_bytes'] >> 20} MiB")


def table(rows: list[dict]) -> list[str]:
    """A line for each question, a column for each number of connections."""
    lines = ["Answers a second as a multiple of the other server's, by connections; then runnel's figures and the "
             "other's.", "", "| what, beside what | " + " | ".join(map(str, CONNECTIONS)) + " |",
             "|---|" + "---|" * len(CONNECTIONS)]
    by_line: dict[tuple[str, str, bool], dict[int, dict]] = {}
    for row in rows:
        by_line.setdefault((row["question"], row["other"], row["tls"]), {})[row["connections"]] = row
    for (question, other, tls), cells in by_line.items():
        what = f"{question}{' over TLS' if tls else ''}, beside {other}"
        lines.append(f"| {what} | " + " | ".join(_cell(cells[n]) if n in cells else "" for n in CONNECTIONS) + " |")
    return lines

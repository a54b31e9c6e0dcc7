"""What every benchmark's results have: the day, the machine, figures for programs and a text for people."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

PEERS = ("docker-registry", "nginx-light")


def machine(packages: tuple[str, ...] = PEERS) -> dict:
    """With the versions of these Debian packages, or that they are absent."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    versions = {}
    for package in packages:
        asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True,
                               text=True)
        versions[package] = asked.stdout or "absent"
    return {"processors": os.cpu_count(), "model": model, "kernel": platform.release(), **versions}


def load() -> float:
    return round(os.getloadavg()[0], 2)


def begun(packages: tuple[str, ...] = PEERS) -> dict:
    """What results begin with."""
    return {"date": datetime.date.today().isoformat(), "machine": machine(packages)}


def keep(results: dict, path: Path, *fields: str) -> None:
    """Takes these fields from what `path` has of an earlier run, unless that was another machine: what is
    not measured again may stand beside what is, and figures of two machines may not."""
    if not path.exists():
        return
    before = json.loads(path.read_text())
    if before["machine"]["model"] != results["machine"]["model"]:
        print(f"{path.name} was measured on {before['machine']['model']}: nothing of it is kept", flush=True)
        return
    results.update({field: before[field] for field in fields})


def opening(results: dict, command: str) -> str:
    """The first words of the text: what was measured when, and on what."""
    m = results["machine"]
    return (f"Measured {results['date']} by `bench/{command}` on {m['processors']} processors "
            f"({m['model']}), kernel {m['kernel']}")


def write(results: dict, text: str, path: Path) -> None:
    """The figures at `path`, and beside it the text that people read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    path.with_suffix(".md").write_text(text)


def write_with_plot(results: dict, markdown: Callable[[dict], str], svg: str, path: Path) -> None:
    """The same, and the plot, whose name the text finds in results["plot"]."""
    results["plot"] = path.with_suffix(".svg").name
    write(results, markdown(results), path)
    path.with_suffix(".svg").write_text(svg)

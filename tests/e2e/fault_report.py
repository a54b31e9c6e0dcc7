"""How much was tried: reads and faults by kind, over all tests of a run. One line each at the end of
the run, and build/reports/faults.json for whoever quotes it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from readers import Readers
from sandbox import services


@dataclass
class Entry:
    """One test. `allowed` says which errors its faults may show to a reader; "" for none."""

    name: str
    engine: str
    faults: Counter[str] = field(default_factory=Counter)
    lies: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def take(self, readers: Readers) -> None:
        """What the readers have done so far; once for each set of readers, at its end."""
        self.reads += readers.reads
        self.errors += readers.errors
        self.wrong += readers.wrong
        self.slowest = max(self.slowest, readers.slowest)

    def summary(self) -> dict:
        return {"test": self.name, "engine": self.engine, "reads": dict(self.reads),
                "faults": dict(self.faults), "lies": dict(self.lies),
                "errors": dict(self.errors), "wrong": len(self.wrong),
                "slowest_read_seconds": round(self.slowest, 2)}


class Report:
    def __init__(self):
        self.entries: list[Entry] = []
        self._begin = time.monotonic()

    def entry(self, name: str, engine: str) -> Entry:
        self.entries.append(Entry(name, engine))
        return self.entries[-1]

    def totals(self) -> dict:
        reads, faults, lies, errors = Counter(), Counter(), Counter(), Counter()
        for entry in self.entries:
            reads += entry.reads
            faults += entry.faults
            lies += entry.lies
            errors += entry.errors
        return {"date": time.strftime("%Y-%m-%d"), "kernel": platform.release(),
                "minutes": round((time.monotonic() - self._begin) / 60, 1),
                "reads": reads.total(), "reads_by_kind": dict(reads),
                "faults": faults.total(), "faults_by_kind": dict(faults),
                "lies": lies.total(), "lies_by_kind": dict(lies),
                "errors": dict(errors),
                "wrong_reads": sum(len(entry.wrong) for entry in self.entries),
                "slowest_read_seconds": round(max((e.slowest for e in self.entries), default=0), 2)}

    def write(self, path: Path | None = None) -> Path:
        path = path or services.project_root() / "build/reports/faults.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**self.totals(), "tests": [e.summary() for e in self.entries]}, indent=1)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_text(text + "\n")
        unfinished.replace(path)
        return path

    def lines(self) -> list[str]:
        totals = self.totals()
        lines = [f"{e.name} {e.engine}: {e.reads.total()} reads, faults {dict(e.faults)}, "
                 f"lies {e.lies.total()}, errors {dict(e.errors)}, {len(e.wrong)} wrong, "
                 f"slowest {e.slowest:.2f} s" for e in self.entries]
        return lines + [f"in all: {totals['reads']} verified reads, {totals['faults']} faults, "
                        f"{totals['lies']} lies, {totals['wrong_reads']} wrong reads, "
                        f"slowest {totals['slowest_read_seconds']} s"]

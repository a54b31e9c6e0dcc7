"""A command with a bound on its time, that leaves no process behind and whose output is kept and shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 60  # what a part has to end what it started and remove what it made


@dataclass(frozen=True)
class Ended:
    exit_code: int
    overdue: bool
    last_line: str


def run(argv: list[str], directory: Path, seconds: float, log: Path, grace: float = GRACE_SECONDS) -> Ended:
    """Its output goes to this process's and to `log`. Past its time it is told to end (SIGTERM to the command,
    which cleans up), and killed with its process group when it has not by the end of `grace`; likewise when this
    process ends."""
    overdue = threading.Event()
    process = subprocess.Popen(argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)

    def end() -> None:
        overdue.set()
        _stop(process, grace)

    timer = threading.Timer(seconds, end)
    timer.start()
    last = ""
    try:
        with log.open("w") as kept:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                kept.write(line)
                last = line.strip() or last
        code = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            _stop(process, grace)
        _kill_group(process.pid)
    return Ended(code, overdue.is_set(), last[:400])


def _stop(process: subprocess.Popen, grace: float) -> None:
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    _kill_group(process.pid)


def _kill_group(leader: int) -> None:
    """What it left of its group, which would hold its output open."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass

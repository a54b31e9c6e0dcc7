"""A lying registry as a process of its own, and what a test tells it (see lying_registry.py)."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent / "lying_registry.py"


class LiarError(Exception):
    """The lying registry did not start, or did not understand; the message has its words."""


class Liar:
    """Starts as an honest proxy, or with the given rules. Any thread may call
    any method."""

    def __init__(self, upstream: str, *rules: dict, seed: int = 0):
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "--upstream", upstream, "--seed", str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        if not line:
            raise LiarError(f"the lying registry ended at once, exit {self._process.wait()}")
        addresses = json.loads(line)
        self.host, self._control = addresses["host"], addresses["control"]
        if rules:
            self.rules(*rules, seed=seed)

    def __enter__(self) -> "Liar":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # What it shall do -------------------------------------------------------------------------------

    def rules(self, *rules: dict, seed: int | None = None) -> None:
        self._post("/rules", {"rules": rules, "seed": seed})

    def script(self, *steps: dict, repeat: bool = False, seed: int | None = None) -> None:
        self._post("/rules", {"script": steps, "repeat": repeat, "seed": seed})

    def honest(self) -> None:
        """Only the truth from now on; what stalls goes on."""
        self.rules()
        self.up()
        self.release()

    def tokens(self, life: float | None, says: float | None = None) -> None:
        self._post("/tokens", {"life": life, "says": says})

    def revoke(self) -> None:
        self._post("/revoke")

    def down(self) -> None:
        self._post("/down")

    def up(self) -> None:
        self._post("/up")

    def release(self) -> None:
        self._post("/release")

    def forget(self) -> None:
        self._post("/forget")

    # What it saw ------------------------------------------------------------------------------------

    def counters(self) -> dict:
        return self._ask("GET", "/counters")

    @property
    def requests(self) -> list[list]:
        """[method, path, range, kind of lie, status], the last 5,000."""
        return self._ask("GET", "/requests")

    def wait_for(self, what, seconds: float = 30) -> None:
        """Until what(counters) is true."""
        deadline = time.monotonic() + seconds
        while not what(counters := self.counters()):
            if time.monotonic() > deadline:
                raise LiarError(f"waited {seconds} s; {counters}")
            time.sleep(0.01)

    def _post(self, path: str, body: dict | None = None) -> None:
        self._ask("POST", path, body or {})

    def _ask(self, method: str, path: str, body: dict | None = None):
        connection = http.client.HTTPConnection(self._control, timeout=30)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            found = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise LiarError(f"{method} {path}: {found['error']}")
        return found

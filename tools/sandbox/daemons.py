"""Background processes that are found again by a later command.

A pid file holds the pid and the start time of the process (field 22 of /proc/PID/stat, in clock
ticks since boot). A pid that the kernel has given to somebody else since has another start time,
so nothing but the process that was started is ever signalled.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path


class DaemonError(Exception):
    """A background process did not start, or ended early. The message carries its last words."""


def _stat(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat", errors="replace") as file:
        # The second field is the command in parentheses and may hold anything.
        return file.read().rpartition(")")[2].split()


def start_time(pid: int) -> int:
    return int(_stat(pid)[19])


def parent(pid: int) -> int:
    return int(_stat(pid)[1])


def is_running(pid: int, started: int | None = None) -> bool:
    try:
        fields = _stat(pid)
    except OSError:
        return False
    return fields[0] not in "ZX" and (started is None or int(fields[19]) == started)


def command_line(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "(gone)"
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()[:200]


def end(pids: Iterable[int], signal_number: int, patience: float = 10.0) -> None:
    """Signals each and waits until all are gone, at most `patience` seconds."""
    handles = []
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        handles.append(handle)
        try:
            signal.pidfd_send_signal(handle, signal_number)
        except ProcessLookupError:
            pass
    deadline = time.monotonic() + patience
    for handle in handles:
        select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        os.close(handle)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Asks again and again, ever more slowly; raises DaemonError when the time is over."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while not condition():
        if time.monotonic() > deadline:
            raise DaemonError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def free_port(preferred: int = 0) -> int:
    """`preferred` when nobody listens there, otherwise one that this process gets no second time.

    A port from the kernel's range for outgoing connections may be anybody's before the daemon
    that is meant to have it listens: this one is from below that range.
    """
    if preferred and _is_free(preferred):
        return preferred
    for _ in range(1000):
        port = _RANDOM.randrange(_FIRST_PORT, _outgoing_ports_start())
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise DaemonError("no free TCP port on 127.0.0.1")


_FIRST_PORT = 10_000  # most well-known services are below
_RANDOM = random.SystemRandom()
_given: set[int] = set()


def _outgoing_ports_start() -> int:
    """ip(7), ip_local_port_range; where next to nothing is below it, any port must do."""
    start = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return start if start > _FIRST_PORT + 5000 else 65_536


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def answers_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def replies_on(path: Path) -> bool:
    """Whether somebody answers HTTP there: a connection alone may wait in the kernel's queue."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
            probe.sendall(b"GET / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
            return probe.recv(5) == b"HTTP/"
        except OSError:
            return False


class Daemon:
    """One process, started with its output in a log file and its identity in a pid file."""

    def __init__(self, name: str, run_dir: Path):
        self.name = name
        self.pid_file = run_dir / f"{name}.pid"
        self.log = run_dir / f"{name}.log"
        self._process: subprocess.Popen | None = None

    def start(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd="/", env={**os.environ, **(env or {})},
            )
        pid = self._process.pid
        self.pid_file.write_text(f"{pid} {start_time(pid)}\n")

    @property
    def pid(self) -> int | None:
        """The pid, while the process that was started is running; otherwise None."""
        try:
            pid, started = map(int, self.pid_file.read_text().split())
        except (OSError, ValueError):
            return None
        if self._process is not None:
            self._process.poll()
        return pid if is_running(pid, started) else None

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Waits for the daemon's own sign of readiness; fails at once when the process ends."""
        def ready() -> bool:
            if self.pid is None:
                raise DaemonError(f"{self.name} ended before {what}:\n{self.last_words()}")
            return condition()
        try:
            wait_until(ready, seconds, what)
        except DaemonError as error:
            if self.pid is not None:
                raise DaemonError(f"{self.name}: {error}\n{self.last_words()}") from None
            raise

    def last_words(self, lines: int = 20) -> str:
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join("    " + line for line in text.splitlines()[-lines:])

    def signal(self, signal_number: int) -> None:
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal_number)

    def stop(self, patience: float = 15.0) -> None:
        """SIGTERM, then SIGKILL after `patience` seconds. Does nothing when it is not running."""
        pid = self.pid
        if pid is not None:
            end([pid], signal.SIGTERM, patience)
        pid = self.pid
        if pid is not None:
            end([pid], signal.SIGKILL)
        if self._process is not None:
            self._process.poll()  # reaps it
        self.pid_file.unlink(missing_ok=True)

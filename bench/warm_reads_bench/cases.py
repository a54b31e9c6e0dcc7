"""What is read, and how long it takes: each case is seconds for the same work in any tree."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox import services
from sandbox.containerd import drop_page_cache, run

PROCESSOR = 1  # where the reader runs; what the node needs for it may run on any
WARM_MOST = 1.0
COLD_MOST = 1.5  # of ext4's time
# erofs-file and plain files are the same EROFS once all is in memory; in a run of three rounds their
# medians differed by 0.06 (lstat: 1.03 and 0.97).
NOISE = 0.05


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    seconds: Callable[[Path, Path], float]  # of a root, and of its largest file
    warm: bool = True

    @property
    def bar(self) -> float:
        return WARM_MOST if self.warm else COLD_MOST

    def met(self, ratio: float) -> bool:
        return ratio <= self.bar + (NOISE if self.warm else 0)


def largest_file(root: Path) -> Path:
    """By name among those of equal size, so that it is the same in every tree."""
    found = run(["find", str(root), "-xdev", "-type", "f", "-printf", "%s %P\n"]).splitlines()
    size_of = {name: int(size) for size, name in (line.split(" ", 1) for line in found)}
    return root / max(size_of, key=lambda name: (size_of[name], name))


def _pinned(argv: list[str]) -> list[str]:
    return ["taskset", "-c", str(PROCESSOR), *argv]


def _timed(script: str, path: Path) -> float:
    """Of a shell's work with a path, without the shell's own start."""
    timed = f'begin=$(date +%s%N); {{ {script}; }} || exit 1; echo $(( $(date +%s%N) - begin ))'
    return int(run(_pinned(["bash", "-o", "pipefail", "-c", timed, "bash", str(path)]))) / 1e9


def _fio(pattern: str, block: str, size: int):
    def seconds(_: Path, file: Path) -> float:
        """fio's own time for so many bytes of the file, again and again from its beginning."""
        done = subprocess.run(
            _pinned(["fio", "--name=read", f"--filename={file}", "--readonly", f"--rw={pattern}",
                     f"--bs={block}", "--ioengine=psync", "--invalidate=0", f"--io_size={size}",
                     "--randseed=1", "--allow_file_create=0", "--output-format=json"]),
            capture_output=True, text=True, check=True)
        report = json.loads(done.stdout[done.stdout.index("{"):])
        return report["jobs"][0]["read"]["runtime"] / 1e3
    return seconds


def _reader(command: str, count: int, of_file: bool = False):
    program = services.project_root() / "build/release/bench/runnel-warm-reader"

    def seconds(root: Path, file: Path) -> float:
        target = file if of_file else root
        return float(run(_pinned([str(program), command, str(target), "--count", str(count)])))
    return seconds


def _cold_sequential(_: Path, file: Path) -> float:
    drop_page_cache()
    return _timed('cat "$1" > /dev/null', file)


def _cold_tar(root: Path, _: Path) -> float:
    drop_page_cache()
    return _timed(TAR, root)


# GNU tar reads nothing when it writes to /dev/null.
TAR = 'tar -C "$1" -cf - --one-file-system . | cat > /dev/null'
CASES = [
    Case("sequential", "one large file, 1 MiB at a time, 8 GiB (fio)", _fio("read", "1m", 8 << 30)),
    Case("random", "4 KiB at random in it, 2 GiB (fio)", _fio("randread", "4k", 2 << 30)),
    Case("mmap", "a byte of each of its pages, mapped anew 20 times", _reader("mmap", 20, of_file=True)),
    Case("find", "find, five times over all", lambda root, _: _timed(
        'for i in 1 2 3 4 5; do find "$1" -xdev > /dev/null; done', root)),
    Case("stat", "lstat of every path, ten times, in random order", _reader("stat", 10)),
    Case("tar", "tar of all", lambda root, _: _timed(TAR, root)),
    Case("exec", "/bin/true 300 times", _reader("exec", 300)),
    Case("cold-sequential", "the large file, no page cache", _cold_sequential, warm=False),
    Case("cold-tar", "tar of all, no page cache", _cold_tar, warm=False),
]

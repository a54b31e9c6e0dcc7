#!/usr/bin/python3
"""A process that reads files of known content for ever and compares every byte.

    tests/e2e/reader.py ROOT --seed N [--threads N] [--kinds read,pread,mmap,direct,exec]
                        [--first N] [--files N] [--pause SECONDS]

The files are those that known_files.py lays out, or `files` of them from `first` on. Each thread takes a file and a kind of read by the
seed, drops the file's pages first, reads, compares. Ten times a second a line of JSON with all
counts so far goes to standard output. Ends when standard input does, after the reads under way.

It is a process because what it suffers (SIGKILL, SIGBUS, the OOM killer, the freezer) hits processes.
"""

from __future__ import annotations

import argparse
import errno
import json
import mmap
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import known_files  # noqa: E402

BLOCK = 4096


def read_whole(root: str, number: int, seeded: random.Random) -> bool:
    with open(path_of(root, number), "rb", buffering=0) as file:
        forget(file.fileno())
        return file.readall() == known_files.content(number)


def read_part(root: str, number: int, seeded: random.Random) -> bool:
    expected = known_files.content(number)
    with open(path_of(root, number), "rb", buffering=0) as file:
        forget(file.fileno())
        for _ in range(4):
            at = seeded.randrange(len(expected) + 1)
            wanted = expected[at:at + 20_000]
            if not same(file.fileno(), at, wanted):
                return False
    return True


def same(fd: int, at: int, wanted: bytes) -> bool:
    """A read may be cut short by an error further on, which the next read then tells."""
    while wanted:
        got = os.pread(fd, len(wanted), at)
        if not got or got != wanted[:len(got)]:
            return False
        at, wanted = at + len(got), wanted[len(got):]
    return True


def read_mapped(root: str, number: int, seeded: random.Random) -> bool:
    expected = known_files.content(number)
    if not expected:
        return read_whole(root, number, seeded)
    with open(path_of(root, number), "rb", buffering=0) as file:
        forget(file.fileno())
        with mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            pages = list(range(0, len(expected), BLOCK))
            seeded.shuffle(pages)
            return all(mapped[at:at + BLOCK] == expected[at:at + BLOCK] for at in pages)


def read_direct(root: str, number: int, seeded: random.Random) -> bool:
    expected = known_files.content(number)
    try:
        fd = os.open(path_of(root, number), os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EINVAL:  # EROFS on files cannot; programs then read as ever
            raise Refused from None
        raise
    try:
        with mmap.mmap(-1, 16 * BLOCK) as into:
            at = 0
            while got := os.preadv(fd, [into], at):
                if into[:got] != expected[at:at + got]:
                    return False
                at += got
            return at == len(expected)
    finally:
        os.close(fd)


def execute(root: str, number: int, seeded: random.Random) -> bool:
    """The program is cat: what comes out of its pages is what went in."""
    program = os.path.join(root, known_files.PROGRAM)
    with open(program, "rb", buffering=0) as file:
        forget(file.fileno())
    text = seeded.randbytes(1000)
    done = subprocess.run([program], input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if done.returncode != 0:  # SIGBUS: a page could not be read
        raise OSError(5, f"the program ended with {done.returncode}")
    return done.stdout == text


KINDS = {"read": read_whole, "pread": read_part, "mmap": read_mapped, "direct": read_direct,
         "exec": execute}


def path_of(root: str, number: int) -> str:
    return f"{root}/{known_files.name(number)}"


def forget(fd: int) -> None:
    """The pages of this file go, so that the next read is one of the device."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


class Refused(Exception):
    """The file system does not read this way at all."""


class Counts:
    def __init__(self):
        self.lock = threading.Lock()
        self.reads: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0
        self.running: dict[int, float] = {}
        self.last_good = 0.0  # when the last read that succeeded began

    def began(self) -> None:
        with self.lock:
            self.running[threading.get_ident()] = time.monotonic()

    def ended(self, kind: str, number: int, outcome: bool | OSError) -> None:
        now = time.monotonic()
        with self.lock:
            begun = self.running.pop(threading.get_ident())
            self.slowest = max(self.slowest, now - begun)
            self.reads[kind] += 1
            if isinstance(outcome, OSError):
                self.errors[str(outcome.errno)] += 1
            elif outcome:
                self.last_good = max(self.last_good, begun)
            else:
                self.wrong.append(f"{kind} of file {number}")

    def line(self) -> str:
        now = time.monotonic()
        with self.lock:
            return json.dumps({
                "reads": self.reads, "errors": self.errors, "wrong": self.wrong[:20],
                "slowest": self.slowest, "last_good": self.last_good,
                "longest_now": max((now - b for b in self.running.values()), default=0.0)})


def attempt(kind: str, root: str, number: int,
            seeded: random.Random) -> tuple[str, bool | OSError]:
    try:
        try:
            return kind, KINDS[kind](root, number, seeded)
        except Refused:
            kind = f"{kind} refused"
            return kind, read_whole(root, number, seeded)
    except OSError as error:
        return kind, error


def run(options: argparse.Namespace, seed: str, counts: Counts, stop: threading.Event) -> None:
    seeded = random.Random(seed)
    kinds = options.kinds.split(",")
    while not stop.is_set():
        number = options.first + seeded.randrange(options.files)
        kind = seeded.choice(kinds)
        counts.began()
        kind, outcome = attempt(kind, options.root, number, seeded)
        counts.ended(kind, number, outcome)
        if isinstance(outcome, OSError):
            stop.wait(0.01)  # EIO can come at once; a thousand a second would prove nothing more
        if options.pause:
            stop.wait(options.pause)


def report(counts: Counts, stop: threading.Event) -> None:
    last = False
    while not last:
        last = stop.wait(0.1)
        print(counts.line(), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("root")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--kinds", default="read,pread")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--files", type=int, default=known_files.FILES)
    parser.add_argument("--pause", type=float, default=0, help="between two reads of a thread")
    options = parser.parse_args()

    counts, stop, over = Counts(), threading.Event(), threading.Event()
    threads = [threading.Thread(target=run, args=(options, f"{options.seed}/{n}", counts, stop),
                                daemon=True)
               for n in range(options.threads)]
    reporter = threading.Thread(target=report, args=(counts, over), daemon=True)
    for thread in [*threads, reporter]:
        thread.start()
    while os.read(0, 4096):
        pass
    stop.set()
    for thread in threads:
        thread.join()
    over.set()
    reporter.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())

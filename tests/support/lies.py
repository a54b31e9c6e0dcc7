"""What a lying registry does to an answer: decided by rules and a seed, without I/O.

A rule is a JSON object. The first rule that matches a request and lies wins.

  name         for the counters; default: its number
  method       regular expression, the whole method; default: any
  path         regular expression, anywhere in path and query; default: any
  ranged       true, false: only requests with, without a Range header
  bytes        [first, last]: only requests for some of these bytes, which is all without a Range header
  after        so many matching requests pass first
  times        it lies so often and then never again
  probability  of lying to a request that matches; default: 1
  lie          a lie, or a list of them, of which the seed picks one each time

A lie is an object with a "kind" (or just the kind, as a string). Where "at" (a number of body bytes)
or another number is left out, the seed picks it.

  kind         options             what the client sees
  pass                             the truth
  drop         reset               the connection ends without an answer (reset: with RST)
  cut          at, reset           head and `at` bytes, then the connection ends
  stall        at, seconds         head and `at` bytes (-1: nothing), silence, then the rest; seconds null
                                   (default): until it is released
  slow         rate                the truth at so many bytes a second
  flip         bits                so many flipped bits (default 1)
  garbage                          other bytes, as many
  zeros                            zeros, as many
  swap                             two blocks of the body, or its halves, in each other's place
  other_range                      the bytes of another range under the head of this one
  wrong_range                      another range than was asked for, and its head says so
  whole                            200 and the whole blob instead of 206 and a part
  part_as_whole                    200 and the asked part, as if it were the whole
  long                             more bytes than the head announces
  body         text                this body, with its own length
  status       status, headers,    this answer, with a body of the registry's form unless `body` is given
               body
  redirect     seconds, host       302 to a signed address here, which answers 403 after so many seconds
"""

from __future__ import annotations

import json
import math
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

BLOCK = 4096
MAX_SWAPPED = 8 << 20  # a longer body is passed on from there


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: tuple[int, int] | None = None  # first and last byte


@dataclass(frozen=True)
class Pause:
    """Silence for so long; None: until released."""

    seconds: float | None


@dataclass(frozen=True)
class Close:
    reset: bool = False


@dataclass
class Lie:
    """One decision. `random` is its own, so that it does not depend on what others draw."""

    kind: str = "pass"
    options: dict = field(default_factory=dict)
    random: random.Random = field(default_factory=random.Random)

    def get(self, name: str, default=None):
        return self.options.get(name, default)


KINDS = {"pass", "drop", "cut", "stall", "slow", "flip", "garbage", "zeros", "swap", "other_range",
         "wrong_range", "whole", "part_as_whole", "long", "body", "status", "redirect"}
# These make no sense, or not the one they are for, when no range was asked for.
RANGED = {"other_range", "wrong_range", "whole", "part_as_whole"}


class RuleError(ValueError):
    """A rule that cannot be understood; the message says which."""


def _lie(value) -> dict:
    lie = {"kind": value} if isinstance(value, str) else value
    if not isinstance(lie, dict) or lie.get("kind") not in KINDS:
        raise RuleError(f"not a lie: {value!r}; the kinds are {', '.join(sorted(KINDS))}")
    return lie


class Rule:
    FIELDS = {"name", "method", "path", "ranged", "bytes", "after", "times", "probability", "lie"}

    def __init__(self, number: int, rule: dict):
        if unknown := set(rule) - self.FIELDS:
            raise RuleError(f"rule {number}: unknown {', '.join(sorted(unknown))}")
        self.name = str(rule.get("name", number))
        self.method = re.compile(rule.get("method", ".*"))
        self.path = re.compile(rule.get("path", ""))
        self.ranged = rule.get("ranged")
        self.first, self.last = rule.get("bytes", (0, math.inf))
        self.after = rule.get("after", 0)
        self.times = rule.get("times")
        self.probability = rule.get("probability", 1)
        lies = rule["lie"] if isinstance(rule.get("lie"), list) else [rule.get("lie", "pass")]
        self.lies = [_lie(lie) for lie in lies]
        self.matched = self.lied = 0

    def decide(self, request: Request, seed: int) -> Lie | None:
        if not self.method.fullmatch(request.method) or not self.path.search(request.path):
            return None
        if self.ranged is not None and self.ranged != (request.range is not None):
            return None
        if request.range and not (request.range[0] <= self.last and self.first <= request.range[1]):
            return None
        self.matched += 1
        if self.matched <= self.after or (self.times is not None and self.lied >= self.times):
            return None
        # The same seed gives the n-th matching request the same fate, whatever came in between.
        own = random.Random(f"{seed}/{self.name}/{self.matched}")
        if own.random() >= self.probability:
            return None
        chosen = own.choice(self.lies)
        if request.range is None and chosen["kind"] in RANGED:
            return None
        self.lied += 1
        return Lie(chosen["kind"], chosen, own)


class Rules:
    """The rules in force, or a script of them. Any thread may call any method.

    A step of a script is {"rules": […], "seconds": S, "requests": N}: it lasts until one of the
    two is over, the last one for ever unless the script repeats.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._told: Counter[str] = Counter()
        self._steps: list[dict] = [{"rules": []}]
        self._repeat, self._seed = False, 0
        self._enter(0)

    def set(self, rules: list[dict], seed: int | None = None) -> None:
        self.script([{"rules": rules}], seed=seed)

    def script(self, steps: list[dict], repeat: bool = False, seed: int | None = None) -> None:
        if not steps:
            raise RuleError("a script has at least one step")
        for step in steps:  # all of them, before the first is in force
            _rules_of(step)
        with self._lock:
            self._steps, self._repeat = steps, repeat
            self._seed = self._seed if seed is None else seed
            self._enter(0)

    def _enter(self, number: int) -> None:
        self._step = number
        self._rules = _rules_of(self._steps[number])
        self._since, self._requests = self._clock(), 0

    def _advance(self) -> None:
        step = self._steps[self._step]
        late = "seconds" in step and self._clock() - self._since >= step["seconds"]
        full = "requests" in step and self._requests >= step["requests"]
        if not late and not full:
            return
        if self._step + 1 < len(self._steps):
            self._enter(self._step + 1)
        elif self._repeat:
            self._enter(0)

    def decide(self, request: Request) -> Lie:
        with self._lock:
            self._advance()
            self._requests += 1
            for rule in self._rules:
                if lie := rule.decide(request, self._seed):
                    self._told[lie.kind] += 1
                    return lie
            return Lie()

    def counters(self) -> dict:
        with self._lock:
            return {"lies": dict(self._told), "step": self._step,
                    "rules": {r.name: {"matched": r.matched, "lied": r.lied} for r in self._rules}}

    def forget(self) -> None:
        with self._lock:
            self._told.clear()


def _rules_of(step: dict) -> list[Rule]:
    return [Rule(number, rule) for number, rule in enumerate(step["rules"])]


# What a lie does to a request and to an answer ----------------------------------------------------


def error_body(message: str, code: str = "UNKNOWN") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def refusal(lie: Lie) -> tuple[int, dict[str, str], bytes]:
    """The answer of a "status" lie."""
    status = lie.get("status", 500)
    body = lie.get("body")
    headers = {"Content-Type": "application/json"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="lying"'
    return (status, {**headers, **lie.get("headers", {})},
            error_body("made to fail") if body is None else body.encode())


def range_to_ask(lie: Lie, asked: tuple[int, int] | None) -> tuple[int, int] | None:
    """The range that the true registry is asked for instead of `asked`."""
    if asked is None or lie.kind == "whole":
        return None
    if lie.kind not in ("other_range", "wrong_range"):
        return asked
    first, last = asked
    length = last - first + 1
    other = first + length if first == 0 else lie.random.randrange(0, first)
    return other, other + length - 1


def distort(lie: Lie, pieces: Iterator[bytes], length: int) -> Iterator[bytes | Pause | Close]:
    """The body that is sent instead of `pieces`, which are `length` bytes in all."""
    if lie.kind in ("cut", "stall"):
        yield from _interrupted(lie, pieces, length)
    elif lie.kind == "flip":
        yield from _flipped(lie, pieces, length)
    elif lie.kind == "garbage":
        yield from (lie.random.randbytes(len(piece)) for piece in pieces)
    elif lie.kind == "zeros":
        yield from (bytes(len(piece)) for piece in pieces)
    elif lie.kind == "swap":
        yield from _swapped(lie, pieces)
    elif lie.kind == "slow":
        yield from _slow(lie, pieces)
    elif lie.kind == "long":
        yield from pieces
        yield lie.random.randbytes(1000)
        yield Close()
    else:
        yield from pieces


def _interrupted(lie: Lie, pieces: Iterator[bytes], length: int) -> Iterator[bytes | Pause | Close]:
    at = lie.get("at")
    if at is None:
        at = lie.random.randrange(0, length) if length else 0
    event = Pause(lie.get("seconds")) if lie.kind == "stall" else Close(lie.get("reset", False))
    passed, happened = 0, at < 0  # below zero: it happened before the head
    for piece in pieces:
        if not happened and passed + len(piece) > at:
            yield piece[:at - passed]
            yield event
            happened, piece, passed = True, piece[at - passed:], at
        yield piece
        passed += len(piece)
    if not happened:
        yield event


def _flipped(lie: Lie, pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    bits = sorted({lie.random.randrange(0, length * 8) for _ in range(lie.get("bits", 1))}
                  if length else ())
    at = 0
    for piece in pieces:
        changed = bytearray(piece)
        while bits and bits[0] < (at + len(piece)) * 8:
            bit = bits.pop(0)
            changed[bit // 8 - at] ^= 1 << bit % 8
        at += len(piece)
        yield bytes(changed)


def _swapped(lie: Lie, pieces: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= MAX_SWAPPED:
            break
    blocks = len(held) // BLOCK
    if blocks >= 2:
        one, two = sorted(lie.random.sample(range(blocks), 2))
        a, b = slice(one * BLOCK, (one + 1) * BLOCK), slice(two * BLOCK, (two + 1) * BLOCK)
        held[a], held[b] = held[b], held[a]
    else:
        middle = len(held) // 2
        held = held[middle:] + held[:middle]
    yield bytes(held)
    yield from pieces


def _slow(lie: Lie, pieces: Iterator[bytes]) -> Iterator[bytes | Pause]:
    rate = lie.get("rate", 100_000)
    step = max(1, rate // 20)
    for piece in pieces:
        for at in range(0, len(piece), step):
            yield piece[at:at + step]
            yield Pause(0.05)

"""Processes for which it is later: a library that sets the time of day forward for them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
  static long ahead = -1;
  if (ahead < 0) {
    const char *text = getenv("RUNNEL_TEST_AHEAD");
    ahead = text ? atol(text) : 0;
  }
  int outcome = (int)syscall(SYS_clock_gettime, clock, time);
  if (outcome == 0 && clock == CLOCK_REALTIME) time->tv_sec += ahead;
  return outcome;
}
"""

HOUR = 3600
DAY = 24 * HOUR


def build(directory: Path, compiler: str) -> Path:
    """The library. Clocks that only measure are left alone, and so are the times of files."""
    (directory / "later.c").write_text(SOURCE)
    library = directory / "later.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library),
                    str(directory / "later.c")], check=True)
    return library


def environment(library: Path, seconds: int) -> dict[str, str]:
    """For a process that is so far ahead."""
    return {**os.environ, "LD_PRELOAD": str(library), "RUNNEL_TEST_AHEAD": str(seconds)}

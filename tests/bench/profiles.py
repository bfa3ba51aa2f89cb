"""A server under the sampler (profiled.py), and the top of what it saw."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.servers import Server, clean_environment

TOP = 25


class ProfiledServer(Server):
    """A Server that leaves a profile in its data folder when it is stopped."""

    @property
    def profile(self) -> Path:
        """Return the file."""
        return self.data_dir / "profile.txt"

    def forget(self) -> None:
        """Begin the profile here."""
        os.kill(self.pid, signal.SIGUSR1)

    def spawn(self) -> subprocess.Popen[str]:
        """See Server."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.profiled", str(self.profile), "serve"],
                env=clean_environment(**self._environment),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self._process


def top_of(profile: Path) -> list[str]:
    """Return the lines that say where a server's CPU time went: by thread, in which function itself, and beneath which."""
    threads: Counter[str] = Counter()
    own: Counter[str] = Counter()
    beneath: Counter[str] = Counter()
    for line in profile.read_text().splitlines():
        stack, _, used_us = line.rpartition(" ")
        thread, *frames = stack.split(";")
        threads[thread] += int(used_us)
        own[frames[-1]] += int(used_us)
        beneath.update(dict.fromkeys({_function(frame) for frame in frames}, int(used_us)))
    total = threads.total() or 1
    parts = (("by thread", threads), ("in the line itself, or native code it calls", own), ("in the function and beneath it", beneath))
    return [line for title, counts in parts for line in (f"  {title}", *_lines(counts.most_common(TOP), total))]


def _function(frame: str) -> str:
    place, _, name = frame.rpartition(" ")
    return f"{place.rpartition(':')[0]} {name}"


def _lines(counts: Iterable[tuple[str, int]], total: int) -> list[str]:
    return [f"    {used_us / total:6.1%}  {used_us / 1000:8.0f} ms  {name}" for name, used_us in counts]

"""Ends Postgres servers; and, run as a program, those of another process once that has ended, however it ended. Linux, standard library only.

As a program it is given a folder, and waits for the end of its standard input: the other end is its parent's alone, so it closes with the
parent. (A death signal of the kernel's would come when the thread ended that started the server.)
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

# What a server in its hardest work needs to let go of everything; a busy machine takes a second.
END_S = 60.0


def signal_all(pids: Collection[int], number: signal.Signals) -> None:
    """Send a signal to processes, of which any may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def children_of(parent: int) -> list[int]:
    """Return the processes a process has started."""
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal() and _parent_of(one) == parent]


def _parent_of(process: Path) -> int:
    try:
        # Its name comes second, in brackets, and may hold anything; its state is third, its parent fourth.
        return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def wait_for_end(pids: Collection[int], timeout_s: float = END_S) -> list[int]:
    """Wait until these processes have ended. Returns those that still run."""
    deadline = time.monotonic() + timeout_s
    return [pid for pid in pids if not _ends_by(pid, deadline)]


def _ends_by(pid: int, deadline: float) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0])
    finally:
        os.close(handle)


def server_of(data: Path) -> int:
    """Return the process id of the server on a data directory, 0 if none runs. A dead server's id may be another program's by now."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        if os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return pid
    return 0


def end_server(data: Path) -> None:
    """Make a server stop at once and clean up behind itself; kill what does not."""
    server = server_of(data)
    if not server:
        return
    family = [server, *children_of(server)]
    signal_all([server], signal.SIGQUIT)
    signal_all(family, signal.SIGCONT)  # if it was stopped
    late = wait_for_end(family)
    signal_all(late, signal.SIGKILL)
    wait_for_end(late)


def _keep(folder: Path) -> None:
    sys.stdin.buffer.read()
    for running in folder.glob("*/postmaster.pid"):
        end_server(running.parent)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))

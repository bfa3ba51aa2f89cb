"""What a process costs, from /proc: CPU time and resident memory."""

from __future__ import annotations

import os
from pathlib import Path

# Fields of /proc/PID/stat after the command's name in parentheses (proc(5): utime is field 14, stime 15, rss 24).
UTIME, STIME, RSS_PAGES = 11, 12, 21


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process has used, user and system."""
    fields = _stat(pid)
    return (int(fields[UTIME]) + int(fields[STIME])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Return the bytes of memory a process holds."""
    return int(_stat(pid)[RSS_PAGES]) * os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()

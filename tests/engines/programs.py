"""Programs that are watched: each in a process of its own, in the environment of the real engines and the light half of Flowspan."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import Server, clean_environment

ROOT = Path(__file__).parents[2]
# `./run test` makes it, from tests/engines/requirements.txt. Engines of other licences and their dependencies stay out of ours.
ENGINES = Path(os.environ.get("FLOWSPAN_ENGINES", ROOT / ".venv-engines"))
PYTHON = ENGINES / "bin" / "python"
PRELOAD = ROOT / "otel_bridge" / "preload"

PROGRAM_S = 120.0
# Seldom in the tests' time: a heartbeat a second makes LOST come within two.
HEARTBEAT_S = "1"


@dataclass
class Programs:
    """Where programs are written, and the server that they are told to tell."""

    folder: Path
    url: str
    root: Path = ROOT

    def environment(self, **added: str) -> dict[str, str]:
        """Return the environment of a watched program that says nothing of itself: two variables, and the way to the light half."""
        told = {"FLOWSPAN_URL": self.url, "FLOWSPAN_BRIDGE_SPOOL": str(self.folder / "spool.db"), "FLOWSPAN_BRIDGE_HEARTBEAT_S": HEARTBEAT_S}
        path = {"PYTHONPATH": os.pathsep.join([str(PRELOAD), str(ROOT)])}
        return clean_environment(**{**told, **path, **added})

    def write(self, code: str, name: str = "program.py") -> Path:
        """Write a program's file."""
        file = self.folder / name
        file.write_text(textwrap.dedent(code), encoding="utf-8")
        return file

    def run(self, code: str, *, arguments: Sequence[str] = (), fails: bool = False, **added: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end and return what it printed. fails: whether it is meant to end with an error."""
        done = subprocess.run(
            [str(PYTHON), str(self.write(code)), *arguments],
            env=self.environment(**added),
            capture_output=True,
            text=True,
            timeout=PROGRAM_S,
            cwd=self.folder,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done

    @contextmanager
    def running(self, code: str, *, through: Sequence[str] = (), **added: str) -> Iterator[subprocess.Popen[str]]:
        """Run a program beside the test: a line written to its standard input lets it go on, where it reads one. Killed at the end.

        through: a command that is given the program's.
        """
        process = subprocess.Popen(
            [*through, str(PYTHON), str(self.write(code))],
            env=self.environment(**added),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate(timeout=PROGRAM_S)


def runs_of(server: Server, flow: str, count: int = 1) -> list[dict[str, Any]]:
    """Return the runs of a flow, the newest first, once there are so many and all are over."""
    path = "/api/v1/runs?limit=200"
    found = server.wait_for(path, lambda answer: len(_ended(answer["items"], flow)) >= count)
    return _ended(found["items"], flow)


def _ended(runs: list[dict[str, Any]], flow: str) -> list[dict[str, Any]]:
    return [run for run in runs if run["flow_name"] == flow and run["finished_at"]]


def tasks_of(server: Server, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a run's task runs by node."""
    return {task["id"]: task for task in server.run(run["run_id"], "/tasks")}


def states_of(server: Server, run: dict[str, Any]) -> dict[str, str]:
    """Return the state of each node of a run."""
    return {node: task["status"] for node, task in tasks_of(server, run).items()}


def lines_of(server: Server, run: dict[str, Any]) -> list[tuple[str | None, str, str]]:
    """Return (node, level, message) of a run's log lines, in their order."""
    return [(line["task_node"], line["level"], line["message"]) for line in server.run(run["run_id"], "/logs")]

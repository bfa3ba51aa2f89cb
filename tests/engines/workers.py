"""Workers of job queues, each a process that works until it is ended, and the programs that give them work, watched as any other program."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.engines.programs import ENGINES, PROGRAM_S, Programs
from tests.engines.redis import Redis
from tests.servers import Server


@dataclass
class Workshop:
    """Where a module `jobs` is written, in which publishers and workers find their work, and the Redis between them."""

    programs: Programs
    redis: Redis

    def publish(self, code: str) -> Any:
        """Run a program that publishes; return what it printed, as JSON."""
        return json.loads(self.programs.run(code, fails=False, arguments=(), **self._added()).stdout)

    @contextmanager
    def worker(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command of the engines' environment beside the tests, and end it."""
        log = self.programs.folder / "worker.log"
        with log.open("ab") as said:
            process = subprocess.Popen(
                [str(ENGINES / "bin" / command[0]), *command[1:]],
                env=self.programs.environment(**self._added()),
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=self.programs.folder,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait(PROGRAM_S)

    def _added(self) -> dict[str, str]:
        path = f"{self.programs.environment()['PYTHONPATH']}:{self.programs.folder}"
        return {"PYTHONPATH": path, "REDIS_SOCKET": str(self.redis.socket), "REDIS_URL": f"unix://{self.redis.socket}"}


def run_once_over(server: Server, run_id: str) -> Any:
    """Return a run once it is over."""
    return server.wait_for(f"/api/v1/runs/{run_id}", lambda run: bool(run["finished_at"]))


def run_once_running(server: Server, run_id: str) -> Any:
    """Return a run once it is being worked on."""
    return server.wait_for(f"/api/v1/runs/{run_id}", lambda run: run["status"] == "RUNNING")


def tasks_once_over(server: Server, run_id: str, count: int = 1) -> dict[str, Any]:
    """Return a run's task runs by node once there are so many and each has told its end: they are told by several processes."""
    found = server.wait_for(f"/api/v1/runs/{run_id}/tasks", lambda answer: _have_ended(answer["items"], count))
    return {task["id"]: task for task in found["items"]}


def _have_ended(tasks: list[dict[str, Any]], count: int) -> bool:
    return len(tasks) == count and all(task["finished_at"] and not task["inferred"] for task in tasks)

"""The real Celery with a prefork pool, watched without a call in its code: what is published, worked on, tried again, lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engines.programs import Programs, lines_of
from tests.engines.redis import Redis
from tests.engines.workers import Workshop, run_once_over, run_once_running, tasks_once_over
from tests.servers import Server

JOBS = """
    import logging, os
    from celery import Celery

    url = "redis+socket://" + os.environ["REDIS_SOCKET"]
    app = Celery("jobs", broker=url, backend=url)

    @app.task
    def add(x, y):
        logging.getLogger("jobs").warning("adding %s", x)
        return x + y

    @app.task
    def total(numbers): return sum(numbers)

    @app.task
    def broken(): raise ValueError("no such table")

    @app.task(bind=True, max_retries=2)
    def flaky(self):
        if not self.request.retries:
            raise self.retry(exc=OSError("busy"), countdown=0)

    @app.task
    def held(fifo): return open(fifo).read()

    @app.task(time_limit=2)
    def endless(fifo): return open(fifo).read()

    @app.task
    def killed(fifo):
        open(fifo).read()
        os.kill(os.getpid(), 9)
    """

# Prints the run's id of each, and of the chain those of its steps.
PUBLISH = """
    import json
    from celery import chain, chord
    from jobs import add, broken, endless, flaky, held, killed, total

    steps = chain(add.s(1, 2), add.s(3))()
    members = chord([add.s(1, 2), add.s(3, 4)])(total.s()).parent
    ids = {task.name.partition(".")[2]: task.delay().id for task in (broken, flaky)}
    ids |= {name: task.delay(name).id for name, task in [("held", held), ("lost", held), ("killed", killed), ("endless", endless)]}
    ids |= {"add": add.delay(1, y=2).id, "steps": [steps.parent.id, steps.id], "chord": members.id}
    print(json.dumps(ids))
    """


@dataclass
class Work:
    """What was published before there was a worker, how it looked then, and the worker that came."""

    ids: dict[str, Any]
    waiting: dict[str, Any]
    folder: Path
    worker: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def work(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """Return what one worker works on."""
    folder = tmp_path_factory.mktemp("celery")
    for fifo in ("held", "lost", "killed", "endless"):
        os.mkfifo(folder / fifo)
    with Redis() as redis:
        shop = Workshop(Programs(folder, server.url), redis)
        shop.programs.write(JOBS, "jobs.py")
        ids = shop.publish(PUBLISH)
        waiting = server.run(ids["add"])
        with shop.worker("celery", "-A", "jobs", "worker", "-c", "5", "--without-mingle", "--without-gossip") as worker:
            yield Work(ids, waiting, folder, worker)


def _node(task: str, task_id: str) -> str:
    return f"{task}:{task_id[:8]}"


def test_a_task_is_queued_before_there_is_a_worker(work: Work) -> None:
    assert ("QUEUED", "celery", {"QUEUED": 1}) == (work.waiting["status"], work.waiting["source"], work.waiting["counts"])


# R159
def test_a_task_is_a_run_of_its_own(server: Server, work: Work) -> None:
    run_id = work.ids["add"]

    run = run_once_over(server, run_id)

    assert ("SUCCEEDED", "jobs.add", {"args": [1], "kwargs": {"y": 2}}) == (run["status"], run["flow_name"], run["params"])
    assert {_node("add", run_id)} == tasks_once_over(server, run_id).keys()


# R164
def test_a_line_goes_to_the_task_that_wrote_it(server: Server, work: Work) -> None:
    run = run_once_over(server, work.ids["add"])

    assert [(_node("add", work.ids["add"]), "WARNING", "adding 1")] == lines_of(server, run)


# R165
def test_a_task_that_raises_fails_with_its_traceback(server: Server, work: Work) -> None:
    run = run_once_over(server, work.ids["broken"])

    (task,) = tasks_once_over(server, work.ids["broken"]).values()
    assert ("FAILED", "FAILED", "ValueError('no such table')") == (run["status"], task["status"], task["error"])
    assert "in broken" in server.get(f"/api/v1/traces/{run['trace_ids'][0]}").text


# R166
def test_a_retry_is_another_attempt_of_the_same_node(server: Server, work: Work) -> None:
    run = run_once_over(server, work.ids["flaky"])

    (task,) = tasks_once_over(server, work.ids["flaky"]).values()
    assert ("SUCCEEDED", "SUCCEEDED", 2) == (run["status"], task["status"], task["attempt"])
    assert ["FAILED", "SUCCEEDED"] == [attempt["status"] for attempt in task["attempts"]]


def test_a_chain_is_one_run_and_its_steps_wait_for_each_other(server: Server, work: Work) -> None:
    first, second = work.ids["steps"]

    tasks = tasks_once_over(server, first, 2)

    assert [_node("add", first)] == tasks[_node("add", second)]["upstream"]
    assert "SUCCEEDED" == run_once_over(server, first)["status"]


def test_a_chord_is_one_run_of_its_members_and_its_body(server: Server, work: Work) -> None:
    tasks = tasks_once_over(server, work.ids["chord"], 3)

    assert ["add", "add", "total"] == sorted(task["task_name"] for task in tasks.values())
    assert "SUCCEEDED" == run_once_over(server, work.ids["chord"])["status"]


# R005
def test_a_task_is_seen_while_it_runs(server: Server, work: Work) -> None:
    running = run_once_running(server, work.ids["held"])

    (work.folder / "held").write_text("go on")

    assert (None, "SUCCEEDED") == (running["finished_at"], run_once_over(server, work.ids["held"])["status"])


def test_the_worker_speaks_for_a_process_of_its_pool_that_was_killed(server: Server, work: Work) -> None:
    run_once_running(server, work.ids["killed"])

    (work.folder / "killed").write_text("go on")

    run = run_once_over(server, work.ids["killed"])
    assert "FAILED" == run["status"]
    assert "WorkerLostError" in run["error"]


def test_a_task_that_takes_too_long_fails(server: Server, work: Work) -> None:
    run = run_once_over(server, work.ids["endless"])

    assert ("FAILED", "TimeLimitExceeded(2)") == (run["status"], run["error"])


# R013
def test_a_run_whose_worker_was_killed_is_lost(server: Server, work: Work) -> None:
    run_once_running(server, work.ids["lost"])

    work.worker.send_signal(signal.SIGKILL)

    lost = server.wait_for(f"/api/v1/runs/{work.ids['lost']}", lambda run: bool(run["hint"]))
    assert ("RUNNING", "LOST") == (lost["status"], lost["hint"]["kind"])

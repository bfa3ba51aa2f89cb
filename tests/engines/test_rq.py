"""The real RQ with workers that fork, watched without a call in its code: what is enqueued, performed, tried again, killed, lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engines.programs import PROGRAM_S, ROOT, Programs, lines_of, runs_of
from tests.engines.redis import Redis
from tests.engines.workers import Workshop, run_once_over, run_once_running, tasks_once_over
from tests.servers import Server

JOBS = """
    import logging, os, signal
    from pathlib import Path

    def add(x, y):
        logging.getLogger("jobs").warning("adding %s", x)
        return x + y

    def broken(): raise ValueError("no such table")

    def flaky():
        if not Path("tried").exists():
            Path("tried").touch()
            raise OSError("busy")

    def held(fifo): return Path(fifo).read_text()

    def killed(): os.kill(os.getpid(), signal.SIGKILL)

    def lost():
        Path("lost").write_text(str(os.getpid()))
        signal.pause()
    """

# Prints the id of each job. The first two hold both workers until they are let go.
PUBLISH = """
    import json, os
    from redis import Redis
    from rq import Queue, Repeat, Retry
    from jobs import add, broken, flaky, held, killed, lost

    queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]))
    jobs = {
        "one": queue.enqueue(held, "one"),
        "other": queue.enqueue(held, "other"),
        "add": queue.enqueue(add, 1, y=2),
        "broken": queue.enqueue(broken),
        "flaky": queue.enqueue(flaky, retry=Retry(max=2)),
        "twice": queue.enqueue(add, 3, 4, repeat=Repeat(times=1)),
        "killed": queue.enqueue(killed),
    }
    jobs["after"] = queue.enqueue(add, 5, 6, depends_on=jobs["add"])
    jobs["lost"] = queue.enqueue(lost, job_timeout=60)
    print(json.dumps({name: job.id for name, job in jobs.items()}))
    """


@dataclass
class Work:
    """What was enqueued before there was a worker, how it looked then, two of it when both workers had one, and the workers."""

    ids: dict[str, str]
    waiting: dict[str, Any]
    at_once: list[dict[str, Any]]
    folder: Path
    workers: list[subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def shop(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Return where jobs are enqueued and performed."""
    with Redis() as redis:
        yield Workshop(Programs(tmp_path_factory.mktemp("rq"), server.url), redis)


@pytest.fixture(scope="module")
def work(server: Server, shop: Workshop) -> Iterator[Work]:
    """Return what two workers work on."""
    folder = shop.programs.folder
    for fifo in ("one", "other", "lost"):
        os.mkfifo(folder / fifo)
    shop.programs.write(JOBS, "jobs.py")
    ids = shop.publish(PUBLISH)
    waiting = server.run(ids["add"])
    command = ("rq", "worker", "--url", f"unix://{shop.redis.socket}")
    with shop.worker(*command) as one, shop.worker(*command) as other:
        for name in ("one", "other"):
            run_once_running(server, ids[name])
        at_once = [server.run(ids[name]) for name in ("one", "other")]
        for name in ("one", "other"):
            (folder / name).write_text("go on")
        yield Work(ids, waiting, at_once, folder, [one, other])


def test_a_job_is_queued_before_there_is_a_worker(work: Work) -> None:
    assert ("QUEUED", "rq", {"QUEUED": 1}) == (work.waiting["status"], work.waiting["source"], work.waiting["counts"])


# R005 R166
def test_two_jobs_at_once_are_two_runs_that_are_seen_while_they_run(server: Server, work: Work) -> None:
    ended = [run_once_over(server, run["run_id"]) for run in work.at_once]

    assert ["RUNNING", "RUNNING"] == [run["status"] for run in work.at_once]
    assert ["SUCCEEDED", "SUCCEEDED"] == [run["status"] for run in ended]


# R159 R164
def test_a_job_is_a_run_with_its_parameters_and_lines(server: Server, work: Work) -> None:
    run = run_once_over(server, work.ids["add"])

    assert ("SUCCEEDED", "jobs.add", {"args": [1], "kwargs": {"y": 2}}) == (run["status"], run["flow_name"], run["params"])
    assert [("add:1", "WARNING", "adding 1")] == lines_of(server, run)


# R165
def test_a_job_that_raises_fails_with_its_traceback(server: Server, work: Work) -> None:
    run = run_once_over(server, work.ids["broken"])

    assert ("FAILED", "ValueError('no such table')") == (run["status"], run["error"])
    assert "in broken" in server.get(f"/api/v1/traces/{run['trace_ids'][0]}").text


# R166
def test_a_retry_is_another_attempt_of_the_same_node(server: Server, work: Work) -> None:
    run = run_once_over(server, work.ids["flaky"])

    (task,) = tasks_once_over(server, work.ids["flaky"]).values()
    assert ("SUCCEEDED", 2) == (run["status"], task["attempt"])
    assert ["FAILED", "SUCCEEDED"] == [attempt["status"] for attempt in task["attempts"]]


def test_a_job_that_is_repeated_is_another_run_each_time(server: Server, work: Work) -> None:
    path = f"/api/v1/runs/{work.ids['twice']}"

    second = server.wait_for(path, lambda run: run["generation"] == 1 and bool(run["finished_at"]))
    first = server.get_json(path + "?generation=0")

    assert ["SUCCEEDED", "SUCCEEDED"] == [first["status"], second["status"]]


def test_a_job_that_waited_for_another_names_its_run(server: Server, work: Work) -> None:
    run = run_once_over(server, work.ids["after"])

    assert work.ids["add"] == run["metadata"]["flowspan.parent.run.id"]


def test_the_worker_speaks_for_a_work_horse_that_was_killed(server: Server, work: Work) -> None:
    run = run_once_over(server, work.ids["killed"])

    assert "FAILED" == run["status"]
    assert "signal 9" in run["error"]


# R013
def test_a_run_whose_worker_and_work_horse_were_killed_is_lost(server: Server, work: Work) -> None:
    horse = int((work.folder / "lost").read_text())
    run_once_running(server, work.ids["lost"])

    for worker in work.workers:
        worker.send_signal(signal.SIGKILL)
    os.kill(horse, signal.SIGKILL)

    lost = server.wait_for(f"/api/v1/runs/{work.ids['lost']}", lambda run: bool(run["hint"]))
    assert ("RUNNING", "LOST") == (lost["status"], lost["hint"]["kind"])


def test_what_was_wrapped_can_be_put_back(programs: Programs) -> None:
    done = programs.run(
        """
        from otel_bridge.integrations import rq as ours
        from rq.queue import Queue
        from rq.worker import BaseWorker

        def are_wrapped(): return [hasattr(method, "__wrapped__") for method in (Queue._enqueue_job, BaseWorker.perform_job)]

        before = are_wrapped()
        ours.unbind()
        print(before, are_wrapped())
        """
    )

    assert "[True, True] [False, False]\n" == done.stdout


def test_the_example_shows_three_jobs(server: Server, shop: Workshop) -> None:
    with shop.worker("python", str(ROOT / "examples" / "rq_jobs.py")) as example:
        assert 0 == example.wait(PROGRAM_S)

    ended = {name: runs_of(server, f"rq_jobs.{name}")[0]["status"] for name in ("extract", "load", "report")}
    assert {"extract": "SUCCEEDED", "load": "SUCCEEDED", "report": "FAILED"} == ended

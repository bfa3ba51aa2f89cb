"""A run too large to fold whole, over HTTP: its page, its task runs page by page, and news of it, on each storage."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from collector.answers import Resync
from storage_plugins.sql.large_runs import LARGE_FACTS
from tests.builders import at
from tests.in_process import PATIENCE_S, Server, eventually, running
from tests.live_sockets import open_socket
from tests.postgres import Postgres

Message = dict[str, Any]

TASKS = LARGE_FACTS + 100
FAILED = 17


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty store."""
    if request.param == "sqlite":
        yield "memory:"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    made = postgres.create_database()
    yield made
    postgres.drop_database(made)


@pytest.fixture(scope="module")
def server(url: str) -> Iterator[Server]:
    """A server with a large run on it, folded."""
    with running(database_url=url) as server:
        for first in range(0, TASKS, 1_000):
            server.send(*(task("task_ok" if number != FAILED else "task_failed", number) for number in range(first, min(first + 1_000, TASKS))))
        eventually(lambda: folded(server) == TASKS)
        yield server


def task(event: str, number: int, **more: Any) -> Message:
    """Return the event that a task of the run began or is over."""
    return {"event": event, "run_id": "large", "flow": "etl", "task": "step", "node": f"step:{number:05}", "ts": at(number), **more}


def folded(server: Server) -> int:
    """Return how many task runs the list knows of."""
    return sum(run["tasks_reported"] for run in server.json("/api/v1/runs?flow=etl")["items"])


def until_flow(socket: ClientConnection) -> list[Message]:
    """Return the messages of one group: it ends with the run itself."""
    group: list[Message] = []
    while not group or group[-1]["kind"] != "flow":
        group.append(json.loads(socket.recv(PATIENCE_S)))
    return group


# R014
def test_the_page_of_a_large_run_shows_the_failed_and_the_first_and_says_that_there_are_more(server: Server) -> None:
    page = server.get("/runs/large").text

    assert 500 == len(re.findall(r'<tr id="t-', page))
    assert ['data-state="FAILED"'] == re.findall(r'data-state="FAILED"', page.partition('<tbody id="tasks">')[2])
    assert f"{TASKS:,}" in page
    assert re.search(r'<p id="cut" class="note">', page)


# R014
def test_the_task_runs_of_a_large_run_follow_one_another_page_by_page(server: Server) -> None:
    nodes: list[str] = []
    more: str | None = ""
    while more is not None:
        page = server.json(f"/api/v1/runs/large/tasks?limit=1000{more}")
        nodes += [one["id"] for one in page["items"]]
        more = page["next_cursor"] and f"&cursor={page['next_cursor']}"

    assert sorted(nodes) == [f"step:{number:05}" for number in range(TASKS)]


# R088
def test_who_watches_a_large_run_is_told_of_what_the_next_fold_brings(server: Server) -> None:
    with open_socket(server.port, "/ws/runs/large") as socket:
        snapshot = until_flow(socket)
        server.send(task("task_started", TASKS))
        news = until_flow(socket)

    assert 1_000 == sum(one["kind"] == "task" for one in snapshot)
    assert [f"step:{TASKS:05}"] == [one["data"]["id"] for one in news if one["kind"] == "task"]
    assert snapshot[-1]["version"] < news[-1]["version"]


def cursor_of_page(server: Server) -> str:
    found = re.search(r'data-cursor="([^"]+)"', server.get("/runs/large").text)
    assert found is not None
    return found[1]


def is_forgotten(server: Server, cursor: str) -> bool:
    """Return whether what happened since is no longer kept."""
    try:
        asyncio.run(server.app.state.collector.reader.changes(cursor))
    except Resync:
        return True
    return False


# R088
def test_a_large_run_of_which_nothing_came_for_long_is_followed_all_the_same(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its page is as old as its last fold: a page that is sent to itself again is as old."""
    monkeypatch.setattr("storage_plugins.sql.news.KEPT_NEWS_S", 0)
    monkeypatch.setattr("storage_plugins.sql.rounds.PRUNE_EVERY", 1)
    cursor, others = cursor_of_page(server), itertools.count()

    def others_come() -> bool:
        server.send({"event": "flow_started", "run_id": f"other-{next(others)}", "flow": "another", "ts": at(0)})
        return is_forgotten(server, cursor)

    eventually(others_come)
    with open_socket(server.port, f"/ws/runs/large?cursor={cursor}") as socket:
        server.send(task("task_started", TASKS + 2))
        news = until_flow(socket)

    assert "task" in [one["kind"] for one in news]


# R088
def test_who_comes_back_to_a_large_run_after_another_fold_takes_a_new_page(server: Server) -> None:
    before = cursor_of_page(server)
    known = folded(server)
    server.send(task("task_started", TASKS + 1))
    eventually(lambda: folded(server) > known)
    assert before is not None

    with open_socket(server.port, f"/ws/runs/large?cursor={before}") as socket:
        kind = json.loads(socket.recv(PATIENCE_S))["kind"]

    assert "resync" == kind

"""Live over plain sockets: what is sent, in which order, and what happens to those who were away or do not keep up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import randbytes
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.in_process import PATIENCE_S, Server, running

Message = dict[str, Any]


@asynccontextmanager
async def watching(server: Server, run_id: str, query: str = "") -> AsyncIterator[ClientConnection]:
    """Open a run's socket."""
    async with following(server, f"/ws/runs/{run_id}{query}") as socket:
        yield socket


def following(server: Server, path: str) -> connect:
    """Open a socket that may stand still: what is not asked for stays with the server, once the buffers between are full."""
    return connect(
        f"ws://127.0.0.1:{server.port}{path}",
        open_timeout=PATIENCE_S,
        ping_interval=None,
        compression=None,
        max_size=None,
        max_queue=1,
        close_timeout=1,
        proxy=None,
    )


async def next_message(socket: ClientConnection) -> Message:
    """Return the next message."""
    async with asyncio.timeout(PATIENCE_S):
        message: Message = json.loads(await socket.recv())
    return message


async def until_flow(socket: ClientConnection) -> list[Message]:
    """Return the messages of one group: it ends with the run itself."""
    group: list[Message] = []
    while not group or group[-1]["kind"] != "flow":
        group.append(await next_message(socket))
    return group


def started(run_id: str) -> Message:
    """Return a run's first event."""
    return {"event": "flow_started", "flow": "etl", "run_id": run_id, "ts": 1_763_467_200}


def task(event: str, run_id: str, node: str, second: int, **more: Any) -> Message:
    """Return a task event."""
    return {"event": event, "run_id": run_id, "task": node.partition(":")[0], "node": node, "ts": 1_763_467_200 + second, **more}


# R088 R091
def test_a_socket_gets_a_snapshot_and_then_every_row_that_changes(server: Server) -> None:
    server.send(started("r1"), task("task_started", "r1", "load:1", 1))

    async def watch() -> tuple[list[Message], list[Message]]:
        async with watching(server, "r1") as socket:
            snapshot = await until_flow(socket)
            await asyncio.to_thread(server.send, task("task_ok", "r1", "load:1", 2), task("task_log", "r1", "load:1", 2, message="done"))
            return snapshot, await until_flow(socket)

    snapshot, news = asyncio.run(watch())

    assert [("task", "RUNNING"), ("flow", "RUNNING")] == [(one["kind"], one["data"].get("status")) for one in snapshot]
    assert {"task", "log", "flow"} == {one["kind"] for one in news}
    assert {"id": "load:1", "status": "SUCCEEDED"}.items() <= next(one["data"] for one in news if one["kind"] == "task").items()


# R088
def test_who_asks_for_it_gets_all_that_came_up_together_in_one_frame(server: Server) -> None:
    server.send(started("r1"), task("task_log", "r1", "load:1", 1, message="one"), task("task_log", "r1", "load:1", 2, message="two"))

    async def watch() -> tuple[list[Message], Any]:
        async with watching(server, "r1") as one_by_one, watching(server, "r1", "?batch=1") as together:
            return await until_flow(one_by_one), await next_message(together)

    one_by_one, together = asyncio.run(watch())

    assert 3 <= len(together)
    assert one_by_one == together


# R088
def test_what_is_long_comes_together_in_frames_that_any_client_takes(server: Server) -> None:
    server.send(started("r1"), *(task("task_log", "r1", "load:1", number, message=f"{number} " * 700) for number in range(200)))

    async def watch() -> tuple[list[Message], list[Any]]:
        async with watching(server, "r1") as one_by_one, watching(server, "r1", "?batch=1") as together:
            frames: list[Any] = []
            while not frames or frames[-1][-1]["kind"] != "flow":
                frames.append(await next_message(together))
            return await until_flow(one_by_one), frames

    one_by_one, frames = asyncio.run(watch())

    assert 1 < len(frames)
    assert 300_000 > max(len(json.dumps(frame)) for frame in frames)
    assert one_by_one == [message for frame in frames for message in frame]


# R089
def test_a_watcher_who_was_away_gets_what_it_missed_and_nothing_it_has(server: Server) -> None:
    server.send(started("r1"), task("task_log", "r1", "load:1", 1, message="before"))
    run = server.json("/api/v1/runs/r1")
    server.send(task("task_log", "r1", "load:1", 2, message="while away"))

    async def come_back() -> list[Message]:
        async with watching(server, "r1", f"?cursor={run['cursor']}") as socket:
            return await until_flow(socket)

    missed = asyncio.run(come_back())

    assert ["while away"] == [one["data"]["message"] for one in missed if one["kind"] == "log"]
    assert missed[-1]["version"] > run["version"]


# R089
def test_a_watcher_who_has_everything_is_sent_nothing_until_there_are_news(server: Server) -> None:
    server.send(started("r1"))
    run = server.json("/api/v1/runs/r1")

    async def watch() -> list[Message]:
        async with watching(server, "r1", f"?cursor={run['cursor']}") as socket:
            await asyncio.to_thread(server.send, task("task_started", "r1", "load:1", 1))
            return await until_flow(socket)

    first = asyncio.run(watch())

    assert ["task", "flow"] == [one["kind"] for one in first]
    assert all(one["version"] > run["version"] for one in first)


# R089
def test_nothing_is_missed_between_a_page_and_its_socket(server: Server) -> None:
    """A page is read while events pour in; what it lacks comes by the socket, and together they are everything."""
    server.send(started("r1"))

    async def watch() -> set[str]:
        pouring = asyncio.create_task(asyncio.to_thread(_pour, server))
        page = await asyncio.to_thread(server.json, "/api/v1/runs/r1/tasks")
        cursor = await asyncio.to_thread(lambda: server.json("/api/v1/runs/r1")["cursor"])
        page = await asyncio.to_thread(server.json, "/api/v1/runs/r1/tasks")
        seen = {item["id"] for item in page["items"]}
        async with watching(server, "r1", f"?cursor={cursor}") as socket:
            while len(seen) < 100:
                message = await next_message(socket)
                if message["kind"] == "task":
                    seen.add(message["data"]["id"])
        await pouring
        return seen

    assert {f"load:{number}" for number in range(100)} == asyncio.run(watch())


def _pour(server: Server) -> None:
    for number in range(100):
        server.send(task("task_started", "r1", f"load:{number}", number))


# R089
def test_a_reader_that_does_not_keep_up_is_told_to_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewer.delivery.SEND_TIMEOUT_S", PATIENCE_S)  # it stands still until its news have overflowed
    with running(socket_queue=1) as server:
        server.send(started("r1"))

        async def dawdle() -> Message:
            async with watching(server, "r1") as socket:
                await until_flow(socket)
                for number in range(400):
                    line = task("task_log", "r1", "load:1", number, message=randbytes(250_000).hex())
                    await asyncio.to_thread(server.send, line)
                    if server.metric("resyncs_total"):
                        break
                message = await next_message(socket)
                while message["kind"] != "resync":
                    message = await next_message(socket)
                return message

        assert "resync" == asyncio.run(dawdle())["kind"]


def test_an_unknown_run_closes_its_socket_with_4404(server: Server) -> None:
    async def watch() -> int:
        async with watching(server, "nobody") as socket:
            try:
                await next_message(socket)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0
        return 0

    assert 4404 == asyncio.run(watch())


# R091
def test_a_run_nobody_watches_costs_no_reads(server: Server) -> None:
    server.send(started("r1"))

    assert not server.collector.tail._watches
    assert server.collector.tail._cursor is None


@pytest.fixture
def stream(server: Server) -> Iterator[Iterator[str]]:
    """The lines of a run's server-sent events, from its snapshot on."""
    server.send(started("r1"))
    with server.client.stream("GET", "/sse/runs/r1") as answer:
        assert "text/event-stream" == answer.headers["content-type"].partition(";")[0]
        yield answer.iter_lines()


# R088
def test_server_sent_events_say_the_same_and_number_what_they_sent(server: Server, stream: Iterator[str]) -> None:
    snapshot = _event(stream)
    server.send(task("task_started", "r1", "load:1", 1))
    row, flow = _event(stream), _event(stream)

    assert ("flow", "RUNNING") == (snapshot["data"]["kind"], snapshot["data"]["data"]["status"])
    assert ("task", "load:1") == (row["data"]["kind"], row["data"]["data"]["id"])
    assert flow["id"] == flow["data"]["data"]["cursor"] != snapshot["id"]


# R089
def test_server_sent_events_go_on_from_the_last_event_id(server: Server) -> None:
    server.send(started("r1"), task("task_log", "r1", "load:1", 1, message="before"))
    run = server.json("/api/v1/runs/r1")
    server.send(task("task_log", "r1", "load:1", 2, message="while away"))

    with server.client.stream("GET", "/sse/runs/r1", headers={"Last-Event-ID": run["cursor"]}) as answer:
        lines = answer.iter_lines()
        events = [_event(lines)["data"] for _ in range(2)]

    assert ["while away"] == [one["data"]["message"] for one in events if one["kind"] == "log"]


def test_an_unknown_run_has_no_stream(server: Server) -> None:
    answer: httpx.Response = server.get("/sse/runs/nobody")

    assert 404 == answer.status_code


def _event(lines: Iterator[str]) -> Message:
    """Read one event, past comments and the retry line; its data is JSON."""
    event: Message = {}
    for line in lines:
        if not line and "data" in event:
            return {**event, "data": json.loads(event["data"])}
        name, _, value = line.partition(": ")
        if name in ("id", "data"):
            event[name] = value
    raise AssertionError("the stream ended")

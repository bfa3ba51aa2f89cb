"""Live lists over plain sockets: what is sent of which list, where one goes on, and what it costs those who do not watch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from websockets.asyncio.client import ClientConnection, connect

from tests.acceptance.test_live import Message, next_message, started, task
from tests.in_process import PROTOBUF, Server, eventually, running
from tests.otlp_bodies import PARENT_ID, SPAN_ID, TRACE_ID, a_span, log_request, pairs, span_request

BEGINNING_S = 1_763_467_200
NEWEST = "?kind=all&limit=1000"


@asynccontextmanager
async def watching(server: Server, query: str = "") -> AsyncIterator[ClientConnection]:
    """Open a list's socket."""
    async with connect(f"ws://127.0.0.1:{server.port}/ws/runs{query}", max_size=None, max_queue=1, close_timeout=1, proxy=None) as socket:
        yield socket


async def until_cursor(socket: ClientConnection) -> list[Message]:
    """Return the messages of one group, without the cursor it ends with."""
    group: list[Message] = []
    while (message := await next_message(socket))["kind"] != "cursor":
        group.append(message)
    return group


async def until_run(socket: ClientConnection, run_id: str, status: str) -> list[Message]:
    """Return all messages up to the end of the group that tells a run so; that one last."""
    heard: list[Message] = []
    while True:
        heard += await until_cursor(socket)
        for message in heard:
            if (run_id, status) == (message["data"].get("run_id"), message["data"].get("status")):
                return [*(one for one in heard if one is not message), message]


def told(messages: list[Message]) -> list[tuple[str, str]]:
    """Return kind and name of each message."""
    return [(one["kind"], one["data"].get("run_id") or one["data"]["flow_key"]) for one in messages]


def ended(run_id: str) -> Message:
    """Return a run's last event."""
    return {"event": "flow_completed", "run_id": run_id, "ts": BEGINNING_S + 9}


def listed(server: Server, run_id: str) -> None:
    """Wait until the lists have a run: a moment after its events are answered."""
    eventually(lambda: run_id in [item["run_id"] for item in server.json("/api/v1/runs")["items"]])


def send_span(server: Server, **fields: Any) -> None:
    """Send a finished span that names no run."""
    server.post("/v1/traces", span_request(a_span(**fields)).SerializeToString(), PROTOBUF).raise_for_status()


# R097
def test_a_list_too_comes_in_one_frame_for_who_asks_for_it(server: Server) -> None:
    cursor = server.json("/api/v1/runs")["cursor"]
    server.send(started("r1"), started("r2"))
    listed(server, "r1")
    listed(server, "r2")

    async def watch() -> list[Message]:
        async with watching(server, f"?cursor={cursor}&batch=1") as socket:
            frame: Any = await next_message(socket)
            return list(frame)

    together = asyncio.run(watch())

    assert {("run", "r1"), ("run", "r2")} == set(told(together[:-1]))
    assert "cursor" == together[-1]["kind"]


# R097
def test_a_list_tells_of_new_runs_and_of_those_that_change(server: Server) -> None:
    async def watch() -> tuple[list[Message], list[Message]]:
        async with watching(server) as socket:
            nothing = await until_cursor(socket)
            await asyncio.to_thread(server.send, started("r1"))
            begun = await until_run(socket, "r1", "RUNNING")
            await asyncio.to_thread(server.send, ended("r1"))
            over = await until_run(socket, "r1", "SUCCEEDED")
            return nothing + begun, over

    begun, over = asyncio.run(watch())

    assert [("run", "r1")] == told(begun)
    assert server.json("/api/v1/runs")["items"][0] == over[-1]["data"]
    assert begun[0]["version"] < over[-1]["version"] == over[-1]["data"]["version"]


# R097
def test_without_a_cursor_there_is_nothing_but_news(server: Server) -> None:
    server.send(started("old"))
    listed(server, "old")

    async def watch() -> list[Message]:
        async with watching(server) as socket:
            await asyncio.to_thread(server.send, started("new"))
            return await until_run(socket, "new", "RUNNING")

    assert [("run", "new")] == told(asyncio.run(watch()))


# R097
def test_kind_and_flow_are_respected(server: Server) -> None:
    async def watch(query: str) -> list[tuple[str, str]]:
        async with watching(server, query) as socket:
            await until_cursor(socket)
            suffix = query.strip("?").replace("=", "-")
            await asyncio.to_thread(send_span, server, trace_id=_trace_of(suffix))
            await asyncio.to_thread(server.send, {**started(f"other {suffix}"), "flow": "other"})
            await asyncio.to_thread(server.send, started(f"etl {suffix}"))
            await asyncio.to_thread(server.send, {**started(f"last {suffix}"), "flow": "etl"})
            name = _trace_of(suffix).hex() if "trace" in query else f"last {suffix}"
            heard = await until_run(socket, name, "SUCCEEDED" if "trace" in query else "RUNNING")
            return told(heard)

    assert {("run", "etl flow-etl"), ("run", "last flow-etl")} == set(asyncio.run(watch("?flow=etl")))
    assert {("run", f"{name} kind-run") for name in ("other", "etl", "last")} == set(asyncio.run(watch("?kind=run")))
    assert {("run", _trace_of("kind-trace").hex())} == set(asyncio.run(watch("?kind=trace")))


def _trace_of(text: str) -> bytes:
    return text.encode().rjust(16, b"\1")[-16:]


# R097
def test_a_group_holds_no_more_runs_than_the_list_does_and_those_are_the_newest(server: Server) -> None:
    cursor = server.json("/api/v1/runs")["cursor"]
    server.send(*({**started(f"r{number}"), "ts": BEGINNING_S + number} for number in range(20)))
    eventually(lambda: len(server.json("/api/v1/runs")["items"]) == 20)

    async def watch() -> list[Message]:
        async with watching(server, f"?limit=3&cursor={cursor}") as socket:
            return await until_cursor(socket)

    assert ["r19", "r18", "r17"] == [name for _, name in told(asyncio.run(watch()))]


# R021 R097
def test_a_trace_that_a_run_claims_is_gone_from_the_list_and_counts_for_the_run(server: Server) -> None:
    send_span(server, span_id=SPAN_ID, parent_span_id=PARENT_ID)
    listed(server, TRACE_ID.hex())
    cursor = server.json("/api/v1/runs")["cursor"]
    begun = pairs({"cicd.pipeline.run.id": "r1", "cicd.pipeline.name": "etl"})
    send_span(server, span_id=PARENT_ID, name="etl", attributes=begun)

    async def watch() -> list[Message]:
        async with watching(server, f"?html=1&cursor={cursor}") as socket:
            heard = await until_run(socket, "r1", "SUCCEEDED")
            while not any(one["kind"] == "gone" for one in heard):
                heard += await until_cursor(socket)
            return heard

    gone = next(one for one in asyncio.run(watch()) if one["kind"] == "gone")

    assert {"run_id": TRACE_ID.hex(), "source": "trace", "generation": 0} == gone["data"]
    assert gone["row"].startswith("r-")


# R097
def test_a_run_that_turns_out_to_be_of_another_flow_leaves_the_list_of_the_first(server: Server) -> None:
    """A task's event may name the flow before the run's own gives it a key."""

    async def watch() -> list[Message]:
        async with watching(server, "?flow=first&flows=1") as socket:
            await until_cursor(socket)
            await asyncio.to_thread(server.send, {**task("task_started", "r1", "load:1", 1), "flow": "first"})
            heard = await until_run(socket, "r1", "RUNNING")
            await asyncio.to_thread(server.send, {**started("r1"), "flow": "second", "flow_key": "second"})
            while {("gone", "r1"), ("gone", "first"), ("flow", "second")} - set(told(heard)):
                heard += await until_cursor(socket)
            return heard

    assert 1 == told(asyncio.run(watch())).count(("run", "r1"))


# R097 R099
def test_flows_are_told_with_their_counts(server: Server) -> None:
    server.send({**started("r1"), "flow": "etl"})
    listed(server, "r1")
    cursor = server.json("/api/v1/runs")["cursor"]

    async def watch() -> Message:
        async with watching(server, f"?flows=1&html=1&cursor={cursor}") as socket:
            await asyncio.to_thread(server.send, {**started("r2"), "flow": "etl"}, ended("r1"))
            while True:
                message = await next_message(socket)
                if message["kind"] == "flow" and message["data"]["run_counts"] == {"RUNNING": 1, "SUCCEEDED": 1}:
                    return message

    message = asyncio.run(watch())

    assert server.json("/api/v1/flows")["items"] == [message["data"]]
    assert "1 succeeded" in message["html"]


# R013 R097 R100
def test_a_run_that_goes_stale_in_silence_is_told_without_news() -> None:
    with running(stale_after_s=1) as server:
        server.send(started("r1"))
        listed(server, "r1")
        cursor = server.json("/api/v1/runs")["cursor"]

        async def watch() -> Message:
            async with watching(server, f"?cursor={cursor}") as socket:
                while True:
                    message = await next_message(socket)
                    if message["kind"] == "run" and message["data"]["hint"]:
                        return message

        assert "STALE" == asyncio.run(watch())["data"]["hint"]["kind"]


# R013 R097
def test_a_trace_whose_process_falls_silent_is_over_in_the_open_list(server: Server) -> None:
    words = {"flowspan.span.name": "job", "flowspan.span.parent_id": PARENT_ID.hex()}
    begun = {"event_name": "flowspan.span.begun", "trace_id": TRACE_ID, "span_id": SPAN_ID, "attributes": pairs(words)}
    beat = {"event_name": "flowspan.process.heartbeat", "attributes": pairs({"flowspan.process.interval_ms": 500})}
    now_ns = time.time_ns()
    send_span(server, span_id=PARENT_ID, name="GET /", start_time_unix_nano=now_ns, end_time_unix_nano=now_ns)
    _send_record(server, begun)
    eventually(lambda: ["SUCCEEDED"] == [item["status"] for item in server.json("/api/v1/runs")["items"]])
    cursor = _beat_until_listed_running(server, beat)

    async def watch() -> list[Message]:
        async with watching(server, f"?kind=trace&cursor={cursor}") as socket:
            return await until_run(socket, TRACE_ID.hex(), "SUCCEEDED")

    assert ("run", TRACE_ID.hex()) == told(asyncio.run(watch()))[-1]


def _beat_until_listed_running(server: Server, beat: dict[str, Any]) -> str:
    """Let the process beat until the list shows its trace as running; return the cursor of that list."""
    page: dict[str, Any] = {}

    def is_running() -> bool:
        _send_record(server, beat)
        page.update(server.json("/api/v1/runs"))
        return ["RUNNING"] == [item["status"] for item in page["items"]]

    eventually(is_running)
    return str(page["cursor"])


def _send_record(server: Server, record: dict[str, Any]) -> None:
    body = log_request(LogRecord(**record), service__instance__id="p1").SerializeToString()
    server.post("/v1/logs", body, PROTOBUF).raise_for_status()

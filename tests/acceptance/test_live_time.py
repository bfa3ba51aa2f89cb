"""Live: what time alone changes of a run, and what much news cost the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector.answers import Heard, RunNews, RunView
from collector.picture import RUNNING, Run, TaskRun
from tests.acceptance.test_live import Message, next_message, watching
from tests.in_process import PROTOBUF, Server, running
from tests.otlp_bodies import PARENT_ID, SPAN_ID, TRACE_ID, a_span, log_request, pairs, span_request
from viewer.delivery import FEW_ITEMS, Group
from viewer.extend import TemplateViewer
from viewer.messages import Scribe

TRACE = TRACE_ID.hex()
PROCESS = {"service__instance__id": "p1"}


@pytest.fixture
def quick() -> Iterator[Server]:
    """Return a server that looks at open runs every second."""
    with running(stale_after_s=1) as one:
        yield one


def beat(server: Server, interval_ms: int) -> None:
    """Say that process p1 lives, and when it will again."""
    record = LogRecord(event_name="flowspan.process.heartbeat", attributes=pairs({"flowspan.process.interval_ms": interval_ms}))
    server.post("/v1/logs", log_request(record, **PROCESS).SerializeToString(), PROTOBUF).raise_for_status()


def begin(server: Server) -> None:
    """Open a span of process p1."""
    attributes = pairs({"flowspan.span.name": "job", "flowspan.span.parent_id": PARENT_ID.hex()})
    record = LogRecord(event_name="flowspan.span.begun", trace_id=TRACE_ID, span_id=SPAN_ID, attributes=attributes)
    server.post("/v1/logs", log_request(record, **PROCESS).SerializeToString(), PROTOBUF).raise_for_status()


def end_root(server: Server) -> None:
    """Send the trace's finished root."""
    root = span_request(a_span(span_id=PARENT_ID, name="GET /"))
    server.post("/v1/traces", root.SerializeToString(), PROTOBUF).raise_for_status()


async def until(socket: Any, status: str, *hints: str | None) -> Message:
    """Return the first message that tells the run so, with one of these hints."""
    while True:
        message = await next_message(socket)
        data = message["data"]
        if message["kind"] == "flow" and status == data["status"] and (data["hint"] and data["hint"]["kind"]) in hints:
            return message


# R013 R100
def test_a_trace_whose_process_falls_silent_is_over_on_the_open_page(quick: Server) -> None:
    begin(quick)
    end_root(quick)
    beat(quick, 60_000)

    async def watch() -> None:
        async with watching(quick, TRACE) as socket:
            await until(socket, "RUNNING", None, "STALE")
            await asyncio.to_thread(beat, quick, 1)
            await until(socket, "SUCCEEDED", None)

    asyncio.run(watch())


# R013 R100
def test_a_lost_run_whose_process_is_heard_again_is_not_lost_on_the_open_page(quick: Server) -> None:
    begin(quick)
    beat(quick, 1)

    async def watch() -> None:
        async with watching(quick, TRACE) as socket:
            await until(socket, "RUNNING", "LOST")
            await asyncio.to_thread(beat, quick, 60_000)
            await until(socket, "RUNNING", None, "STALE")

    asyncio.run(watch())


def test_a_page_that_shows_another_state_is_told_at_once(server: Server) -> None:
    server.send({"event": "flow_started", "run_id": "r1"})
    cursor = server.json("/api/v1/runs/r1")["cursor"]

    async def come_back() -> Message:
        async with watching(server, "r1", f"?cursor={cursor}&seen=RUNNING LOST since".replace(" ", "%20")) as socket:
            return await next_message(socket)

    assert "RUNNING" == asyncio.run(come_back())["data"]["status"]


class CountingViewer(TemplateViewer):
    """Notes in which threads rows are rendered."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.threads: list[int] = []

    def render(self, template: str, **context: object) -> str:
        """Render as usual."""
        self.threads.append(threading.get_ident())
        return super().render(template, **context)


# R091
def test_much_news_are_written_once_for_all_and_off_the_event_loop() -> None:
    tasks = [TaskRun(str(number), "load", "load", RUNNING) for number in range(FEW_ITEMS + 1)]
    view = RunView(Run(bytes(16), "flowspan", "r1", 0, "run", RUNNING), tasks, 7, "c", Heard())
    viewer = CountingViewer()
    scribe, news = Scribe(viewer, 3600), RunNews(view, tasks, [])

    async def write_for_two() -> list[Group]:
        return await asyncio.gather(*(scribe.write_news(news, with_html=True) for _ in range(2)))

    one, other = asyncio.run(write_for_two())

    assert one is other
    assert len(tasks) + 1 == len(viewer.threads)
    assert threading.get_ident() not in viewer.threads


def test_many_task_runs_and_a_large_trace_are_answered_whole(server: Server) -> None:
    names = [f"load:{number:03}" for number in range(FEW_ITEMS + 1)]
    server.send(*({"event": "task_started", "run_id": "r1", "task": "load", "node": name, "ts": 1_763_467_200} for name in names))
    (trace_id,) = server.json("/api/v1/runs/r1")["trace_ids"]

    assert names == [item["id"] for item in server.json("/api/v1/runs/r1/tasks")["items"]]
    assert {"resourceSpans", "resourceLogs"} >= server.json(f"/api/v1/traces/{trace_id}").keys()

"""Live lists for those who were away, come by another replica, read slowly or not at all; and the same as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from random import randbytes

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collector.questions import LARGEST_PAGE
from tests.acceptance.test_live import Message, following, next_message, started, task
from tests.acceptance.test_live_lists import ended, listed, told, until_cursor, until_run, watching
from tests.in_process import PATIENCE_S, Server, eventually, running

NEWEST = "?kind=all&limit=1000"
# News that may wait: who reads has room for some on a busy machine too, who does not is behind soon.
FEW = 5


# R089 R097
def test_who_was_away_gets_what_changed_since_its_list_and_nothing_it_has(server: Server) -> None:
    server.send(started("old"))
    listed(server, "old")
    page = server.json("/api/v1/runs")
    server.send(started("new"))
    listed(server, "new")

    async def come_back(cursor: str) -> tuple[list[Message], str]:
        async with watching(server, f"?cursor={cursor}") as socket:
            missed = await until_cursor(socket)
            await asyncio.to_thread(server.send, started("newer"))
            last = [await next_message(socket) for _ in range(2)]
            return missed, last[-1]["data"]["cursor"]

    missed, cursor = asyncio.run(come_back(page["cursor"]))
    again, _ = asyncio.run(come_back(cursor))

    assert [("run", "new")] == told(missed)
    assert [] == again


# R089 R097
def test_a_page_and_its_socket_together_show_every_run_as_it_ends(server: Server) -> None:
    """The page is read while events pour in, and lists lag behind what is committed: what it lacks comes by the socket."""
    names = [f"r{number}" for number in range(60)]

    async def watch() -> dict[str, str]:
        pouring = asyncio.create_task(asyncio.to_thread(_pour, server, names))
        await asyncio.to_thread(listed, server, names[3])
        page = await asyncio.to_thread(server.json, "/api/v1/runs?limit=1000")
        seen = {item["run_id"]: (item["version"], item["status"]) for item in page["items"]}
        async with watching(server, f"{NEWEST}&cursor={page['cursor']}") as socket:
            while len(seen) < len(names) or {"SUCCEEDED"} != {status for _, status in seen.values()}:
                _note(seen, await next_message(socket))
        await pouring
        return {name: status for name, (_, status) in seen.items()}

    assert dict.fromkeys(names, "SUCCEEDED") == asyncio.run(watch())


def _pour(server: Server, names: list[str]) -> None:
    for name in names:
        server.send(started(name), task("task_started", name, "load:1", 1))
        server.send(task("task_ok", name, "load:1", 2), ended(name))


# R089 R092 R097
def test_a_page_and_a_socket_of_one_replica_show_what_another_takes(postgres_url: str) -> None:
    """Each folds what it comes upon; neither hears of the other's folds but by the store."""
    names = [f"r{number}" for number in range(20)]
    with running(database_url=postgres_url) as taking, running(database_url=postgres_url) as shown:

        async def watch() -> dict[str, str]:
            cursor = (await asyncio.to_thread(shown.json, "/api/v1/runs"))["cursor"]
            async with watching(shown, f"{NEWEST}&cursor={cursor}") as socket:
                pouring = asyncio.create_task(asyncio.to_thread(_pour, taking, names))
                seen: dict[str, tuple[int, str]] = {}
                while len(seen) < len(names) or {"SUCCEEDED"} != {status for _, status in seen.values()}:
                    _note(seen, await next_message(socket))
                await pouring
                return {name: status for name, (_, status) in seen.items()}

        assert dict.fromkeys(names, "SUCCEEDED") == asyncio.run(watch())


def _note(seen: dict[str, tuple[int, str]], message: Message) -> None:
    """Keep of each run the message with the greatest version."""
    if message["kind"] == "run":
        name, shown = message["data"]["run_id"], (message["version"], message["data"]["status"])
        seen[name] = max(seen.get(name, shown), shown)


# R089 R097
def test_more_changes_than_are_sent_again_ask_for_a_new_list(server: Server) -> None:
    cursor = server.json("/api/v1/runs")["cursor"]
    server.send(*(started(f"r{number}") for number in range(LARGEST_PAGE + 1)))
    listed_all = f"/api/v1/runs?limit={LARGEST_PAGE}"
    eventually(lambda: server.json(listed_all)["next_cursor"] is not None)

    async def come_back(cursor: str) -> Message:
        async with watching(server, f"?cursor={cursor}") as socket:
            return await next_message(socket)

    assert [{"kind": "resync"}] * 2 == [asyncio.run(come_back(one)) for one in (cursor, "nonsense")]


# R089 R097
def test_a_reader_that_does_not_keep_up_is_told_to_begin_again_and_costs_nobody_else_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewer.delivery.SEND_TIMEOUT_S", PATIENCE_S)  # it stands still until its news have overflowed
    with running(socket_queue=FEW) as server:

        async def dawdle() -> tuple[Message, list[Message]]:
            async with following(server, "/ws/runs") as slow, following(server, "/ws/runs?flow=small") as quick:
                await until_cursor(slow)
                await until_cursor(quick)
                for number in range(400):
                    await asyncio.to_thread(server.send, {**started(f"r{number}"), "params": randbytes(250_000).hex()})
                    if server.metric("resyncs_total"):
                        break
                await asyncio.to_thread(server.send, {**started("small"), "flow": "small"})
                message = await next_message(slow)
                while message["kind"] != "resync":
                    message = await next_message(slow)
                return message, await until_run(quick, "small", "RUNNING")

        slow, quick = asyncio.run(dawdle())

        assert "resync" == slow["kind"]
        assert [("run", "small")] == told(quick)


# R091 R097
def test_lists_nobody_watches_cost_no_reads(server: Server) -> None:
    async def watch() -> None:
        async with watching(server) as socket:
            await until_cursor(socket)

    asyncio.run(watch())
    eventually(lambda: server.metric("sockets", kind="ws") == 0)
    server.send(started("r1"))
    listed(server, "r1")

    assert (set(), None) == (server.collector.list_tail._watchers, server.collector.list_tail._cursor)


@pytest.mark.parametrize("query", ["?kind=runs", "?limit=0", "?limit=1001", "?limit=x"])
def test_a_list_that_cannot_be_is_refused(server: Server, query: str) -> None:
    async def watch() -> int:
        async with watching(server, query) as socket:
            try:
                await next_message(socket)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0
        return 0

    assert (400, 4400) == (server.get(f"/sse/runs{query}").status_code, asyncio.run(watch()))


# R148
def test_a_list_asks_for_a_key_like_everything_else() -> None:
    with running(server_api_keys=("a-key",)) as server:

        async def watch(query: str) -> list[Message] | None:
            try:
                async with watching(server, query) as socket:
                    return await until_cursor(socket)
            except InvalidStatus:
                return None

        assert (None, []) == (asyncio.run(watch("")), asyncio.run(watch("?api_key=a-key")))
        assert 401 == server.get("/sse/runs").status_code


# --- server-sent events ----------------------------------------------------------------------------------------------------------------


@contextmanager
def streaming(server: Server, query: str = "", **headers: str) -> Iterator[Iterator[str]]:
    """Open a list's stream; its lines."""
    answer: httpx.Response
    with server.client.stream("GET", f"/sse/runs{query}", headers=headers) as answer:
        assert "text/event-stream" == answer.headers["content-type"].partition(";")[0]
        yield answer.iter_lines()


def next_group(lines: Iterator[str]) -> tuple[list[Message], str]:
    """Return the messages up to the next cursor, and the id of the event that brought it."""
    group: list[Message] = []
    event_id = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            event_id = value
        elif name == "data":
            message = json.loads(value)
            if message["kind"] == "cursor":
                assert event_id == message["data"]["cursor"]
                return group, event_id
            group.append(message)
    raise AssertionError("the stream ended")


# R090 R097
def test_server_sent_events_say_the_same_and_go_on_from_the_last_event_id(server: Server) -> None:
    with streaming(server) as lines:
        _, first_id = next_group(lines)
        server.send(started("r1"))
        news, news_id = next_group(lines)
    server.send(started("r2"))
    listed(server, "r2")
    with streaming(server, **{"Last-Event-ID": news_id}) as lines:
        missed, _ = next_group(lines)
    with streaming(server, "?cursor=nonsense", **{"Last-Event-ID": first_id}) as lines:
        whole, _ = next_group(lines)

    assert ([("run", "r1")], [("run", "r2")]) == (told(news), told(missed))
    assert {"r1", "r2"} == {name for _, name in told(whole)}


# R090
def test_a_silent_stream_shows_that_it_lives() -> None:
    with running(stale_after_s=1) as server, streaming(server) as lines:
        assert ": keep-alive" == next(line for line in lines if line.startswith(":"))

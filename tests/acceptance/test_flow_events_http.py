"""Flow events over HTTP: four shapes of a body, a verdict for each event, and repeats that change nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import START_NS, at, event
from tests.fragile_storage import fragile_server
from tests.in_process import GZIP, JSON, Server, eventually, read_answer, running, unfinished, zipped

NDJSON = {"Content-Type": "application/x-ndjson"}
STARTED = event("flow_started", 0, flow="etl")
TASK = event("task_started", 10, task="load", node="load:3", flow="etl")
START_ISO = "2026-11-18T11:06:40.000000Z"

# What a whole run says, with every kind of event that is counted somewhere.
RUN: list[dict[str, Any]] = [
    {"event": "flow_started", "flow": "etl", "tasks": 2},
    {"event": "task_started", "task": "load", "node": "load:1"},
    {"event": "task_log", "node": "load:1", "level": "WARNING", "message": "slow"},
    {"event": "task_log", "node": "load:1", "level": "WARNING", "message": "slow"},
    {"event": "task_retry", "task": "load", "attempt": 1, "max": 3, "error": "OSError('gone')"},
    {"event": "task_ok", "task": "load", "node": "load:1", "duration_ms": 5},
    {"event": "task_started", "task": "save", "node": "save:2"},
    {"event": "task_err", "task": "save", "node": "save:2", "duration_ms": 5, "error": "ValueError('x')"},
    {"event": "task_log", "level": "INFO", "message": "over"},
    {"event": "flow_paused"},
    {"event": "flow_resumed"},
    {"event": "flow_completed", "flow": "etl", "tasks": 2},
]


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """Return a server that the tests of this file share: each sends runs of its own."""
    with running(max_body_bytes=8_000_000) as one:
        yield one


def run_of(server: Server, run_id: str) -> Any:
    """Return all that the API tells of a run, without the moment it was read at."""
    run = server.json(f"/api/v1/runs/{run_id}")
    del run["version"], run["cursor"]
    return run, server.json(f"/api/v1/runs/{run_id}/tasks")["items"], server.json(f"/api/v1/runs/{run_id}/logs")["items"]


# --- shapes ------------------------------------------------------------------------------------------------------------------------------


# R001 R004 R006
@pytest.mark.parametrize("path", ["/api/v1/events", "/api/events", "/api/v1/events/"])
@pytest.mark.parametrize(
    ("body", "kind", "tasks"),
    [
        (json.dumps(STARTED), JSON, 0),
        (json.dumps([STARTED, TASK]), JSON, 1),
        (json.dumps({"events": [STARTED, TASK]}), JSON, 1),
        (json.dumps(STARTED) + "\n" + json.dumps(TASK) + "\n", NDJSON, 1),
        (json.dumps(STARTED) + "\r\n\n" + json.dumps(TASK), JSON, 1),
        ("\ufeff" + json.dumps([STARTED, TASK]), {"Content-Type": "Application/JSON; charset=utf-8"}, 1),
    ],
    ids=["object", "array", "events", "ndjson", "lines as json", "with a mark"],
)
def test_a_body_may_have_four_shapes(path: str, shared: Server, body: str, kind: dict[str, str], tasks: int) -> None:
    run_id = f"shape {hash((path, body))}"

    answer = shared.post(path, body.replace('"r1"', json.dumps(run_id)), kind)

    assert (200, {"ok": True}) == (answer.status_code, answer.json())
    assert tasks == shared.json(f"/api/v1/runs/{run_id}")["tasks_reported"]


# R007
@pytest.mark.parametrize("coding", ["gzip", "X-GZIP"])
def test_events_may_be_gzipped(shared: Server, coding: str) -> None:
    answer = shared.post("/api/v1/events", zipped(json.dumps([STARTED, TASK])), JSON, {"Content-Encoding": coding})

    assert {"ok": True} == answer.json()


def test_a_line_of_ndjson_may_hold_every_character_that_json_allows(server: Server) -> None:
    lines = [event("task_log", place, message=f"a{mark}b", level="INFO") for place, mark in enumerate("\u2028\u2029\x85\x0b\x0c\x1c")]

    answer = server.post("/api/v1/events", "\n".join(json.dumps(line, ensure_ascii=False) for line in lines), NDJSON)

    assert {"ok": True} == answer.json()


# R003 R038
def test_a_payload_of_five_mebibytes_is_kept_whole(shared: Server) -> None:
    payload = {"text": "x" * (5 * 1024 * 1024)}

    answer = shared.send(event("task_log", 0, run_id="large", node="a:1", level="INFO", message="m", payload=payload))
    (line,) = shared.json("/api/v1/runs/large/logs")["items"]

    assert {"ok": True} == answer.json()
    assert payload == line["payload"]


# --- verdicts ----------------------------------------------------------------------------------------------------------------------------


# R006
def test_each_bad_event_is_named_by_its_place_and_the_good_are_kept(shared: Server) -> None:
    bad = [{"event": "task_started", "task": "a", "node": "a:1"}, {"event": "no such"}, 7]

    answer = shared.send(event("flow_started", 0, run_id="kept"), *bad, event("flow_completed", 9, run_id="kept"))

    verdict = answer.json()
    assert (200, False, 2) == (answer.status_code, verdict["ok"], verdict["accepted"])
    assert [1, 2, 3] == [one["index"] for one in verdict["rejected"]]
    assert "run_id is missing" in verdict["rejected"][0]["error"]
    assert "SUCCEEDED" == shared.json("/api/v1/runs/kept")["status"]


def test_a_bad_line_costs_the_other_lines_nothing(shared: Server) -> None:
    body = "\n".join([json.dumps(STARTED), '{"event": ', "[]", json.dumps(TASK)])

    verdict = shared.post("/api/v1/events", body, NDJSON).json()

    assert (2, [1, 2]) == (verdict["accepted"], [one["index"] for one in verdict["rejected"]])


# R015
@pytest.mark.parametrize(
    "body", ['{"event": "flow_started"}', "[{}]", "[1, null]", '{"events": [{"event": "x", "run_id": "r"}]}', '"x"', "7", "null"]
)
def test_none_usable_is_400_in_the_same_shape(shared: Server, body: str) -> None:
    answer = shared.post("/api/v1/events", body, JSON)

    assert (400, False, 0) == (answer.status_code, answer.json()["ok"], answer.json()["accepted"])
    assert answer.json()["rejected"][0]["error"]


# R015
@pytest.mark.parametrize(
    ("body", "more"),
    [
        (b"", {}),
        (b"{", {}),
        (b"\xff\xfe", {}),
        (b"[" * 100_000, {}),
        (b"no gzip", GZIP),
        (zipped("{}")[:-9], GZIP),
        (b'{"run_id": ' + b"9" * 5000 + b"}", {}),
    ],
    ids=["empty", "half", "no text", "deep", "no gzip", "cut gzip", "huge number"],
)
def test_what_cannot_be_read_is_400_with_the_reason(shared: Server, body: bytes, more: dict[str, str]) -> None:
    answer = shared.post("/api/v1/events", body, JSON, more)

    assert (400, False, 0, []) == (answer.status_code, *(answer.json()[key] for key in ("ok", "accepted", "rejected")))
    assert answer.json()["error"]


def test_an_empty_list_is_no_error(shared: Server) -> None:
    assert (200, {"ok": True}) == ((answer := shared.send()).status_code, answer.json())


@pytest.mark.parametrize("kind", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}])
def test_another_media_type_is_415_so_that_no_foreign_page_can_send(shared: Server, kind: dict[str, str]) -> None:
    answer = shared.post("/api/v1/events", json.dumps(STARTED), kind)

    assert 415 == answer.status_code
    assert "application/json" in answer.json()["error"]


def test_an_unknown_encoding_is_415_and_another_method_405(shared: Server) -> None:
    assert 415 == shared.post("/api/v1/events", b"x", JSON, {"Content-Encoding": "br"}).status_code
    assert (405, "POST") == ((answer := shared.get("/api/v1/events")).status_code, answer.headers["allow"])


# R007
@pytest.mark.parametrize(("body", "more"), [(b" " * 8_000_001, {}), (zipped(" " * 8_000_001), GZIP)])
def test_a_body_too_large_is_413_inflated_or_not(shared: Server, body: bytes, more: dict[str, str]) -> None:
    assert 413 == shared.post("/api/v1/events", body, JSON, more).status_code


# R146
def test_a_full_queue_is_429_until_there_is_room() -> None:
    with running(queue_bytes=4096, retry_after_s=7) as server:
        with unfinished(server, "application/x-protobuf", b"x" * 4000, length=4001):
            eventually(lambda: server.metric("queue_bytes") >= 4000)
            refused = server.send(STARTED, TASK)
        eventually(lambda: server.metric("queue_bytes") == 0)
        taken = server.send(STARTED, TASK)

    assert (429, "7", False) == (refused.status_code, refused.headers["retry-after"], refused.json()["ok"])
    assert 200 == taken.status_code


# R050
def test_a_store_that_is_down_is_503_and_recovers_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fragile_server(tmp_path, monkeypatch, retry_after_s=3) as (server, weather):
        weather.down = True
        refused = server.send(STARTED)
        weather.down = False
        taken = server.send(STARTED)

    assert (503, "3", False) == (refused.status_code, refused.headers["retry-after"], refused.json()["ok"])
    assert {"ok": True} == taken.json()


def test_a_body_that_does_not_come_is_408() -> None:
    with running(body_timeout_s=0.05) as server, unfinished(server, "application/json", b"{", length=9, path="/api/v1/events") as sender:
        answer = read_answer(sender)

    assert 408 == answer.status_code
    assert answer.json()["error"]


# --- repeats -----------------------------------------------------------------------------------------------------------------------------


# R010
@pytest.mark.parametrize("timed", [True, False])
def test_events_with_an_id_sent_again_change_nothing(shared: Server, timed: bool) -> None:
    run_id = f"again {timed}"
    events = [one | {"run_id": run_id, "event_id": f"e{place}"} | ({"ts": at(place)} if timed else {}) for place, one in enumerate(RUN)]
    shared.send(*events)
    before = run_of(shared, run_id)

    shared.send(*events)
    shared.send(*reversed(events))
    for one in events:
        shared.send(one)

    assert before == run_of(shared, run_id)
    assert {"SUCCEEDED": 1, "FAILED": 1} == before[0]["counts"]
    assert 2 == sum(line["message"] == "slow" for line in before[2])


# R010
def test_a_repeat_does_not_raise_the_lists_counters(server: Server) -> None:
    events = [one | {"run_id": "r", "event_id": f"e{place}"} for place, one in enumerate(RUN)]
    for _ in range(3):
        server.send(*events)

    eventually(lambda: [flow["run_counts"] for flow in server.json("/api/v1/flows")["items"]] == [{"FAILED": 1}])

    (run,) = server.json("/api/v1/runs")["items"]
    assert ({"SUCCEEDED": 1, "FAILED": 1}, 2) == (run["counts"], run["tasks_total"])


# --- times -------------------------------------------------------------------------------------------------------------------------------


# R002 R012
@pytest.mark.parametrize(
    "ts",
    [
        START_NS,
        START_NS // 10**3,
        START_NS // 10**6,
        START_NS // 10**9,
        START_NS / 10**9,
        str(START_NS // 10**9),
        "2026-11-18T11:06:40Z",
        "2026-11-18T11:06:40",
        "2026-11-18 12:06:40.000+01:00",
    ],
)
def test_a_time_may_have_any_usual_form(shared: Server, ts: object) -> None:
    shared.send({"event": "flow_started", "run_id": f"ts {ts!r}", "ts": ts})

    assert START_ISO == shared.json(f"/api/v1/runs/ts {ts!r}".replace("+", "%2B"))["started_at"]


# R012
@pytest.mark.parametrize("ts", [None, "", "yesterday", -1, 10**30, float("nan"), True, {}, "9999-99-99T00:00:00Z"])
def test_without_a_usable_time_the_receipt_stands_in(shared: Server, ts: object) -> None:
    run_id = f"odd {hash(repr(ts))}"

    answer = shared.send({"event": "flow_started", "run_id": run_id, "ts": ts})

    assert {"ok": True} == answer.json()
    assert "2026" <= shared.json(f"/api/v1/runs/{run_id}")["started_at"] < "2100"

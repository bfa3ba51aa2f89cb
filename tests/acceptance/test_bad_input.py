"""What hostile and broken senders get: never a 5xx, never a lost neighbour, never a page that breaks."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.in_process import GZIP, JSON, PROTOBUF, Server, eventually, running, zipped
from tests.otlp_bodies import START_NS, a_span, as_json, full_logs, full_traces, log_request, pairs, span_request

PATHS = ("/v1/traces", "/v1/logs", "/v1/metrics", "/api/v1/events", "/api/events")
LAST_NS = 2**64 - 1


def nested(depth: int, innermost: Any = 1) -> Any:
    """Return a list in a list in a list."""
    for _ in range(depth):
        innermost = [innermost]
    return innermost


HOSTILE_NAMES = [
    "",
    " ",
    ".",
    "..",
    "../../etc/passwd",
    "a/b?c=d#e&f;g",
    "%2F%00%",
    "nul \0 inside",
    "lone \ud800 surrogate",
    "pair \U0001f600",
    "line\nend\rand\u2028more",
    "\x1b[31m red",
    "\u202eright to left",
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "'; DROP TABLE spans; --",
    "javascript:alert(1)",
    "tasks",
    "a/tasks",
    "a/logs",
    "x" * 5000,
    "ü" * 600,
]

HOSTILE_VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    -(10**30),
    2**63,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "\0",
    "\ud800",
    [],
    {},
    [None],
    {"": {"\0": "\ud800"}},
    {"$double": "x"},
    {"$bytes": "?"},
    nested(60),
    nested(900),
    "y" * 100_000,
]

EVENTS = ["flow_started", "flow_completed", "task_started", "task_ok", "task_err", "task_log", "task_retry", "middleware_error"]
FIELDS = ["ts", "flow", "task", "node", "tasks", "duration_ms", "error", "level", "message", "payload", "event_id", "source"]
FIELDS += [
    "generation",
    "attempt",
    "max",
    "params",
    "metadata",
    "tags",
    "priority",
    "upstream",
    "run_in",
    "description",
    "flow_key",
    "flow_id",
    "status",
]


@pytest.fixture(scope="module")
def attacked() -> Iterator[Server]:
    """Return a server that gets everything below; each test asks whether it still stands."""
    with running() as one:
        yield one


def assert_stands(server: Server) -> None:
    """Every page and every API answer about everything that was stored is there, and says nothing it should not."""
    server.send({"event": "flow_started", "run_id": "the last", "flow": "the last"})
    eventually(lambda: server.get("/api/v1/flows/the%20last").status_code == 200)
    runs = every(server, "/api/v1/runs?limit=1000&kind=all")
    flows = every(server, "/api/v1/flows?limit=1000")
    assert runs and flows
    for path in ("/flows", "/runs", "/runs?kind=all", "/runs?kind=trace"):
        assert_harmless(server, path)
    for flow in flows:
        assert 200 == server.get_as_written(f"/api/v1/flows/{quote(flow['flow_key'], safe='')}").status_code
    for run in runs:
        twin = f"source={quote(run['source'])}&generation={run['generation']}"
        assert_harmless(server, f"/runs/{quote(run['run_id'], safe='')}?{twin}")
        for ending in ("", "/tasks", "/logs"):
            assert 200 == server.get_as_written(f"/api/v1/runs/{quote(run['run_id'], safe='')}{ending}?{twin}").status_code
        for trace_id in run["trace_ids"]:
            assert 200 == server.get(f"/api/v1/traces/{trace_id}").status_code


def every(server: Server, path: str) -> list[Any]:
    """Return the items of all pages of a list."""
    page = server.json(path)
    items: list[Any] = page["items"]
    while page["next_cursor"]:
        page = server.json(f"{path}&cursor={quote(page['next_cursor'])}")
        items += page["items"]
    return items


def assert_harmless(server: Server, path: str) -> None:
    answer = server.get_as_written(path)
    assert 200 == answer.status_code, path
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    assert "\0" not in answer.text


# R015 R109
def test_hostile_names_of_runs_flows_and_tasks_are_stored_harmless_and_shown(server: Server) -> None:
    events = [
        {"event": kind, "run_id": name, "flow": name, "task": name, "node": name, "error": name, "message": name, "level": name, "tags": [name]}
        for name in HOSTILE_NAMES
        for kind in ("flow_started", "task_started", "task_log", "task_err", "flow_completed")
    ]

    answer = server.send(*events)

    without_run_id = 5
    assert (200, len(events) - without_run_id) == (answer.status_code, answer.json()["accepted"])
    assert_stands(server)


# R015 R109
def test_hostile_names_by_otlp_are_stored_harmless_and_shown(server: Server) -> None:
    names = [name for name in HOSTILE_NAMES if "\ud800" not in name]
    spans = [
        a_span(
            trace_id=bytes([place + 1] * 16),
            name=name,
            trace_state=name,
            status=Status(code=Status.STATUS_CODE_ERROR, message=name),
            attributes=pairs({"cicd.pipeline.run.id": name, "cicd.pipeline.name": name, "flowspan.source": name, name or "k": name}),
            events=[Span.Event(time_unix_nano=START_NS, name=name, attributes=pairs({"exception.message": name}))],
        )
        for place, name in enumerate(names)
    ]
    plain = [a_span(trace_id=bytes([place + 101] * 16), name=name) for place, name in enumerate(names)]

    answer = server.post("/v1/traces", span_request(*spans, *plain, service__name="<script>alert(1)</script>").SerializeToString(), PROTOBUF)

    assert (200, b"") == (answer.status_code, answer.content)
    assert_stands(server)


# R015
@pytest.mark.parametrize("kind", EVENTS)
def test_any_value_in_any_field_of_an_event_is_kept_or_refused(attacked: Server, kind: str) -> None:
    whole = {"event": kind, "run_id": f"v {kind}", "flow": "f", "task": "t", "node": "t:1"}
    events = [whole | {field: value} for field in FIELDS for value in HOSTILE_VALUES]

    answer = attacked.send(*events)

    verdict = answer.json()
    assert 200 == answer.status_code, answer.text[:500]
    assert len(events) == verdict.get("accepted", len(events)) + len(verdict.get("rejected", []))


# R015
def test_after_any_value_in_any_field_everything_is_still_shown(server: Server) -> None:
    for kind in EVENTS:
        whole = {"event": kind, "flow": "f", "task": "t"}
        values = list(enumerate(HOSTILE_VALUES))
        server.send(*(whole | {"node": f"{field}:1", field: value, "run_id": f"v {place}"} for field in FIELDS for place, value in values))

    assert_stands(server)


# R015
@pytest.mark.parametrize("place", ["run_id", "event", "task", "source"])
def test_a_value_that_is_no_name_names_nothing(attacked: Server, place: str) -> None:
    whole = {"event": "task_started", "run_id": "r", "task": "t"}

    for value in HOSTILE_VALUES:
        assert attacked.send(whole | {place: value}).status_code in (200, 400)


ODD_SPANS = {
    "no ids": a_span(trace_id=b"", span_id=b""),
    "zero ids": a_span(trace_id=bytes(16), span_id=bytes(8)),
    "long ids": a_span(trace_id=bytes(range(32)), span_id=bytes(range(16))),
    "last time": a_span(start_time_unix_nano=LAST_NS, end_time_unix_nano=LAST_NS),
    "beyond int64": a_span(start_time_unix_nano=2**63, end_time_unix_nano=2**63),
}
ODD_BUT_USABLE = {
    "last usable time": a_span(trace_id=b"1" * 16, start_time_unix_nano=2**63 - 1, end_time_unix_nano=2**63 - 1),
    "no times": a_span(trace_id=b"2" * 16, start_time_unix_nano=0, end_time_unix_nano=0),
    "end before start": a_span(trace_id=b"3" * 16, start_time_unix_nano=START_NS, end_time_unix_nano=START_NS - 10**9),
    "odd parent": a_span(trace_id=b"4" * 16, parent_span_id=b"odd"),
    "own parent": a_span(trace_id=b"5" * 16, parent_span_id=a_span().span_id),
    "twin keys": a_span(trace_id=b"6" * 16, attributes=[*pairs({"a": 1}), *pairs({"a": 2}), *pairs({"": 3})]),
    "unknown kinds": a_span(trace_id=b"7" * 16, kind=99, status=Status(code=77), flags=2**32 - 1),  # type: ignore[arg-type]  # open enums
    "deep value": a_span(trace_id=b"8" * 16, attributes=pairs({"deep": nested(40)})),
    "five megabytes": a_span(trace_id=b"9" * 16, name="n" * 5_000_000, attributes=pairs({"v": "v" * 5_000_000})),
    "odd link": a_span(trace_id=b"a" * 16, links=[Span.Link(trace_id=b"odd", span_id=b"odd"), Span.Link()]),
    "odd event": a_span(trace_id=b"b" * 16, events=[Span.Event(time_unix_nano=LAST_NS), Span.Event()]),
    "first second": a_span(trace_id=b"c" * 16, start_time_unix_nano=1, end_time_unix_nano=2),
    "odd result": a_span(
        trace_id=b"d" * 16, attributes=pairs({"cicd.pipeline.run.id": 7, "cicd.pipeline.result": [1], "flowspan.attempt": "x"})
    ),
    "odd process": a_span(trace_id=b"e" * 16, end_time_unix_nano=0),
}


# R015
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_span_that_cannot_be_stored_costs_its_neighbours_nothing(server: Server, encoding: str) -> None:
    request = span_request(*ODD_SPANS.values(), *ODD_BUT_USABLE.values())
    body, kind = (request.SerializeToString(), PROTOBUF) if encoding == "protobuf" else (json.dumps(as_json(request)), JSON)

    answer = server.post("/v1/traces", zipped(body), kind, GZIP)

    assert 200 == answer.status_code
    assert len(ODD_BUT_USABLE) == server.metric("stored_total", signal="traces")
    assert len(ODD_SPANS) == server.metric("refused_total", signal="traces", reason="record")
    assert_stands(server)


# R015 R021
def test_an_odd_log_record_is_kept(server: Server) -> None:
    records = [
        LogRecord(),
        LogRecord(trace_id=b"odd", span_id=b"odd", severity_number=99),  # type: ignore[arg-type]  # open enums
        LogRecord(time_unix_nano=LAST_NS, observed_time_unix_nano=LAST_NS, trace_id=b"t" * 16),
        LogRecord(severity_text="\0", event_name="\0", trace_id=b"t" * 16),
        LogRecord(trace_id=b"t" * 16, span_id=b"s" * 8, attributes=pairs({"deep": nested(40), "\0": float("nan")})),
    ]

    answer = server.post("/v1/logs", log_request(*records).SerializeToString(), PROTOBUF)

    assert (200, b"") == (answer.status_code, answer.content)
    assert 5 == server.metric("stored_total", signal="logs")
    assert_stands(server)


# R015
@pytest.mark.parametrize("path", PATHS)
def test_random_bytes_and_mutated_bodies_are_never_a_server_error(attacked: Server, path: str) -> None:
    chance = random.Random(path)
    bodies = [full_traces().SerializeToString(), full_logs().SerializeToString(), json.dumps(as_json(full_traces())).encode()]
    bodies += [json.dumps(as_json(full_logs())).encode(), b'[{"event":"task_ok","run_id":"r","task":"t","ts":1}]']

    for _ in range(20):
        body = mutated(chance, chance.choice(bodies))
        for kind in (PROTOBUF, JSON, PROTOBUF | GZIP, JSON | GZIP):
            assert attacked.post(path, body, kind).status_code < 500
        assert attacked.post(path, zipped(body), chance.choice((PROTOBUF, JSON)), GZIP).status_code < 500

    assert 200 == attacked.get("/healthz").status_code


def mutated(chance: random.Random, body: bytes) -> bytes:
    """Change, cut or double a few places."""
    changed = bytearray(body)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(changed))
        changed[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        changed = changed or bytearray(b"\0")
    return bytes(changed)


# R015
@pytest.mark.parametrize(
    "wrong", ["7", '"x"', "[]", "{}", "null", "true", "1e400", "[[[]]]", '[{"scopeSpans": 7}]', '[{"scopeSpans": [{"spans": [7]}]}]']
)
@pytest.mark.parametrize("key", ["resourceSpans", "resourceLogs", "resourceMetrics"])
def test_json_of_wrong_types_is_never_a_server_error(attacked: Server, key: str, wrong: str) -> None:
    for path in PATHS:
        assert attacked.post(path, f'{{"{key}": {wrong}}}', JSON).status_code < 500


# R015
@pytest.mark.parametrize(
    "path",
    [
        "/runs/%00",
        "/runs/%ff%fe",
        "/runs/none",
        "/runs/?kind=odd",
        "/runs?cursor=odd",
        "/flows?cursor=%00",
        "/runs/none?generation=-1",
        "/runs/none?generation=99999999999999999999",
        "/api/v1/runs?limit=0",
        "/api/v1/runs?limit=99999999999999999999999",
        "/api/v1/runs?cursor=" + "A" * 5000,
        "/api/v1/runs/none?generation=2147483648",
        "/api/v1/runs/none/logs?level=%00&task=%00&cursor=x",
        "/api/v1/flows/%00",
        "/api/v1/flows/" + "x" * 5000,
        "/api/v1/traces/odd",
        "/api/v1/traces/" + "g" * 32,
        "/sse/runs/%00none",
        "/sse/runs/none?version=x",
        "/login?next=%00",
        "/" + "%2e%2e/" * 50,
    ],
)
def test_an_address_that_means_nothing_is_never_a_server_error(attacked: Server, path: str) -> None:
    assert attacked.get(path).status_code < 500


# R015
def test_after_all_of_it_nothing_failed_by_a_fault_of_ours(attacked: Server) -> None:
    assert 0 == attacked.metric("plugin_failures_total")
    assert 0 == attacked.metric("store_failures_total")
    assert 200 == attacked.get("/flows").status_code

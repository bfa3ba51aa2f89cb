"""What hostile and broken senders get: never a 5xx, never a lost neighbour, never a page that breaks."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.in_process import GZIP, JSON, PROTOBUF, Server, running, zipped
from tests.otlp_bodies import START_NS, a_span, as_json, full_logs, full_traces, pairs, span_request
from tests.standing import assert_stands, nested

PATHS = ("/v1/traces", "/v1/logs", "/v1/metrics", "/api/v1/events", "/api/events")


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
        values = list(enumerate(HOSTILE_VALUES))[::2]
        server.send(*(whole | {"node": f"{field}:1", field: value, "run_id": f"v {place}"} for field in FIELDS for place, value in values))

    assert_stands(server)


# R015
@pytest.mark.parametrize("place", ["run_id", "event", "task", "source"])
def test_a_value_that_is_no_name_names_nothing(attacked: Server, place: str) -> None:
    whole = {"event": "task_started", "run_id": "r", "task": "t"}

    for value in HOSTILE_VALUES:
        assert attacked.send(whole | {place: value}).status_code in (200, 400)


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
        "/sse/runs/none?cursor=x",
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

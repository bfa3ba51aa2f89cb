"""Ends, retries and log lines as flow events tell them, and what hostile senders put in their fields."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge import conventions as c
from otel_bridge.facts import KEY_CHARS, LogLine
from otel_bridge.flow_event import BadEvent
from otel_bridge.identity import run_span_id, task_span_id
from otel_bridge.lifecycle import EVENTS, error_type, severity_of
from tests.builders import MS, R1, RECEIVED_NS, at, event, only_fact, only_row


def task_event(name: str, ms: int | None = 1, **fields: Any) -> dict[str, Any]:
    return event(name, ms, **{"task": "load", "node": "load:3", **fields})


# --- ends ------------------------------------------------------------------------------------------------------------------------------


# R002
def test_an_end_with_a_duration_has_a_start() -> None:
    assert at(5) - 2_500_000 == only_fact(task_event("task_ok", 5, duration_ms=2.5)).start_ns
    assert at(5) == only_fact(task_event("task_ok", 5, duration_ms=0)).start_ns
    assert at(5) - 2 * MS == only_fact(task_event("task_ok", 5, duration_ms="2")).start_ns


# R015
@pytest.mark.parametrize("duration", [-1, math.nan, math.inf, 1e308, 10**400, "long", [1], True, {"ms": 1}, 2e12])
def test_a_duration_that_is_none_is_kept_as_it_came(duration: Any) -> None:
    fact = only_fact(task_event("task_ok", 5, duration_ms=duration))

    assert 0 == fact.start_ns
    assert repr(duration) == repr(fact.attributes[c.EVENT_EXTRA + "duration_ms"])


# R002
def test_an_error_becomes_the_spans_exception() -> None:
    fact = only_fact(task_event("task_err", 5, error="ValueError('bad ☃')", traceback="Traceback ..."))

    (noted,) = fact.events
    assert ("exception", at(5)) == (noted.name, noted.time_ns)
    assert {
        c.EXCEPTION_TYPE: "ValueError",
        c.EXCEPTION_MESSAGE: "ValueError('bad ☃')",
        c.EXCEPTION_STACKTRACE: "Traceback ...",
    } == noted.attributes
    assert "ValueError('bad ☃')" == fact.status_message


@pytest.mark.parametrize("error", [{"kind": "Timeout"}, ["a", 1], 7, math.nan, False])
def test_an_error_of_any_shape_is_kept_as_text(error: Any) -> None:
    assert str(error) == only_fact(task_event("task_err", 5, error=error)).status_message


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("RetryExhaustedError(\"Task 'x' failed: ValueError('…')\")", "RetryExhaustedError"),
        ("requests.exceptions.Timeout()", "requests.exceptions.Timeout"),
        ("TimeoutError", ""),
        ("connection refused (111)", ""),
        ("", ""),
        ("(", ""),
    ],
)
def test_the_error_type_is_the_outermost_name_of_a_repr(error: str, name: str) -> None:
    assert name == error_type(error)


# R008
@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({}, ""),
        ({"status": "FAILED"}, c.RESULT_FAILURE),
        ({"status": "Succeeded"}, c.RESULT_SUCCESS),
        ({"status": "completed"}, ""),
        ({"result": "timeout"}, c.RESULT_TIMEOUT),
        ({"result": {"rows": 3}, "status": "cancelled"}, c.RESULT_CANCELLATION),
        ({"error": "E()"}, c.RESULT_FAILURE),
        ({"error": "E()", "status": "ok"}, c.RESULT_SUCCESS),
        ({"error": None}, ""),
    ],
)
def test_flow_completed_says_how_it_ended_if_it_does(fields: dict[str, Any], result: str) -> None:
    assert result == only_fact(event("flow_completed", 5, **fields)).result


def test_an_output_called_result_is_kept() -> None:
    assert {"rows": 3} == only_fact(event("flow_completed", 5, result={"rows": 3})).attributes[c.EVENT_EXTRA + "result"]


# --- retries and logs ------------------------------------------------------------------------------------------------------------------


# R005 R072
def test_a_retry_with_a_node_is_a_moment_of_that_task_run() -> None:
    fact = only_fact(task_event("task_retry", 5, attempt=1, max=3, error="E()"))

    assert (c.RETRIED, task_span_id(R1, "load:3")) == (fact.kind, fact.span_id)
    assert (1, 3, "E()") == (fact.attributes[c.ATTEMPT], fact.attributes[c.ATTEMPT_MAX], fact.attributes[c.EXCEPTION_MESSAGE])


# R005 R072
def test_a_retry_without_a_node_stays_on_the_run() -> None:
    fact = only_fact(event("task_retry", 5, task="load", attempt=1, max=3))

    assert (c.RETRIED, run_span_id(R1), c.ROLE_RUN) == (fact.kind, fact.span_id, fact.work.role)
    assert ("", "load", None) == (fact.work.node, fact.work.task_name, fact.work.attempt)


# R015
def test_a_retrys_odd_numbers_are_kept() -> None:
    attributes = only_fact(task_event("task_retry", 5, attempt="second", max=-1)).attributes

    assert ("second", -1) == (attributes[c.ATTEMPTS], attributes[c.EVENT_EXTRA + "max"])


# R003
def test_a_log_with_a_node_is_a_line_of_the_task_run() -> None:
    line = only_fact(task_event("task_log", 5, level="WARNING", message="slow ☃", payload={"rows": 3}))

    assert isinstance(line, LogLine)
    assert (R1, task_span_id(R1, "load:3"), "load:3") == (line.trace_id, line.span_id, line.work.node)
    assert (at(5), 13, "WARNING", "slow ☃") == (line.time_ns, line.severity_number, line.severity_text, line.body)
    assert {"rows": 3} == line.attributes[c.LOG_PAYLOAD]


# R003
@pytest.mark.parametrize("name", ["task_log", "flow_log"])
def test_a_log_without_a_node_is_a_line_of_the_run(name: str) -> None:
    line = only_fact(event(name, level="INFO", message="hi"))

    assert (run_span_id(R1), "", c.ROLE_RUN) == (line.span_id, line.work.node, line.work.role)
    assert (0, RECEIVED_NS, name) == (line.time_ns, line.observed_ns, line.event_name)


# R003
@pytest.mark.parametrize("message", ["", 0, False, ["a"], {"a": 1}])
def test_a_message_keeps_its_type(message: Any) -> None:
    assert message == only_fact(event("task_log", 1, message=message)).body


# R003
@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (None, (9, "INFO")),
        ("debug", (5, "debug")),
        ("Warn", (13, "Warn")),
        ("CRITICAL", (21, "CRITICAL")),
        ("loud", (0, "loud")),
        (10, (5, "DEBUG")),
        (35, (13, "WARNING")),
        (99.5, (21, "CRITICAL")),
        (-5, (1, "TRACE")),
        (math.nan, (1, "TRACE")),
        (True, (9, "INFO")),
    ],
)
def test_levels_as_words_and_as_pythons_numbers(level: Any, severity: tuple[int, str]) -> None:
    assert severity == severity_of(level)


# R005
def test_a_middlewares_error_is_a_line_of_the_run() -> None:
    line = only_fact(event("middleware_error", 5, task="load", middleware_index=1, error="KeyError('x')"))

    assert (run_span_id(R1), 17, "ERROR", "KeyError('x')") == (line.span_id, line.severity_number, line.severity_text, line.body)
    assert ("load", 1) == (line.attributes[c.EVENT_EXTRA + "task"], line.attributes[c.EVENT_EXTRA + "middleware_index"])


# --- hostile input ---------------------------------------------------------------------------------------------------------------------

HOSTILE = ["\0", "\ud800", "x" * 20_000, "<script>alert(1)</script>", "a:b/c ☃\u202e", "'; DROP TABLE runs; --"]


# R015
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_in_every_field_makes_a_row_that_utf8_can_hold(text: str) -> None:
    fields = dict.fromkeys(("run_id", "flow", "flow_key", "task", "task_key", "node", "error", "source", "level", "message", text), text)

    for name in EVENTS:
        row = only_row(only_fact({**fields, "event": name}))
        texts = [column for column in row if isinstance(column, str)]
        assert not any("\0" in column for column in texts)
        assert all(column.encode() for column in texts if column)
        assert all(len(getattr(row, key, "")) <= KEY_CHARS for key in ("run_id", "source", "flow_key", "task_key", "node"))


# R015
def test_an_event_of_five_megabyte_texts_becomes_a_row_with_short_keys() -> None:
    long = "☃" * 1_700_000

    row = only_row(only_fact(event("task_err", 1, run_id=long, node=long, error=long)))

    assert (KEY_CHARS, KEY_CHARS, long) == (len(row.run_id), len(row.node), row.error)


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(10**30), st.just("\ud800\0")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)
FIELDS = ("run_id", "flow", "task", "node", "ts", "error", "duration_ms", "attempt", "max", "level", "message", "generation", "tasks", "status")


# R015
@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=4)), JSON_VALUES, max_size=6))
def test_any_json_object_becomes_rows_or_is_refused(name: str, fields: dict[str, Any]) -> None:
    try:
        row = only_row(only_fact({"run_id": "r1", "task": "t", **fields, "event": name}))
    except BadEvent:
        return

    json.loads(row.attributes)
    assert all(-(2**63) <= column < 2**63 for column in row if isinstance(column, int))

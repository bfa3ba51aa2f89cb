"""Flow events become facts: each name, each field, each oddity."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.rows import RowMaker
from otel_bridge import conventions as c
from otel_bridge.facts import KEY_CHARS, RANK_STAMPED, RANK_TIMED, LogLine, SpanEnd, SpanMoment
from otel_bridge.identity import run_key, run_span_id, task_span_id
from otel_bridge.lifecycle import EVENTS, BadEvent, error_type, event_name, facts_of, severity_of
from tests.builders import MS, R1, RECEIVED_NS, at, event, only_fact, recorded

MOMENTS = {"announced": c.ANNOUNCED, "queued": c.QUEUED, "started": c.BEGUN, "paused": c.PAUSED, "resumed": c.RESUMED}
TASK_ENDS = {
    "ok": c.RESULT_SUCCESS,
    "succeeded": c.RESULT_SUCCESS,
    "err": c.RESULT_FAILURE,
    "failed": c.RESULT_FAILURE,
    "cancelled": c.RESULT_CANCELLATION,
    "skipped": c.RESULT_SKIP,
}
FLOW_ENDS = {"completed": "", "succeeded": c.RESULT_SUCCESS, "failed": c.RESULT_FAILURE, "cancelled": c.RESULT_CANCELLATION}


def task_event(name: str, ms: int | None = 1, **fields: Any) -> dict[str, Any]:
    return event(name, ms, **{"task": "load", "node": "load:3", **fields})


# --- names -----------------------------------------------------------------------------------------------------------------------------


# R001
@pytest.mark.parametrize(("verb", "kind"), MOMENTS.items())
def test_a_flow_event_before_the_end_is_a_moment_of_the_runs_span(verb: str, kind: str) -> None:
    fact = only_fact(event(f"flow_{verb}", 5, flow="etl"))

    assert isinstance(fact, SpanMoment)
    assert (kind, at(5), RANK_TIMED) == (fact.kind, fact.time_ns, fact.rank)
    assert (R1, run_span_id(R1), b"", "etl") == (fact.trace_id, fact.span_id, fact.parent_span_id, fact.name)
    assert (c.ROLE_RUN, "") == (fact.work.role, fact.work.node)


# R001
@pytest.mark.parametrize(("verb", "kind"), MOMENTS.items())
def test_a_task_event_before_the_end_is_a_moment_of_the_tasks_span(verb: str, kind: str) -> None:
    fact = only_fact(task_event(f"task_{verb}", 5))

    assert isinstance(fact, SpanMoment)
    assert (kind, at(5)) == (fact.kind, fact.time_ns)
    assert (R1, task_span_id(R1, "load:3"), run_span_id(R1), "load") == (fact.trace_id, fact.span_id, fact.parent_span_id, fact.name)
    assert (c.ROLE_TASK, "load:3", 0) == (fact.work.role, fact.work.node, fact.work.attempt)


# R001 R005
@pytest.mark.parametrize(("verb", "result"), TASK_ENDS.items())
def test_a_tasks_end_is_its_finished_span(verb: str, result: str) -> None:
    fact = only_fact(task_event(f"task_{verb}", 5))

    assert isinstance(fact, SpanEnd)
    assert (task_span_id(R1, "load:3"), at(5), 0, result) == (fact.span_id, fact.end_ns, fact.start_ns, fact.result)
    assert result == fact.attributes[c.TASK_RUN_RESULT]
    assert (result == c.RESULT_FAILURE) == (fact.status_code == c.STATUS_ERROR)


# R001 R008
@pytest.mark.parametrize(("verb", "result"), FLOW_ENDS.items())
def test_a_flows_end_is_the_runs_finished_span(verb: str, result: str) -> None:
    fact = only_fact(event(f"flow_{verb}", 5, flow="etl", tasks=3))

    assert isinstance(fact, SpanEnd)
    assert (run_span_id(R1), at(5), result) == (fact.span_id, fact.end_ns, fact.result)
    assert result == fact.attributes.get(c.PIPELINE_RESULT, "")
    assert 3 == fact.attributes[c.TASKS_DECLARED]


# R005
@pytest.mark.parametrize(("engine", "seed"), [("task_succeeded", "task_ok"), ("task_failed", "task_err")])
def test_both_spellings_of_a_tasks_end_are_one_fact(engine: str, seed: str) -> None:
    assert only_fact(task_event(seed, error="E()")) == only_fact(task_event(engine, error="E()"))


# R005
def test_every_name_the_engine_sends_is_known() -> None:
    names = {"flow_started", "flow_completed", "task_started", "task_succeeded", "task_failed", "task_retry", "middleware_error"}

    assert names <= EVENTS.keys()


# R005
@pytest.mark.parametrize("case", ["linear", "fan_out", "retry", "fail_fast", "continue", "nested"])
def test_recorded_events_are_told_apart_without_their_names(case: str) -> None:
    aliases = {"task_succeeded": "task_ok", "task_failed": "task_err"}
    events = [event for event in recorded(case) if event["event"] != "flow_failed"]

    for sent in events:
        nameless = {key: value for key, value in sent.items() if key != "event"}
        assert aliases.get(sent["event"], sent["event"]) == event_name(nameless)


# R005
@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({"task": "t", "middleware_index": 0, "error": "E()"}, "middleware_error"),
        ({"task": "t", "attempt": 1, "max": 3}, "task_retry"),
        ({"level": "INFO", "message": "hi", "node": "t:1", "task": "t"}, "task_log"),
        ({"task": "t", "node": "t:1", "flow": "f", "run_id": "r"}, "task_started"),
    ],
)
def test_an_event_without_a_name_is_told_by_its_keys(payload: dict[str, Any], name: str) -> None:
    assert name == event_name(payload)


# R015
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "event is missing"),
        ({"run_id": "r1"}, "event is missing"),
        ({"event": None, "run_id": "r1"}, "event is missing"),
        ({"event": 7, "run_id": "r1"}, "event must be text"),
        ({"event": "", "run_id": "r1"}, "unknown event ''"),
        ({"event": "flow_exploded", "run_id": "r1"}, "unknown event 'flow_exploded'"),
        ({"event": "flow_started"}, "run_id is missing"),
        ({"event": "task_started", "task": "t", "node": "t:1", "run_id": ""}, "run_id is missing"),
        ({"event": "task_log", "message": "hi", "run_id": None}, "run_id is missing"),
        ({"event": "flow_started", "run_id": ["r1"]}, "run_id must be text"),
        ({"event": "flow_started", "run_id": True}, "run_id must be text"),
        ({"event": "flow_started", "run_id": "r1", "flow": {}}, "flow must be text"),
        ({"event": "flow_started", "run_id": "r1", "source": []}, "source must be text"),
        ({"event": "flow_started", "run_id": "r1", "event_id": {}}, "event_id must be text"),
        ({"event": "flow_started", "run_id": "r1", "generation": 2**31}, "generation is out of range"),
        ({"event": "flow_started", "run_id": 10**5000}, "a number is too long"),
        ({"event": "task_started", "run_id": "r1"}, "task and node are missing"),
        ({"event": "task_retry", "run_id": "r1", "attempt": 1}, "task and node are missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_event_that_cannot_be_understood_is_refused_with_the_reason(payload: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadEvent, match=reason):
        facts_of(payload, RECEIVED_NS)


# R015
def test_the_reason_quotes_no_more_of_an_unknown_name_than_a_person_reads() -> None:
    with pytest.raises(BadEvent) as caught:
        facts_of({"event": "x" * 5_000_000, "run_id": "r1"}, RECEIVED_NS)

    assert len(str(caught.value)) < 300


# --- common fields ---------------------------------------------------------------------------------------------------------------------


# R012
def test_an_event_without_a_time_is_stamped_with_the_receipt() -> None:
    fact = only_fact(event("flow_started"))

    assert (RECEIVED_NS, RANK_STAMPED) == (fact.time_ns, fact.rank)


# R012
def test_an_odd_time_is_kept_beside_the_receipt() -> None:
    fact = only_fact(event("flow_started", ts="tomorrow"))

    assert (RECEIVED_NS, RANK_STAMPED) == (fact.time_ns, fact.rank)
    assert "tomorrow" == fact.attributes[c.EVENT_EXTRA + "ts"]


# R010
def test_the_senders_event_id_is_kept() -> None:
    assert "e1" == only_fact(event("task_paused", task="t", event_id="e1")).event_id
    assert "7" == only_fact(event("task_log", message="hi", event_id=7)).event_id


# R002
def test_a_number_is_a_run_id_too() -> None:
    assert run_key("flowspan", "42") == only_fact(event("flow_started", 1, run_id=42)).trace_id


# R017
def test_flow_and_task_keys_default_to_the_names() -> None:
    fact = only_fact(task_event("task_started", flow="etl"))

    assert ("etl", "etl", "load", "load") == (fact.work.flow_key, fact.work.flow_name, fact.work.task_key, fact.work.task_name)


# R017
def test_the_client_may_give_flow_id_flow_key_and_task_key() -> None:
    fact = only_fact(task_event("task_started", flow="etl", flow_id="f7", flow_key="pipelines:etl", task_key="pipelines:load"))

    assert ("pipelines:etl", "etl", "pipelines:load", "load") == (
        fact.work.flow_key,
        fact.work.flow_name,
        fact.work.task_key,
        fact.work.task_name,
    )
    assert ("f7", "pipelines:etl", "pipelines:load") == tuple(fact.attributes[key] for key in (c.FLOW_ID, c.FLOW_KEY, c.TASK_KEY))


def test_source_and_generation_make_another_run() -> None:
    fact = only_fact(event("flow_started", 1, source="dotflow", generation=2))

    assert run_key("dotflow", "r1", 2) == fact.trace_id
    assert ("dotflow", 2) == (fact.attributes[c.SOURCE], fact.attributes[c.GENERATION])


def test_an_odd_generation_is_the_first_and_kept() -> None:
    fact = only_fact(event("flow_started", 1, generation="newest"))

    assert (R1, "newest") == (fact.trace_id, fact.attributes[c.EVENT_EXTRA + "generation"])


# R002
@pytest.mark.parametrize(
    ("node", "task_name"),
    [("load:3", "load"), ("a:b:3", "a:b"), ("load", "load"), (":1", ":1"), ("lädt <script>/☃ :12", "lädt <script>/☃ ")],
)
def test_a_node_without_a_task_name_is_split_at_its_last_colon(node: str, task_name: str) -> None:
    work = only_fact(event("task_started", 1, node=node)).work

    assert (node, task_name) == (work.node, work.task_name)


# R002
def test_a_task_without_a_node_is_its_own_node() -> None:
    assert "load" == only_fact(event("task_started", 1, task="load")).work.node


# R002 R015
def test_fields_nobody_reads_are_kept() -> None:
    fact = only_fact(event("flow_started", 1, x={"deep": [1, None]}, duration_ms=5))

    assert {"deep": [1, None]} == fact.attributes[c.EVENT_EXTRA + "x"]
    assert 5 == fact.attributes[c.EVENT_EXTRA + "duration_ms"]


# R060 R061
def test_what_describes_runs_and_tasks_is_kept_under_its_own_key() -> None:
    run = only_fact(event("flow_started", 1, params={"a": 1}, metadata={"env": "prod"}, tags=["x"], description="ETL"))
    task = only_fact(task_event("task_started", priority=5, run_in="thread", upstream=["extract:1"], description="Loads", attempt=2))

    assert ({"a": 1}, {"env": "prod"}, ["x"], "ETL") == tuple(
        run.attributes[key] for key in (c.PARAMS, c.METADATA, c.TAGS, c.FLOW_DESCRIPTION)
    )
    keys = (c.PRIORITY, c.RUN_IN, c.UPSTREAM, c.TASK_DESCRIPTION, c.ATTEMPT)
    assert (5, "thread", ["extract:1"], "Loads", 2) == tuple(task.attributes[key] for key in keys)


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

    assert ("second", -1) == (attributes[c.ATTEMPT], attributes[c.EVENT_EXTRA + "max"])


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
        batch = RowMaker(RECEIVED_NS).add_all(facts_of({**fields, "event": name}, RECEIVED_NS))
        (row,) = [*batch.spans, *batch.moments, *batch.logs]
        texts = [column for column in row if isinstance(column, str)]
        assert not any("\0" in column for column in texts)
        assert all(column.encode() for column in texts if column)
        assert all(len(getattr(row, key, "")) <= KEY_CHARS for key in ("run_id", "source", "flow_key", "task_key", "node"))


# R015
def test_an_event_of_five_megabyte_texts_becomes_a_row_with_short_keys() -> None:
    long = "☃" * 1_700_000

    (row,) = RowMaker(RECEIVED_NS).add_all([only_fact(event("task_err", 1, run_id=long, node=long, error=long))]).spans

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
        facts = facts_of({"run_id": "r1", "task": "t", **fields, "event": name}, RECEIVED_NS)
    except BadEvent:
        return

    batch = RowMaker(RECEIVED_NS).add_all(facts)

    (row,) = [*batch.spans, *batch.moments, *batch.logs]
    json.loads(row.attributes)
    assert all(-(2**63) <= column < 2**63 for column in row if isinstance(column, int))

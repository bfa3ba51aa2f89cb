"""Flow events become facts: each name, and the fields all have in common."""

from __future__ import annotations

from typing import Any

import pytest

from otel_bridge import conventions as c
from otel_bridge.facts import RANK_STAMPED, RANK_TIMED, SpanEnd, SpanMoment
from otel_bridge.flow_event import BadEvent, event_name
from otel_bridge.identity import run_key, run_span_id, task_span_id
from otel_bridge.lifecycle import EVENTS, facts_of
from tests.builders import R1, RECEIVED_NS, at, event, only_fact, recorded

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

    assert ({"a": 1}, {"env": "prod"}, ["x"], "ETL") == tuple(run.attributes[key] for key in (c.PARAMS, c.METADATA, c.TAGS, c.FLOW_DESCRIPTION))
    keys = (c.PRIORITY, c.RUN_IN, c.UPSTREAM, c.TASK_DESCRIPTION, c.ATTEMPTS)
    assert (5, "thread", ["extract:1"], "Loads", 2) == tuple(task.attributes[key] for key in keys)

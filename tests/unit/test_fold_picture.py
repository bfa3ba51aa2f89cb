"""What a picture says beside the states: descriptions and errors, both doors of one run, plain traces."""

from __future__ import annotations

from typing import Any

import pytest

from collector.picture import CANCELLED, FAILED, PENDING, RUNNING, SUCCEEDED
from otel_bridge import conventions as c
from otel_bridge.facts import Fact, LogLine, SpanEnd, SpanMoment
from otel_bridge.identity import run_key
from otel_bridge.lifecycle import facts_of
from tests.builders import (
    LOAD,
    MS,
    R1,
    RECEIVED_NS,
    RUN,
    TRACE,
    Store,
    at,
    event,
    load,
    load_span,
    moment,
    only_fact,
    picture_of,
    picture_of_facts,
    recorded,
    span,
    span_id,
    states_of,
    store_of,
    task_of,
    work,
)

# --- what else the picture says --------------------------------------------------------------------------------------------------------


# R014
def test_declared_tasks_are_told_apart_from_those_that_were_reported() -> None:
    run = picture_of(load("ok", 2), event("flow_completed", 9, tasks=5)).run

    assert (5, {SUCCEEDED: 1}, SUCCEEDED) == (run.tasks_declared, run.counts, run.status)


# R015
@pytest.mark.parametrize("tasks", [10**30, "many", True, 2.5, [3]])
def test_a_count_of_tasks_that_is_none_is_not_shown(tasks: Any) -> None:
    assert picture_of(event("flow_completed", 9, tasks=tasks)).run.tasks_declared is None


# R060
def test_a_run_has_what_its_events_say_of_it() -> None:
    run = picture_of(
        event("flow_started", 1, flow="etl", flow_id="f1", params={"day": 1}, metadata={"env": "prod"}, tags=["x"], description="Loads"),
        event("flow_completed", 9, flow="etl"),
    ).run

    assert ("flowspan", "r1", 0, "run") == (run.source, run.run_id, run.generation, run.kind)
    assert ("etl", "etl", "f1", "Loads") == (run.flow_key, run.flow_name, run.flow_id, run.description)
    assert ({"day": 1}, {"env": "prod"}, ["x"]) == (run.params, run.metadata, run.tags)
    assert (at(1), at(9)) == (run.started_ns, run.finished_ns)


# R060
def test_where_and_from_what_code_a_run_ran_is_metadata() -> None:
    attributes = {"deployment.environment.name": "prod", "vcs.ref.head.revision": "abc", "other": 1}

    run = picture_of_facts(span("etl", work=RUN, attributes=attributes)).run

    assert {"deployment.environment.name": "prod", "vcs.ref.head.revision": "abc"} == run.metadata


# R060, R167
def test_parameters_and_metadata_that_came_as_json_text_are_read() -> None:
    attributes = {"flowspan.params": '{"day": 1}', "flowspan.metadata": '{"host": "a"}', "flowspan.parent.run.id": "r0"}

    run = picture_of_facts(span("etl", work=RUN, attributes=attributes)).run

    assert ({"day": 1}, {"host": "a", "flowspan.parent.run.id": "r0"}) == (run.params, run.metadata)


@pytest.mark.parametrize("text", ["day 1", "{", "[1,", "{" * 100_000, '"text"', ""])
def test_parameters_that_are_no_json_stay_the_text_they_are(text: str) -> None:
    assert text == picture_of_facts(span("etl", work=RUN, attributes={"flowspan.params": text})).run.params


# R061
def test_a_task_run_has_what_its_events_say_of_it() -> None:
    described = {"priority": 5, "tags": ["slow"], "run_in": "thread", "upstream": ["extract:1"], "description": "Loads", "task_key": "m:load"}
    picture = picture_of(load("started", 1, **described), load("err", 9, error="E('x')", duration_ms=7.5))

    task = task_of(picture, "load:1")

    assert ("load", "m:load", FAILED, "E('x')") == (task.task_name, task.task_key, task.status, task.error)
    assert (at(1), at(9), 1) == (task.started_ns, task.finished_ns, task.attempt)
    assert (5, ["slow"], "thread", ["extract:1"], "Loads") == (task.priority, task.tags, task.run_in, task.upstream, task.description)


# R016 R017
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_key_given_by_one_event_alone_is_the_key(place: int) -> None:
    events = [
        event("flow_started", 1, flow="etl"),
        load("started", 2, flow="etl"),
        load("ok", 3, flow="etl"),
        event("flow_completed", 9, flow="etl"),
    ]
    events[place] |= {"flow_key": "m:etl", "task_key": "m:load"}

    picture = picture_of(*events)

    assert ("m:etl", "etl") == (picture.run.flow_key, picture.run.flow_name)
    assert ("load" if place == 0 else "m:load") == task_of(picture, "load:1").task_key


# R061
def test_a_task_run_without_a_beginning_started_its_duration_before_its_end() -> None:
    assert at(9) - int(2.5 * MS) == task_of(picture_of(load("ok", 9, duration_ms=2.5)), "load:1").started_ns


# R061
def test_task_runs_are_in_order_of_start_those_not_started_last() -> None:
    nodes = {"b": 2, "a": 2, "c": 1}
    picture = picture_of(event("task_announced", 0, node="z"), *(event("task_started", ms, node=node) for node, ms in nodes.items()))

    assert ["c", "a", "b", "z"] == [task.node for task in picture.tasks]


# R013 R101
def test_a_failed_runs_error_is_its_own_else_that_of_the_first_failed_task() -> None:
    failures = [load("err", 5, error="E('late')"), event("task_err", 4, node="extract:1", error="E('early')")]

    assert "E('early')" == picture_of(*failures, event("flow_completed", 9)).run.error
    assert "E('own')" == picture_of(*failures, event("flow_failed", 9, error="E('own')")).run.error


# R020
def test_an_exception_that_was_handled_is_no_error_of_what_succeeded() -> None:
    handled = span("etl", work=RUN, result="success")
    handled.events = only_fact(event("flow_failed", 1, error="E('handled')")).events

    assert "" == picture_of_facts(handled).run.error


# R021
def test_a_run_known_by_a_log_line_alone_is_there() -> None:
    picture = picture_of(event("task_log", 5, message="hi"))

    assert ("r1", PENDING, False, []) == (picture.run.run_id, picture.run.status, picture.run.hidden, picture.tasks)


def test_a_run_keeps_the_days_its_rows_lie_on() -> None:
    run = picture_of_facts(span("etl", work=RUN), span("load", "etl", work=LOAD, start=86_400_000)).run

    assert 1 == run.last_day - run.first_day


def test_a_run_knows_the_processes_whose_spans_are_open() -> None:
    facts: list[Fact] = [moment(c.BEGUN, "etl", work=RUN, process="p1"), moment(c.BEGUN, "load", work=LOAD, process="p2"), load_span()]

    assert ["p1"] == picture_of_facts(*facts).run.processes


# --- both doors ------------------------------------------------------------------------------------------------------------------------


def as_spans(events: list[dict[str, Any]]) -> list[Fact]:
    """Tell recorded events a second time as an instrumented program would: ids of its own, no attempt numbers, starts as moments."""
    facts: list[Fact] = [fact for payload in events for fact in facts_of(payload, RECEIVED_NS)]
    return [_retold(fact) for fact in facts if isinstance(fact, SpanEnd) or (isinstance(fact, SpanMoment) and fact.kind != c.RETRIED)]


def _retold(fact: SpanMoment | SpanEnd) -> Fact:
    own = work(fact.work.role, fact.work.node, run_id=fact.work.run_id)
    name, parent = fact.work.node or "run", "run" if fact.work.node else ""
    if isinstance(fact, SpanMoment):
        return moment(fact.kind, name, parent, ms=(fact.time_ns - at(0)) // MS, work=own)
    ended = span(name, parent, work=own, result=fact.result, status_message=fact.status_message, status_code=fact.status_code)
    ended.start_ns, ended.end_ns = max(fact.start_ns, at(0)), fact.end_ns
    return ended


# R023
@pytest.mark.parametrize("case", ["linear", "fan_out", "retry", "fail_fast", "continue"])
def test_a_run_reported_through_both_doors_is_one_run(case: str) -> None:
    events = recorded(case)
    key = run_key("flowspan", events[0]["run_id"])
    told: list[Fact] = [fact for payload in events for fact in facts_of(payload, RECEIVED_NS)]

    by_events, by_both = picture_of_facts(*told, key=key), picture_of_facts(*as_spans(events), *told, key=key)

    assert (by_events.run.status, by_events.run.counts) == (by_both.run.status, by_both.run.counts)
    assert states_of(by_events) == states_of(by_both)
    assert [len(task.attempts) for task in by_events.tasks] == [len(task.attempts) for task in by_both.tasks]
    assert {TRACE, key} == set(by_both.run.trace_ids)


# R023
@pytest.mark.parametrize("case", ["linear", "fan_out", "fail_fast", "continue"])
def test_both_doors_alone_show_the_same_states(case: str) -> None:
    events = recorded(case)
    key = run_key("flowspan", events[0]["run_id"])

    by_events, by_spans = store_of(*events).picture(key), picture_of_facts(*as_spans(events), key=key)

    assert by_events.run.status == by_spans.run.status
    assert states_of(by_events) == states_of(by_spans)


# R023
def test_a_finished_span_speaks_louder_than_an_event_about_the_same_task_run() -> None:
    facts = [only_fact(load("ok", 5)), load_span(start=1, end=6, status_code=c.STATUS_ERROR, status_message="late check failed")]

    task = task_of(picture_of_facts(*facts), "load:1")

    assert (FAILED, "late check failed", at(6)) == (task.status, task.error, task.finished_ns)


# --- plain traces ----------------------------------------------------------------------------------------------------------------------


DAY_MS = 86_400_000


def beating(until_ms: int, *facts: Fact) -> Store:
    store = Store(beating_until_ns={"p1": at(until_ms)})
    return store.take(facts)


# R024
def test_a_plain_trace_with_an_open_span_of_a_beating_process_runs_until_that_is_silent() -> None:
    store = beating(500, span("GET /"), moment(c.BEGUN, "job", "GET /", process="p1"))

    alive, silent = store.picture(TRACE, at(499)), store.picture(TRACE, at(500))

    assert (RUNNING, 0, at(500)) == (alive.run.status, alive.run.finished_ns, alive.run.recheck_ns)
    assert (SUCCEEDED, at(1)) == (silent.run.status, silent.run.finished_ns)
    assert [{RUNNING: 1}, {CANCELLED: 1}] == [alive.run.counts, silent.run.counts]


# R024
@pytest.mark.parametrize(
    ("heard_until", "now", "again"), [(500, 500, 1_500), (500, 2_500, 4_500), (-1, 3_001, 6_001), (500, 500 + DAY_MS, None)]
)
def test_a_plain_trace_left_open_is_looked_at_again_after_twice_its_silence_for_a_day(heard_until: int, now: int, again: int | None) -> None:
    store = beating(heard_until, span("GET /"), moment(c.BEGUN, "job", "GET /", process="p1"))

    assert (at(again) if again is not None else 0) == store.picture(TRACE, at(now)).run.recheck_ns


# R024
def test_a_plain_trace_whose_spans_are_all_over_is_over_though_its_process_beats() -> None:
    store = beating(500, span("GET /"), moment(c.BEGUN, "job", "GET /", process="p1"), span("job", "GET /"))

    assert SUCCEEDED == store.picture(TRACE, at(1)).run.status


# R024
def test_a_plain_trace_that_a_person_cancelled_is_over_though_its_process_beats() -> None:
    store = beating(500, span("GET /"), moment(c.CANCELLED, "GET /"), moment(c.BEGUN, "job", "GET /", process="p1"))

    assert CANCELLED == store.picture(TRACE, at(1)).run.status


# R008
def test_a_named_runs_end_ends_it_though_the_process_of_an_open_task_beats() -> None:
    store = beating(500, span("etl", work=RUN), moment(c.BEGUN, "load", "etl", work=LOAD, process="p1"))

    assert SUCCEEDED == store.picture(R1, at(1)).run.status


# R024
def test_a_plain_trace_without_a_root_runs() -> None:
    picture = picture_of_facts(span("query", "GET /", start=3, end=4), key=TRACE)

    assert (RUNNING, at(3), c.TRACE_SOURCE, TRACE.hex()) == (picture.run.status, picture.run.started_ns, picture.run.source, picture.run.run_id)


# R024
def test_a_failed_root_fails_its_plain_trace() -> None:
    run = picture_of_facts(span("GET /", status_code=c.STATUS_ERROR, status_message="500"), key=TRACE).run

    assert (FAILED, "500") == (run.status, run.error)


# R021
def test_a_trace_of_log_lines_alone_is_hidden() -> None:
    line = LogLine(TRACE, span_id("a"), at(1), "hi")

    assert picture_of_facts(line, key=TRACE).run.hidden

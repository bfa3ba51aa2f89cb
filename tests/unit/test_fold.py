"""The states table of the design, line by line, and the promises around it."""

from __future__ import annotations

from typing import Any

import pytest

from collector.picture import CANCELLED, FAILED, PAUSED, PENDING, QUEUED, RUNNING, SKIPPED, SUCCEEDED
from otel_bridge import conventions as c
from otel_bridge.identity import run_key
from otel_bridge.lifecycle import facts_of
from tests.builders import (
    LOAD,
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
    picture_of,
    picture_of_facts,
    recorded,
    span,
    states_of,
    store_of,
    task_of,
    work,
)


def state_of(*payloads: dict[str, Any]) -> str:
    return task_of(picture_of(*payloads), "load:1").status


def run_state_of(*payloads: dict[str, Any]) -> str:
    return picture_of(*payloads).run.status


# --- a task run's state, first match wins ----------------------------------------------------------------------------------------------


# R009
def test_task_cancelled_by_a_person_is_cancelled_whatever_its_end_says() -> None:
    picture = picture_of_facts(moment(c.CANCELLED, "load", work=LOAD, ms=5), load_span(end=9, result="success"))

    assert CANCELLED == task_of(picture, "load:1").status


# R009
@pytest.mark.parametrize(
    ("result", "state"),
    [("success", SUCCEEDED), ("failure", FAILED), ("error", FAILED), ("timeout", FAILED), ("cancellation", CANCELLED), ("skip", SKIPPED)],
)
def test_task_end_with_a_result_is_that(result: str, state: str) -> None:
    assert state == task_of(picture_of_facts(load_span(result=result, status_code=c.STATUS_OK)), "load:1").status


# R009 R020
@pytest.mark.parametrize(("code", "state"), [(c.STATUS_UNSET, SUCCEEDED), (c.STATUS_OK, SUCCEEDED), (c.STATUS_ERROR, FAILED)])
def test_task_end_without_a_word_is_its_spans_status(code: int, state: str) -> None:
    assert state == task_of(picture_of_facts(load_span(status_code=code)), "load:1").status


# R009 R005
@pytest.mark.parametrize(
    ("verb", "state"), [("ok", SUCCEEDED), ("succeeded", SUCCEEDED), ("err", FAILED), ("failed", FAILED), ("skipped", SKIPPED)]
)
def test_task_is_over_with_its_event(verb: str, state: str) -> None:
    assert state == state_of(load("started", 1), load(verb, 2))


# R013
def test_task_begun_in_a_run_that_is_over_is_cancelled_and_marked_inferred() -> None:
    task = task_of(picture_of(load("started", 1), event("flow_failed", 9)), "load:1")

    assert (CANCELLED, True, at(9)) == (task.status, task.inferred, task.finished_ns)


# R013
def test_task_paused_in_a_run_that_is_over_is_cancelled() -> None:
    assert CANCELLED == state_of(load("paused", 1), event("flow_failed", 9))


# R013
@pytest.mark.parametrize("verb", ["announced", "queued"])
def test_task_not_begun_in_a_run_that_is_over_is_skipped(verb: str) -> None:
    task = task_of(picture_of(load(verb, 1), event("flow_completed", 9)), "load:1")

    assert (SKIPPED, True, 0) == (task.status, task.inferred, task.finished_ns)


# R011 R013
def test_a_real_end_that_comes_later_replaces_the_inferred_one() -> None:
    task = task_of(picture_of(load("started", 1), event("flow_failed", 9), load("ok", 12)), "load:1")

    assert (SUCCEEDED, False, at(12)) == (task.status, task.inferred, task.finished_ns)


# R013
def test_a_task_that_began_after_its_run_was_over_is_not_finished_before_it_began() -> None:
    assert at(12) == task_of(picture_of(event("flow_failed", 9), load("started", 12)), "load:1").finished_ns


# R009
def test_task_whose_last_word_is_paused_is_paused() -> None:
    assert PAUSED == state_of(load("started", 1), load("paused", 2))
    assert PAUSED == state_of(load("paused", 4), load("resumed", 3), load("paused", 2), load("started", 1))


# R009
def test_task_that_resumed_runs() -> None:
    assert RUNNING == state_of(load("paused", 2), load("resumed", 3))


# R009
def test_task_that_began_runs() -> None:
    assert RUNNING == state_of(load("announced", 0), load("queued", 1), load("started", 2))


# R009
def test_task_with_any_attempt_runs() -> None:
    assert RUNNING == task_of(picture_of_facts(moment(c.BEGUN, "t1", work=work(c.ROLE_ATTEMPT, "load:1", attempt=1))), "load:1").status


# R009
def test_task_in_a_queue_is_queued() -> None:
    assert QUEUED == state_of(load("queued", 1), load("announced", 2))


# R009
def test_task_that_was_only_declared_is_pending() -> None:
    task = task_of(picture_of(load("announced", 1)), "load:1")

    assert (PENDING, 0) == (task.status, task.started_ns)


# --- a run's state, first match wins ---------------------------------------------------------------------------------------------------


# R008
def test_run_cancelled_by_a_person_is_cancelled_whatever_its_end_says() -> None:
    picture = picture_of_facts(moment(c.CANCELLED, "etl", work=RUN, ms=5), span("etl", work=RUN, end=9, result="success"))

    assert (CANCELLED, at(9)) == (picture.run.status, picture.run.finished_ns)


# R008
def test_run_cancelled_by_a_person_is_finished_then_while_no_end_came() -> None:
    picture = picture_of_facts(moment(c.CANCELLED, "etl", work=RUN, ms=5), moment(c.BEGUN, "load", work=LOAD))

    assert (CANCELLED, at(5)) == (picture.run.status, picture.run.finished_ns)
    assert {"load:1": CANCELLED} == states_of(picture)


# R008
@pytest.mark.parametrize(
    ("result", "state"),
    [("success", SUCCEEDED), ("failure", FAILED), ("error", FAILED), ("timeout", FAILED), ("cancellation", CANCELLED), ("skip", SKIPPED)],
)
def test_run_end_with_a_result_is_that(result: str, state: str) -> None:
    assert state == picture_of_facts(span("etl", work=RUN, result=result)).run.status


# R008 R020
@pytest.mark.parametrize(("code", "state"), [(c.STATUS_OK, SUCCEEDED), (c.STATUS_ERROR, FAILED)])
def test_run_end_without_a_result_is_its_spans_status(code: int, state: str) -> None:
    facts = [span("etl", work=RUN, status_code=code), load_span(result="failure" if state == SUCCEEDED else "success")]

    assert state == picture_of_facts(*facts).run.status


# R008
def test_bare_end_of_a_run_with_a_failed_task_is_a_failure() -> None:
    picture = picture_of(load("err", 2, error="E('bad')"), event("flow_completed", 9))

    assert (FAILED, "E('bad')") == (picture.run.status, picture.run.error)


# R008
def test_bare_end_of_a_run_without_a_failed_task_is_a_success() -> None:
    assert SUCCEEDED == run_state_of(load("ok", 2), event("flow_completed", 9))
    assert SUCCEEDED == run_state_of(event("flow_completed", 9))


# R024
def test_bare_end_of_a_plain_trace_is_a_success_whatever_its_spans_say() -> None:
    picture = picture_of_facts(span("GET /"), span("query", "GET /", status_code=c.STATUS_ERROR), key=TRACE)

    assert (SUCCEEDED, {FAILED: 1}) == (picture.run.status, picture.run.counts)


# R008
def test_run_whose_last_word_is_paused_is_paused() -> None:
    assert PAUSED == run_state_of(event("flow_started", 1), event("flow_paused", 2), load("started", 3))
    assert RUNNING == run_state_of(event("flow_paused", 2), event("flow_resumed", 3))


# R008
@pytest.mark.parametrize("sign", [event("flow_started", 1), load("started", 1), load("ok", 1), load("paused", 1), load("retry", 1, attempt=1)])
def test_run_in_which_anything_began_or_ended_runs(sign: dict[str, Any]) -> None:
    assert RUNNING == run_state_of(sign)


# R008
def test_run_in_which_something_waits_is_queued() -> None:
    assert QUEUED == run_state_of(event("flow_queued", 1))
    assert QUEUED == run_state_of(event("flow_announced", 1), load("queued", 2))


# R008
def test_run_that_was_only_announced_is_pending_and_has_not_started() -> None:
    run = picture_of(event("flow_announced", 1), load("announced", 2)).run

    assert (PENDING, 0, at(1)) == (run.status, run.started_ns, run.first_ns)


# R013
def test_a_run_that_fails_without_an_end_runs_on() -> None:
    events = recorded("fail_fast")[:-1]

    picture = store_of(*events).picture(run_key("flowspan", events[0]["run_id"]))

    assert (RUNNING, 0) == (picture.run.status, picture.run.finished_ns)
    assert {"boom:1": FAILED, "slow:1": RUNNING} == states_of(picture)


# --- terminal stays terminal -----------------------------------------------------------------------------------------------------------


# R011
@pytest.mark.parametrize("late", ["started", "queued", "announced", "paused", "resumed"])
def test_a_task_run_that_is_over_is_not_reopened(late: str) -> None:
    assert FAILED == state_of(load("err", 2), load(late, 5))


# R011
@pytest.mark.parametrize("late", [event("flow_started", 50), event("flow_paused", 50), load("started", 50), load("announced", 50)])
def test_a_run_that_is_over_is_not_reopened(late: dict[str, Any]) -> None:
    assert SUCCEEDED == run_state_of(event("flow_completed", 9), late)


# R011
def test_the_first_word_on_how_a_task_ended_stands() -> None:
    assert SUCCEEDED == state_of(load("err", 7), load("ok", 6))


# R011
def test_success_sharpens_to_failure_when_a_tasks_failure_arrives_late() -> None:
    over = [load("started", 1), event("flow_completed", 9)]

    assert [SUCCEEDED, FAILED] == [run_state_of(*over), run_state_of(*over, load("err", 2))]


# R010
def test_events_without_a_time_delivered_again_end_in_the_same_states_and_counts() -> None:
    events = [event("flow_started"), load("started", None), load("retry", None, attempt=1), load("ok", None), event("flow_completed", tasks=1)]
    store = Store()
    for place, payload in enumerate([*events, *events]):
        store.take(facts_of(payload, RECEIVED_NS + place), RECEIVED_NS + place)

    picture = store.picture(R1)

    assert (SUCCEEDED, {SUCCEEDED: 1}, 2) == (picture.run.status, picture.run.counts, picture.tasks[0].attempt)
    assert (RECEIVED_NS, RECEIVED_NS + 4) == (picture.run.started_ns, picture.run.finished_ns)


# R037
def test_generations_of_one_run_id_are_runs_apart() -> None:
    store = store_of(event("flow_completed", 9), event("flow_started", 20, generation=1), load("started", 21, generation=1))

    first, second = store.picture(R1), store.picture(run_key("flowspan", "r1", 1))

    assert [(SUCCEEDED, 0), (RUNNING, 1)] == [(one.run.status, one.run.generation) for one in (first, second)]
    assert [0, 1] == [len(one.tasks) for one in (first, second)]

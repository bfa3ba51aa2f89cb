"""A large run is opened without folding it whole, and is what the fold says: header, counters, and every page of its task runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from collector.picture import FAILED
from otel_bridge import conventions as c
from otel_bridge.facts import Fact, SpanEnd, SpanMoment
from storage_plugins.sql.large_runs import MOST_ODD
from tests.builders import R1, RUN, TRACE, at, event, moment, span, work
from tests.large_runs import Store, is_opened_as_folded, tell, tell_events
from tests.odd_facts import DAY_MS

MANY = range(30)


def load(number: int) -> str:
    return f"load:{number:03}"


def begun(number: int) -> SpanMoment:
    return moment(c.BEGUN, load(number), "etl", ms=number, work=work(c.ROLE_TASK, load(number), attempt=0), process="p1")


def ended(number: int, **columns: Any) -> SpanEnd:
    return span(load(number), "etl", start=number, end=number + 5, work=work(c.ROLE_TASK, load(number), attempt=0), **columns)


# --- what must not need the whole fold -------------------------------------------------------------------------------------------------


def test_tasks_that_have_begun_and_ended_are_opened_without_one_oddity(either_storage: Store) -> None:
    facts = [fact for number in MANY for fact in (begun(number), ended(number))]
    told = tell(either_storage, [*facts, span("etl", work=RUN, end=99)])

    assert is_opened_as_folded(told, R1, most_odd=1)


def test_open_tasks_are_opened_without_one_oddity(either_storage: Store) -> None:
    queued = [replace(begun(number), kind=c.QUEUED) for number in MANY[10:]]
    announced = [replace(begun(number), kind=c.ANNOUNCED) for number in MANY]
    told = tell(either_storage, [*[begun(number) for number in MANY[:20]], *queued, *announced, *[ended(number) for number in MANY[:5]]])

    assert is_opened_as_folded(told, R1, most_odd=1)


def test_a_run_that_is_over_closes_its_open_tasks(either_storage: Store) -> None:
    told = tell(either_storage, [*[begun(number) for number in MANY], ended(2, result="failure"), span("etl", work=RUN, end=99)])

    large = told.opened(R1, most_odd=1)

    assert large is not None
    assert (FAILED, {"FAILED": 1, "CANCELLED": 29}) == (large.outline.run.status, large.outline.run.counts)
    assert is_opened_as_folded(told, R1, most_odd=1)


def test_a_plain_trace_without_its_root_is_opened_without_one_oddity(either_storage: Store) -> None:
    told = tell(either_storage, [*[span(load(number), "unseen", start=number, end=9) for number in MANY], span("query", load(1))])

    assert is_opened_as_folded(told, TRACE, most_odd=1)


def test_a_span_whose_parent_has_only_begun_is_no_orphan(either_storage: Store) -> None:
    told = tell(
        either_storage, [span("root", end=99), moment(c.BEGUN, "middle", "root", ms=1), span("leaf", "middle", start=2), span("lost", "unseen")]
    )

    large = told.opened(TRACE)

    assert large is not None
    assert ["lost", "middle"] == [task.task_name for task in large.tasks]


def test_the_error_of_a_run_is_that_of_the_task_that_failed_first(either_storage: Store) -> None:
    failures = [ended(number, result="failure", status_code=2, status_message=f"broke {number}") for number in (7, 5, 6)]
    told = tell(either_storage, [*failures, *[ended(number) for number in MANY[8:]], span("etl", work=RUN, end=99)])

    large = told.opened(R1)

    assert large is not None
    assert "broke 5" == large.outline.run.error


@pytest.mark.parametrize("first", [1, 2])
def test_the_first_failure_counts_whether_or_not_something_odd_happened_to_the_task(either_storage: Store, first: int) -> None:
    failures = [ended(number, result="failure", status_code=2, status_message=f"broke {number}") for number in (1, 2)]
    failures[first - 1].end_ns = at(3)
    paused = moment(c.PAUSED, load(1), "etl", ms=2, work=work(c.ROLE_TASK, load(1), attempt=0))

    large = tell(either_storage, [*failures, paused]).opened(R1)

    assert large is not None
    assert f"broke {first}" == large.outline.run.error


# R005 R072
def test_a_retry_without_a_node_is_given_to_the_only_open_node_of_its_task(either_storage: Store) -> None:
    def flaky(name: str, ms: int, number: int) -> dict[str, Any]:
        return event(f"task_{name}", ms, task="flaky", node=f"flaky:{number}")

    told = tell_events(
        either_storage, [flaky("started", 1, 1), flaky("ok", 2, 1), flaky("started", 3, 2), event("task_retry", 4, task="flaky", attempt=1)]
    )

    large = told.opened(R1)

    assert large is not None
    assert [1, 2] == [task.attempt for task in large.tasks]


def test_a_task_that_was_announced_and_has_an_end_without_a_start_was_first_heard_of_then(either_storage: Store) -> None:
    facts: list[Fact] = [replace(begun(1), kind=c.ANNOUNCED), replace(ended(1), start_ns=0)]

    assert is_opened_as_folded(tell(either_storage, facts), R1)


def test_a_beginning_may_say_that_it_was_earlier(either_storage: Store) -> None:
    facts = [replace(begun(number), start_ns=at(0)) for number in (5, 6, 7)]

    assert is_opened_as_folded(tell(either_storage, facts), R1, most_odd=1)


def test_the_process_of_an_open_task_is_that_which_began_it_else_that_which_queued_it(either_storage: Store) -> None:
    silent = [replace(begun(number), process="") for number in MANY[:4]]
    scheduled = [replace(begun(number), kind=c.QUEUED, process=f"scheduler {number}") for number in MANY[:3]]
    cancelled = replace(begun(2), kind=c.CANCELLED)

    assert is_opened_as_folded(tell(either_storage, [*silent, *scheduled, cancelled]), R1, most_odd=2)


# R072
def test_a_retry_told_on_the_runs_own_span_is_given_to_the_node_it_names(either_storage: Store) -> None:
    notice = moment(c.RETRIED, "etl", ms=6, work=work(c.ROLE_RUN, load(5)), attributes={c.ATTEMPT: 1})
    told = tell(either_storage, [*[begun(number) for number in MANY], notice])

    assert is_opened_as_folded(told, R1, most_odd=2)


def test_a_task_whose_end_forgets_its_node_is_one_task(either_storage: Store) -> None:
    forgetful = replace(ended(1), work=work(c.ROLE_TASK))

    assert is_opened_as_folded(tell(either_storage, [begun(1), begun(2), forgetful]), R1)


# R072
def test_a_try_whose_announcement_alone_has_its_number_runs(either_storage: Store) -> None:
    numbered = replace(begun(1), kind=c.ANNOUNCED, work=work(c.ROLE_TASK, load(1), attempt=2))
    unnumbered = replace(begun(1), kind=c.QUEUED, work=work(c.ROLE_TASK, load(1)))

    told = tell(either_storage, [numbered, unnumbered, *[begun(number) for number in MANY[2:]]])

    assert all(is_opened_as_folded(told, R1, most_odd=most_odd) for most_odd in (2, MOST_ODD))


# R020
def test_children_and_not_orphans_are_the_tasks_of_a_run_without_a_word_on_tasks(either_storage: Store) -> None:
    facts: list[Fact] = [
        span("etl", work=RUN, end=99),
        span("load", "etl"),
        moment(c.BEGUN, "clean", "etl"),
        span("query", "load"),
        span("lost", "unseen"),
    ]

    assert all(is_opened_as_folded(tell(either_storage, facts), R1, most_odd=most_odd) for most_odd in (1, MOST_ODD))


# R020
def test_orphans_are_the_tasks_of_a_run_without_a_word_on_tasks_until_its_root_comes(either_storage: Store) -> None:
    part = work(c.ROLE_PART)
    facts: list[Fact] = [
        span("load", "unseen", work=part),
        span("query", "load", work=part),
        span("aside", work=part),
        moment(c.PAUSED, "alone", work=part),
    ]

    assert all(is_opened_as_folded(tell(either_storage, facts), R1, most_odd=most_odd) for most_odd in (1, MOST_ODD))


# --- what does -------------------------------------------------------------------------------------------------------------------------


def test_a_run_whose_trace_another_run_claims_is_left_to_the_fold(either_storage: Store) -> None:
    told = tell(either_storage, [span("etl", work=RUN), span("inner", "etl", work=work(c.ROLE_RUN, run_id="r2"))])

    assert [None, None] == [told.opened(key) for key in (R1, TRACE)]


def test_a_run_with_too_much_that_is_odd_is_left_to_the_fold(either_storage: Store) -> None:
    paused = [replace(begun(number), kind=c.PAUSED) for number in MANY]

    told = tell(either_storage, [*paused, *[ended(number) for number in MANY]])

    assert told.opened(R1, most_odd=29) is None
    assert is_opened_as_folded(told, R1, most_odd=31)


def test_a_flow_that_several_spans_name_and_not_the_run_is_left_to_the_fold(either_storage: Store) -> None:
    names = [replace(begun(number), work=replace(begun(number).work, flow_name=f"etl {number}")) for number in (1, 2)]
    keys = [replace(begun(number), work=replace(begun(number).work, flow_key=f"m:etl {number}")) for number in (1, 2)]
    named = span("etl", work=replace(RUN, flow_key="m:etl", flow_name="etl"))

    assert [None, None] == [tell(either_storage, facts).opened(R1) for facts in (names, keys)]
    assert all(is_opened_as_folded(tell(either_storage, [*facts, named]), R1) for facts in (names, keys))


def test_a_span_without_a_time_is_left_to_the_fold(either_storage: Store) -> None:
    assert tell(either_storage, [ended(1), replace(ended(2), start_ns=0, end_ns=0)]).opened(R1) is None


def test_a_run_whose_only_task_has_ends_on_two_days_is_left_to_the_fold(either_storage: Store) -> None:
    assert tell(either_storage, [ended(1), replace(ended(1), start_ns=at(-DAY_MS)), span("etl", work=RUN)]).opened(R1) is None


def test_a_run_known_by_a_log_line_alone_is_left_to_the_fold(either_storage: Store) -> None:
    assert tell_events(either_storage, [event("task_log", 5, message="hi")]).opened(R1) is None


def test_a_run_nobody_names_cannot_be_opened(either_storage: Store) -> None:
    assert tell(either_storage, []).opened(R1) is None

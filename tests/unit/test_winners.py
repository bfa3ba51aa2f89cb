"""Of each key the greatest fact, in whatever order the facts come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collector.model import FoldMoment, FoldSpan
from collector.winners import WORK_COLUMNS, Seen, are_paused, greatest_facts
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_STAMPED, RANK_TIMED, Fact, SpanEnd, SpanMoment, Work
from tests.builders import TRACE, FoldRows, Store, at, fold_rows, moment, span, span_id

KEY = (TRACE, span_id("a"))


def seen_of(*facts: Fact) -> Seen:
    """Return what is known of span `a`, without a store having chosen before."""
    spans, moments = fold_rows(facts)
    return greatest_facts(spans, moments)[KEY]


def test_an_ended_span_that_never_began_is_neither_begun_nor_open() -> None:
    seen = seen_of(span("a", start=1, end=5))

    assert (False, False, at(1), at(1)) == (seen.begun, seen.is_open, seen.started_ns, seen.first_ns)


# R008
def test_a_begun_span_without_an_end_is_open() -> None:
    seen = seen_of(moment(c.BEGUN, "a", ms=3))

    assert (True, True, at(3)) == (seen.begun, seen.is_open, seen.started_ns)


# R011
def test_a_begun_span_that_has_ended_is_not_open() -> None:
    assert not seen_of(span("a"), moment(c.BEGUN, "a", ms=900)).is_open


def test_a_span_that_was_paused_resumed_or_retried_has_begun() -> None:
    for kind in (c.PAUSED, c.RESUMED, c.RETRIED):
        assert seen_of(moment(kind, "a")).begun
    for kind in (c.ANNOUNCED, c.QUEUED, c.CANCELLED):
        assert not seen_of(moment(kind, "a")).begun


# R010
def test_of_several_beginnings_the_earliest_wins() -> None:
    seen = seen_of(moment(c.BEGUN, "a", ms=5, process="late"), moment(c.BEGUN, "a", ms=3, process="early"))

    assert (at(3), "early") == (seen.started_ns, seen.process)


# R012
def test_a_beginning_with_its_own_time_beats_an_earlier_stamped_one() -> None:
    assert at(5) == seen_of(moment(c.BEGUN, "a", ms=3, rank=RANK_STAMPED), moment(c.BEGUN, "a", ms=5)).started_ns


def test_a_finished_spans_own_start_beats_what_its_beginning_said() -> None:
    assert at(2) == seen_of(moment(c.BEGUN, "a", ms=1), span("a", start=2, end=5)).started_ns


def test_a_beginning_may_say_when_the_span_started() -> None:
    assert at(1) == seen_of(moment(c.BEGUN, "a", ms=5, start_ns=at(1))).started_ns


# R010
def test_the_greatest_end_stays_whatever_day_its_copies_lie_on() -> None:
    seen = seen_of(span("a", start=0, end=5, result="failure"), span("a", start=-86_400_000, end=9, result="success"))

    assert seen.end is not None
    assert ("success", 2) == (seen.end.result, len(seen.days))


def test_the_end_speaks_before_the_moments_and_these_fill_what_it_leaves_out() -> None:
    told = Work("flowspan", "r1", 0, b"k" * 16, "etl", "etl", "load", "load", "load:1", 0, c.ROLE_TASK)
    ended = SpanEnd(TRACE, span_id("a"), at(9), RANK_TIMED, Work("flowspan", "r1", 0, b"k" * 16, flow_name="ETL"), name="end")

    seen = seen_of(moment(c.BEGUN, "a", "p", work=told), ended)

    assert ("end", span_id("p"), "ETL", "etl", "load:1") == (
        seen.name,
        seen.parent_span_id,
        seen.work.flow_name,
        seen.work.flow_key,
        seen.work.node,
    )


def test_the_words_of_an_end_and_of_a_moment_are_their_last_columns() -> None:
    words = tuple(field.name for field in fields(Work) if field.name != "dialect")

    assert [words, words] == [FoldSpan._fields[WORK_COLUMNS:], FoldMoment._fields[WORK_COLUMNS:]]


# R072
def test_a_retry_without_a_node_does_not_name_the_runs_span() -> None:
    retry = moment(c.RETRIED, "a", ms=1, work=Work("flowspan", "r1", 0, b"k" * 16, task_name="load", role=c.ROLE_RUN))

    seen = seen_of(retry, moment(c.BEGUN, "a", ms=2))

    assert ("a", "") == (seen.name, seen.work.task_name)


def test_the_last_of_paused_and_resumed_counts_over_all_spans_of_one_thing() -> None:
    paused, resumed, again = (moment(kind, "a", ms=ms) for kind, ms in ((c.PAUSED, 1), (c.RESUMED, 2), (c.PAUSED, 3)))

    assert are_paused([seen_of(paused)])
    assert not are_paused([seen_of(paused), seen_of(resumed)])
    assert are_paused([seen_of(paused, again), seen_of(resumed)])
    assert not are_paused([seen_of(moment(c.PAUSED, "a", ms=2), resumed)])
    assert not are_paused([])


def test_a_person_cancelled_it_when_first_told_so() -> None:
    seen = seen_of(moment(c.CANCELLED, "a", ms=5), moment(c.CANCELLED, "a", ms=4), moment(c.BEGUN, "a"))

    assert (True, at(4), False) == (seen.cancelled, seen.cancelled_ns, seen.is_open)


TIMES = st.integers(0, 3)
MOMENTS = st.builds(
    lambda kind, name, ms, rank, process: moment(kind, name, ms=ms, rank=rank, process=process),
    st.sampled_from(sorted(c.MOMENT_KINDS)),
    st.sampled_from("ab"),
    TIMES,
    st.sampled_from((RANK_STAMPED, RANK_TIMED)),
    st.sampled_from(("", "p1", "p2")),
)
ENDS = st.builds(
    lambda name, start, end, result: span(name, start=start, end=end, result=result, attributes={c.TASK_RUN_RESULT: result}),
    st.sampled_from("ab"),
    TIMES,
    TIMES,
    st.sampled_from(("", "success", "failure")),
)


# R011
@given(st.lists(st.one_of(MOMENTS, ENDS), min_size=1, max_size=8), st.data())
def test_any_order_of_the_same_facts_is_the_same_knowledge(facts: Sequence[SpanMoment | SpanEnd], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations([*facts, *facts[:2]]))

    assert _known(fold_rows(facts)) == _known(fold_rows(shuffled))


# R010 R011
@given(st.lists(st.one_of(MOMENTS, ENDS), min_size=1, max_size=8), st.data())
def test_a_store_that_keeps_the_greatest_fact_loses_nothing(facts: Sequence[SpanMoment | SpanEnd], data: st.DataObject) -> None:
    store = Store()
    for fact in data.draw(st.permutations(facts)):
        store.take([fact])

    assert _known(fold_rows(facts)) == _known(store.fold_rows([TRACE]))


def _known(rows: FoldRows) -> dict[Any, Any]:
    """Tell what is known of each span."""
    return {
        key: (seen.end, seen.once, seen.often, seen.work, seen.name, seen.parent_span_id, seen.process, seen.started_ns)
        for key, seen in greatest_facts(*rows).items()
    }

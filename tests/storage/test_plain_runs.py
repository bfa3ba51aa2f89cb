"""The run of a plain trace is folded from sums over its spans, and is what the fold says of them one by one; any other run is left to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from collector.picture import Run
from collector.testing.questions import fold_all
from otel_bridge import conventions as c
from otel_bridge.facts import Fact, SpanEnd, Work
from storage_plugins.sql.large_runs import LARGE_FACTS
from storage_plugins.sql.plain_runs import fold_plain_runs
from tests.builders import R1, TRACE, moment, span, work
from tests.large_runs import Store, Told, tell
from tests.odd_facts import DAY_MS, OTHER_TRACE, odd_facts

NAMES = ("root", "load1", "load2", "load3", "query", "fetch")
PARENTS = ("", "root", "root", "root", "load1", "query", "query", "unseen")
STATES = (c.STATUS_UNSET, c.STATUS_OK, c.STATUS_OK, c.STATUS_ERROR)
# What a name may hold, and what Postgres takes in an array, a JSON text and a path may not: all of it must come back.
ODD_TEXT = 'C:\\x41 "quoted" {1,2} é \u2028 \U0001f4a5'


@st.composite
def plain_traces(draw: st.DrawFn) -> list[Fact]:
    """Make the spans of a plain trace, whichever of them have come, under whatever parent they name."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True))
    return [draw(_ends(name, "" if name == "root" else draw(st.sampled_from(PARENTS)))) for name in names]


@st.composite
def _ends(draw: st.DrawFn, name: str, parent: str) -> SpanEnd:
    start = draw(st.integers(0, 9))
    message = draw(st.sampled_from(("", f"{name} broke")))
    ended = span(name, parent, start=start, end=draw(st.integers(0, 9)), status_code=draw(st.sampled_from(STATES)), status_message=message)
    return ended if parent else replace(ended, work=Work(flow_key=f"shop:{name}", flow_name=name))


def root(flow: str = "shop:root", **columns: Any) -> SpanEnd:
    return span("root", end=9, work=Work(flow_key=flow, flow_name=flow), **columns)


def plainly_folded(told: Told, key: bytes, most_spans: int = LARGE_FACTS) -> Run | None:
    with told.storage.snapshot() as connection:
        return fold_plain_runs(connection, told.project, [key], most_spans).get(key)


# --- what sums tell --------------------------------------------------------------------------------------------------------------------


# R024
@given(facts=plain_traces())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_plain_trace_folded_from_sums_is_what_the_fold_says(either_storage: Store, facts: list[Fact]) -> None:
    told = tell(either_storage, facts)

    assert plainly_folded(told, TRACE) in (None, told.folded(TRACE).run)


# R024
@pytest.mark.parametrize(
    "facts",
    [
        [root(), span("load", "root", start=2, end=3), span("query", "load"), span("lost", "unseen", start=1)],
        [root(status_code=c.STATUS_ERROR, status_message="down"), span("load", "root", status_code=c.STATUS_ERROR, status_message="no")],
        [root(), span("load", "root", status_code=c.STATUS_ERROR, status_message="no")],
        [span("load", "root", start=2, end=3), span("query", "load", status_code=c.STATUS_ERROR)],
        [root()],
    ],
    ids=["whole", "failed", "a task failed", "root to come", "root alone"],
)
def test_the_usual_trace_is_folded_from_sums(either_storage: Store, facts: list[Fact]) -> None:
    told = tell(either_storage, facts, strangers=1)

    assert told.folded(TRACE).run == plainly_folded(told, TRACE)


# --- what is left to the fold ----------------------------------------------------------------------------------------------------------


# R024
@given(facts=st.one_of(odd_facts(), odd_facts(run_ids=(), oddness=10)))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_run_with_any_oddity_is_never_folded_to_something_else(either_storage: Store, facts: list[Fact]) -> None:
    told = tell(either_storage, facts)

    for key in (R1, TRACE, OTHER_TRACE):
        run = plainly_folded(told, key)
        assert run is None or told.folded(key).run == run


@pytest.mark.parametrize(
    "odd",
    [
        span("other"),
        span("load", "root", work=work(c.ROLE_TASK, "load:1")),
        span("load", "root", work=Work(attempt=1)),
        span("load", "root", work=Work(flow_key="shop:load", flow_name="load")),
        span("load", "root", result=c.RESULT_SKIP),
        replace(span("load", "root"), end_ns=0),
        span("load", "root", start=DAY_MS, end=DAY_MS),
        moment(c.BEGUN, "load", "root"),
    ],
    ids=["two roots", "a named run", "an attempt", "two flows", "a result", "no end", "two days", "an open span"],
)
def test_what_sums_do_not_tell_is_left_to_the_fold(either_storage: Store, odd: Fact) -> None:
    told = tell(either_storage, [root(), odd])

    assert plainly_folded(told, TRACE) is None


def test_a_failure_that_nobody_explains_is_left_to_the_fold_to_look_for(either_storage: Store) -> None:
    told = tell(either_storage, [root(status_code=c.STATUS_ERROR), span("load", "root", status_code=c.STATUS_ERROR, status_message="no")])

    assert "no" == told.folded(TRACE).run.error
    assert plainly_folded(told, TRACE) is None


def test_a_large_trace_is_left_to_those_who_outline_it(either_storage: Store) -> None:
    told = tell(either_storage, [root(), span("load", "root")])

    assert plainly_folded(told, TRACE, most_spans=2) is not None
    assert plainly_folded(told, TRACE, most_spans=1) is None


def test_a_run_is_cached_with_its_texts_as_they_are(either_storage: Store) -> None:
    told = tell(either_storage, [root(ODD_TEXT, status_code=c.STATUS_ERROR, status_message=ODD_TEXT)])
    fold_all(either_storage)

    with either_storage.snapshot() as connection:
        cached = connection.execute(text("SELECT flow_key, flow_name, error FROM runs WHERE project = :project"), {"project": told.project})
        rows = cached.all()

    assert [(ODD_TEXT, ODD_TEXT, told.folded(TRACE).run.error)] == [tuple(row) for row in rows]

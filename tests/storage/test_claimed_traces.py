"""The provisional run of a trace that a named run claims is folded without its spans, and is what the fold says of all of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from collector.picture import RunPicture
from otel_bridge import conventions as c
from otel_bridge.facts import Fact, LogLine
from storage_plugins.sql.claimed_traces import fold_claimed_traces
from storage_plugins.sql.folding import fold_marks
from tests.builders import R1, RECEIVED_NS, RUN, TRACE, at, moment, span, work
from tests.large_runs import Store, Told, tell
from tests.large_views import mark_of
from tests.odd_facts import OTHER_TRACE, odd_facts


def claimed(told: Told, key: bytes) -> RunPicture | None:
    with told.storage.snapshot() as connection:
        return fold_claimed_traces(connection, told.project, [key, R1], RECEIVED_NS).get(key)


# --- without a span --------------------------------------------------------------------------------------------------------------------


# R024
@given(facts=odd_facts(run_ids=("r1", "r2")))
@settings(max_examples=30)
def test_a_claimed_trace_is_folded_to_what_the_fold_says_of_all_its_spans(either_storage: Store, facts: list[Fact]) -> None:
    told = tell(either_storage, [*facts, span("plain"), span("etl", work=RUN)])

    other = claimed(told, OTHER_TRACE)

    assert told.folded(TRACE) == claimed(told, TRACE)
    assert other is None or told.folded(OTHER_TRACE) == other


def test_a_claimed_trace_known_by_lines_alone_is_no_exception(either_storage: Store) -> None:
    lines = [LogLine(TRACE, b"", at(1), "hi", told, at(1)) for told in (RUN, span("x").work)]
    told = tell(either_storage, lines)

    assert told.folded(TRACE) == claimed(told, TRACE)


@pytest.mark.parametrize("large_facts", [0, 1_000])
def test_a_claimed_trace_is_never_a_large_run(either_storage: Store, large_facts: int) -> None:
    told = tell(either_storage, [span("etl", work=RUN), *(span(f"q{number}", "etl") for number in range(9))])

    with either_storage.snapshot() as connection:
        done = fold_marks(connection, [mark_of(told, TRACE)], RECEIVED_NS, large_facts)

    ((hidden, outline),) = [(one.picture.run.hidden, one.outline) for one in done.folded]
    assert (True, "") == (hidden, outline)


# --- what is not claimed by others -----------------------------------------------------------------------------------------------------


def test_a_trace_nobody_claims_has_its_spans(either_storage: Store) -> None:
    assert claimed(tell(either_storage, [span("root")]), TRACE) is None


def test_a_run_that_is_named_in_another_trace_than_its_own_has_its_spans(either_storage: Store) -> None:
    inner = span("inner", trace_id=R1, work=work(c.ROLE_RUN, run_id="r2"))
    told = tell(either_storage, [span("plain", trace_id=R1), inner, moment(c.BEGUN, "etl", work=RUN)])

    assert claimed(told, R1) is None

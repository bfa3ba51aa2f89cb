"""Any run there may be is shown, paged, logged and followed as a large one as it is as a small one, on each storage."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_bridge import conventions as c
from otel_bridge.facts import Fact
from tests.builders import R1, TRACE, span, work
from tests.large_runs import Store, tell
from tests.large_views import fold_now, has_the_same_news, is_shown_as_folded, says_what_is_folded
from tests.odd_lines import odd_facts_with_lines, told_in_two

# --- any run ---------------------------------------------------------------------------------------------------------------------------


# R014
@given(facts=odd_facts_with_lines(), is_folded=st.booleans())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_named_run_is_shown_as_a_small_one_is(either_storage: Store, facts: list[Fact], is_folded: bool) -> None:
    told = tell(either_storage, [*facts, span("etl", work=work(c.ROLE_RUN))])
    if is_folded:
        fold_now(told, R1)

    is_shown_as_folded(told, R1)
    says_what_is_folded(told, R1)


# R014
@given(facts=odd_facts_with_lines(run_ids=(), oddness=25), is_folded=st.booleans())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_plain_trace_is_shown_as_a_small_one_is(either_storage: Store, facts: list[Fact], is_folded: bool) -> None:
    told = tell(either_storage, facts)
    if is_folded:
        fold_now(told, TRACE)

    is_shown_as_folded(told, TRACE)
    says_what_is_folded(told, TRACE)


# R014
@given(facts=told_in_two())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_news_of_a_named_run_are_those_of_a_small_one(either_storage: Store, facts: tuple[list[Fact], list[Fact]]) -> None:
    """A span that is said to be of another node by what takes its beginning's place is news of the node it comes to alone."""
    before, after = facts
    told = tell(either_storage, [*before, span("etl", work=work(c.ROLE_RUN))])

    has_the_same_news(told, R1, after)


# R014
@given(before=odd_facts_with_lines(run_ids=()), after=odd_facts_with_lines(run_ids=()))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_news_of_a_plain_trace_are_those_of_a_small_one(either_storage: Store, before: list[Fact], after: list[Fact]) -> None:
    told = tell(either_storage, before)

    has_the_same_news(told, TRACE, after)

"""Any run there may be, recorded or made up, is opened as a large one to what the fold says of it, on each storage."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_bridge import conventions as c
from otel_bridge.facts import Fact, ProcessBeat
from otel_bridge.identity import run_key
from storage_plugins.sql.large_runs import MOST_ODD
from tests.builders import R1, TRACE, at, recorded
from tests.large_runs import Store, is_opened_as_folded, tell, tell_events
from tests.odd_facts import OTHER_TRACE, odd_facts

CASES = ("linear", "fan_out", "retry", "fail_fast", "continue", "nested")
# With few, what may be read one by one elsewhere must be told by SQL.
ANY_ODD = st.sampled_from((2, 4, MOST_ODD))
# Rows of a run lie side by side, or among others, or far from each other.
STRANGERS = st.sampled_from((0, 1, 12))


# R014
@pytest.mark.parametrize("case", CASES)
def test_a_recorded_run_is_opened_as_it_is_folded(either_storage: Store, case: str) -> None:
    events = recorded(case)

    told = tell_events(either_storage, events)

    assert all(is_opened_as_folded(told, run_key(c.DEFAULT_SOURCE, run_id)) for run_id in {payload["run_id"] for payload in events})


# R014
@given(facts=odd_facts(oddness=12), most_odd=ANY_ODD, strangers=STRANGERS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_named_run_with_any_oddity_is_opened_as_it_is_folded(either_storage: Store, facts: list[Fact], most_odd: int, strangers: int) -> None:
    told = tell(either_storage, facts, strangers)

    for key in (R1, TRACE, OTHER_TRACE):
        is_opened_as_folded(told, key, most_odd=most_odd)


# R014 R024
@given(facts=odd_facts(run_ids=(), oddness=25), now_ms=st.sampled_from((1, 900)), most_odd=ANY_ODD, strangers=STRANGERS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_plain_trace_with_any_oddity_is_opened_as_it_is_folded(
    either_storage: Store, facts: list[Fact], now_ms: int, most_odd: int, strangers: int
) -> None:
    told = tell(either_storage, [*facts, ProcessBeat("p1", at(0), 100)], strangers)

    is_opened_as_folded(told, TRACE, at(now_ms), most_odd)

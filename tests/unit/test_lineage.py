"""Whose run each span is, and which spans are its tasks: decided at read, from whatever has come so far."""

from __future__ import annotations

from typing import Any

from collector.lineage import Claim, Lineage, trace_lineage
from collector.winners import Seen, SpanKey, greatest_facts
from otel_bridge import conventions as c
from otel_bridge.facts import Fact
from otel_bridge.identity import run_key
from tests.builders import R1, TRACE, Store, event, fold_rows, moment, only_fact, picture_of_facts, span, span_id, states_of, work

R2 = run_key("flowspan", "r2")
RUN = work(c.ROLE_RUN)


def lineage_of(*facts: Fact, key: bytes = R1) -> Lineage:
    store = Store().take(facts)
    traces = {claim.trace_id for claim in store.claims}
    return trace_lineage(key, greatest_facts(*store.fold_rows(traces)), sorted(store.claims))


def names(lineage: Lineage) -> list[str]:
    return sorted(seen.name for seen in lineage.members)


# --- whose ------------------------------------------------------------------------------------------------------------------------------


# R023
def test_a_span_belongs_to_the_run_its_nearest_ancestor_names() -> None:
    facts = [
        span("outer", work=RUN),
        span("load", "outer", work=work(c.ROLE_TASK, "load:1")),
        span("inner", "load", work=work(c.ROLE_RUN, run_id="r2")),
        span("query", "inner"),
        span("socket", "query"),
        span("log", "load"),
    ]

    assert ["load", "log", "outer"] == names(lineage_of(*facts))
    assert ["inner", "query", "socket"] == names(lineage_of(*facts, key=R2))


# R023
def test_without_an_ancestor_that_names_one_the_only_claimant_of_the_trace_has_it() -> None:
    facts = [span("request"), span("etl", "request", work=RUN), span("reply", "request")]

    assert ["etl", "reply", "request"] == names(lineage_of(*facts))


# R023
def test_where_several_runs_claim_a_trace_and_no_ancestor_decides_a_span_is_nobodys() -> None:
    facts = [span("request"), span("one", "request", work=RUN), span("two", "request", work=work(c.ROLE_RUN, run_id="r2"))]

    assert ["one"] == names(lineage_of(*facts))
    assert ["two"] == names(lineage_of(*facts, key=R2))
    assert [] == names(lineage_of(*facts, key=TRACE))


def test_spans_of_one_id_in_two_traces_are_two_spans() -> None:
    other = b"\7" * 16

    lineage = lineage_of(span("etl", work=RUN), span("query", "etl"), span("query", trace_id=other))

    assert ["etl", "query"] == names(lineage)
    assert ["query"] == names(lineage_of(span("query", trace_id=other), key=other))


# R015
def test_parents_that_go_round_in_a_circle_end() -> None:
    facts = [span("etl", work=RUN), span("a", "b"), span("b", "c"), span("c", "a"), span("self", "self")]

    assert ["a", "b", "c", "etl", "self"] == names(lineage_of(*facts))


class CountedSpans(dict[SpanKey, Seen]):
    """What is known of each span, counting how often somebody asks."""

    asked = 0

    def get(self, *args: Any) -> Any:
        """Count, and answer."""
        self.asked += 1
        return super().get(*args)


# R015
def test_many_circles_cost_no_more_than_as_many_spans() -> None:
    circles = [span(f"{place:05}{side}", f"{place:05}{other}") for place in range(500) for side, other in ("ab", "ba")]
    seen = CountedSpans(greatest_facts(*fold_rows(circles)))

    lineage = trace_lineage(TRACE, seen, [Claim(TRACE, TRACE, c.TRACE_SOURCE, TRACE.hex(), 0)])

    assert 1000 == len(lineage.owners)
    assert seen.asked <= 5 * len(seen)


# R015
def test_a_chain_of_ten_thousand_spans_belongs_to_its_root() -> None:
    chain = [span(str(place), str(place - 1)) for place in range(1, 10_000)]

    assert 10_000 == len(lineage_of(span("0", work=RUN), *reversed(chain)).members)


# --- tasks -----------------------------------------------------------------------------------------------------------------------------


# R020
def test_spans_that_name_a_node_are_tasks_and_nothing_else_is() -> None:
    lineage = lineage_of(span("etl", work=RUN), span("load", "etl", work=work(c.ROLE_TASK, "load:1")), span("query", "etl"))

    assert ["load:1"] == list(lineage.tasks)


# R020
def test_in_a_run_without_a_word_on_tasks_the_children_of_the_root_are_tasks() -> None:
    lineage = lineage_of(span("etl", work=RUN), span("load", "etl"), span("query", "load"))

    assert [span_id("load").hex()] == list(lineage.tasks)


# R024
def test_in_a_plain_trace_the_children_of_the_root_are_tasks() -> None:
    picture = picture_of_facts(span("GET /", start=0, end=9), span("query", "GET /", start=1), span("socket", "query", start=2), key=TRACE)

    assert [("query", span_id("query").hex())] == [(task.task_name, task.node) for task in picture.tasks]


# R024
def test_until_the_root_of_a_plain_trace_comes_spans_with_an_unseen_parent_are_tasks() -> None:
    picture = picture_of_facts(span("query", "GET /", start=1), span("socket", "query", start=2), key=TRACE)

    assert ["query"] == [task.task_name for task in picture.tasks]


# R024
def test_a_second_root_of_a_plain_trace_is_a_task() -> None:
    picture = picture_of_facts(span("first", start=0), span("second", start=1), key=TRACE)

    assert ["second"] == [task.task_name for task in picture.tasks]


def test_until_a_named_runs_root_comes_spans_with_an_unseen_parent_are_tasks() -> None:
    part = work(c.ROLE_PART)

    assert [span_id("load").hex()] == list(lineage_of(span("load", "etl", work=part), span("query", "load", work=part)).tasks)


def test_orphans_of_a_named_run_with_a_root_are_no_tasks() -> None:
    lineage = lineage_of(span("etl", work=RUN), span("lost", "never seen"))

    assert {} == lineage.tasks
    assert "" == lineage.owners[TRACE, span_id("lost")]


# R024
def test_two_spans_of_one_name_are_two_tasks_of_a_plain_trace() -> None:
    facts = [span("root"), span("a1", "root", name="query"), span("a2", "root", name="query")]

    assert 2 == len(picture_of_facts(*facts, key=TRACE).tasks)


# --- owners ----------------------------------------------------------------------------------------------------------------------------


# R021
def test_a_span_is_owned_by_the_node_above_it_else_by_the_run() -> None:
    facts = [span("etl", work=RUN), span("load", "etl", work=work(c.ROLE_TASK, "load:1")), span("query", "load"), span("setup", "etl")]

    owners = lineage_of(*facts).owners

    assert ["", "load:1", "load:1", ""] == [owners[TRACE, span_id(name)] for name in ("etl", "load", "query", "setup")]


# R021
def test_spans_of_another_run_are_owned_by_nobody_here() -> None:
    facts = [
        span("load", work=work(c.ROLE_TASK, "load:1")),
        span("inner", "load", work=work(c.ROLE_RUN, run_id="r2")),
        span("back", "inner", work=work(c.ROLE_PART)),
    ]

    assert {(TRACE, span_id("load")): "load:1", (TRACE, span_id("back")): "load:1"} == lineage_of(*facts).owners


# --- claims ----------------------------------------------------------------------------------------------------------------------------


# R023 R024
def test_a_plain_trace_is_hidden_once_a_named_run_has_claimed_it() -> None:
    facts = [span("request"), span("query", "request")]

    plain, claimed = picture_of_facts(*facts, key=TRACE), picture_of_facts(*facts, span("etl", "request", work=RUN), key=TRACE)

    assert (False, "trace") == (plain.run.hidden, plain.run.kind)
    assert (True, []) == (claimed.run.hidden, claimed.tasks)


# R023
def test_a_run_over_two_traces_has_the_spans_of_both() -> None:
    other = b"\7" * 16
    facts = [
        span("etl", work=RUN),
        span("load", "elsewhere", trace_id=other, work=work(c.ROLE_TASK, "load:1")),
        span("query", "load", trace_id=other),
    ]

    picture = picture_of_facts(*facts)

    assert [TRACE, other] == picture.run.trace_ids
    assert "load:1" == picture.owners[other, span_id("query")]


def test_the_traces_only_one_run_claims_are_its_own() -> None:
    facts = [span("etl", work=RUN), only_fact(event("flow_started", 1)), span("a", trace_id=b"\7" * 16)]

    assert frozenset({TRACE, R1}) == lineage_of(*facts).own_traces


def test_a_claim_of_nobody_else_makes_no_named_run() -> None:
    claim = Claim(TRACE, TRACE, c.TRACE_SOURCE, TRACE.hex(), 0)

    lineage = trace_lineage(TRACE, greatest_facts(*Store().take([moment(c.BEGUN, "a")]).fold_rows([TRACE])), [claim])

    assert (False, ["a"]) == (lineage.named, names(lineage))


# R024
def test_children_are_tasks_of_a_plain_trace_while_they_are_open() -> None:
    picture = picture_of_facts(moment(c.BEGUN, "root"), moment(c.BEGUN, "query", "root", ms=1), key=TRACE)

    assert {span_id("query").hex(): "RUNNING"} == states_of(picture)

"""Runs as tests.odd_facts makes them, that also say something: log records, and events of finished spans, some of them twins."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from otel_bridge import conventions as c
from otel_bridge.facts import Fact, LogLine, SpanEnd, SpanEvent, SpanMoment, Work
from tests.builders import TRACE, at, span_id, work
from tests.odd_facts import NAMES, OTHER_TRACE, odd_facts

TIMES = st.sampled_from((0, 1, 1, 2, 5, 90))
WORDS = st.sampled_from(("hello", "working", "done"))
# Of spans that are there, and of one that nobody has seen.
SPEAKERS = st.sampled_from((*NAMES, "unseen"))
# Of each span what is said of it, and the kind of fact that does: empty for an end.
Tellers = dict[tuple[bytes, bytes], tuple[Work, str]]
FAILURE = {c.EXCEPTION_TYPE: "ValueError", c.EXCEPTION_MESSAGE: "bad row"}


@st.composite
def odd_facts_with_lines(draw: st.DrawFn, *, run_ids: tuple[str, ...] = ("r1",), oddness: int = 12) -> list[Fact]:
    """Make facts of these runs, of a plain trace if there is none, and lines."""
    facts = [draw(_with_events(fact)) for fact in draw(odd_facts(run_ids=run_ids, oddness=oddness))]
    lines: list[Fact] = [draw(_lines(run_ids)) for _ in range(draw(st.integers(0, 5)))]
    return [*facts, *lines]


@st.composite
def told_in_two(draw: st.DrawFn) -> tuple[list[Fact], list[Fact]]:
    """Make facts of a run and more facts of it, which agree on what each span is, as far as they say it."""
    tellers: Tellers = {}
    return draw(_in_agreement(draw(odd_facts_with_lines()), tellers)), draw(_in_agreement(draw(odd_facts_with_lines()), tellers))


@st.composite
def _in_agreement(draw: st.DrawFn, facts: list[Fact], tellers: Tellers) -> list[Fact]:
    """Let facts that cannot take the place of who first said what their span is say the same, or nothing."""
    agreed: list[Fact] = []
    for fact in facts:
        if isinstance(fact, SpanEnd | SpanMoment):
            kind = fact.kind if isinstance(fact, SpanMoment) else ""
            told, teller = tellers.setdefault((fact.trace_id, fact.span_id), (fact.work, kind))
            is_silent = kind != teller != c.RETRIED and draw(st.integers(0, 3)) > 0
            fact = replace(fact, work=Work() if is_silent else told)
        agreed.append(fact)
    return agreed


@st.composite
def _with_events(draw: st.DrawFn, fact: Fact) -> Fact:
    if not isinstance(fact, SpanEnd):
        return fact
    return replace(fact, events=[draw(_events()) for _ in range(draw(st.integers(0, 3)))])


@st.composite
def _events(draw: st.DrawFn) -> SpanEvent:
    if draw(st.booleans()):
        return SpanEvent(at(draw(TIMES)), draw(WORDS))
    return SpanEvent(at(draw(TIMES)), c.EXCEPTION_EVENT, FAILURE)


@st.composite
def _lines(draw: st.DrawFn, run_ids: tuple[str, ...]) -> LogLine:
    told = Work()
    is_named: bool = draw(st.booleans())
    if run_ids and is_named:
        node = draw(st.sampled_from(("", "load:1", "load:2")))
        told = work(c.ROLE_TASK, node, run_id=draw(st.sampled_from(run_ids)))
    trace_id = draw(st.sampled_from((TRACE, TRACE, OTHER_TRACE if run_ids else TRACE)))
    return LogLine(trace_id, span_id(draw(SPEAKERS)), at(draw(TIMES)), draw(WORDS), told, severity_number=draw(st.sampled_from((9, 17))))

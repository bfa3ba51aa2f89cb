"""Runs with every oddity a fold knows, for hypothesis: spans of one node, attempts, people who cancel, words that differ, ends on two days."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP, RANK_STAMPED, RANK_TIMED, Fact, SpanEnd, SpanMoment, Work
from tests.builders import TRACE, at, moment, span, work

OTHER_TRACE = b"\7" * 16
# Spans of a run. What each is as long as nothing odd happens; the first is the run itself.
NAMES = ("etl", "load1", "load2", "load3", "clean1", "clean2", "query")
PARENTS = ("", "etl", "etl", "etl", "load1", "query", "unseen")
DAY_MS = 86_400_000
TIMES = st.sampled_from((0, 1, 2, 3, 5, 8, DAY_MS))
RESULTS = ("", "", "success", "success", "failure", "skip", "cancellation", "retry")
MOMENTS = (c.BEGUN, c.BEGUN, c.BEGUN, c.QUEUED, c.ANNOUNCED, c.PAUSED, c.RESUMED, c.CANCELLED, c.RETRIED, c.RETRIED)
CALM_MOMENTS = (c.BEGUN, c.BEGUN, c.QUEUED, c.ANNOUNCED)
DESCRIBED: tuple[dict[str, Any], ...] = (
    {},
    {},
    {c.ATTEMPT: 1, "exception.message": "no"},
    {c.ATTEMPTS: 3, c.UPSTREAM: ["load:1"]},
    {c.PARAMS: {"day": 1}, c.TAGS: ["x"]},
)


@st.composite
def odd_facts(draw: st.DrawFn, *, run_ids: tuple[str, ...] = ("r1",), oddness: int = 30) -> list[Fact]:
    """Make facts of these runs, of a plain trace if there is none. oddness: in percent, how often something is not as usual."""
    odd = st.integers(0, 99).map(lambda drawn: drawn < oddness)
    facts: list[Fact] = [draw(_facts(run_ids, odd)) for _ in range(draw(st.integers(1, 12)))]
    return facts


@st.composite
def _facts(draw: st.DrawFn, run_ids: tuple[str, ...], odd: st.SearchStrategy[bool]) -> Fact:
    name = draw(st.sampled_from(NAMES))
    told = _usual_work(name, draw(st.sampled_from(run_ids))) if run_ids else Work()
    parent = "" if name == NAMES[0] else "load1" if name == "query" else NAMES[0]
    if draw(odd):
        told = draw(_odd_work(told, run_ids))
    if draw(odd):
        parent = draw(st.sampled_from(PARENTS))
    is_elsewhere = bool(run_ids) and draw(odd)
    fact = draw(_ends(name, parent, draw(odd))) if draw(st.booleans()) else draw(_moments(name, parent, draw(odd)))
    return replace(fact, work=told, trace_id=OTHER_TRACE if is_elsewhere else TRACE)


def _usual_work(name: str, run_id: str) -> Work:
    if name == NAMES[0]:
        told = work(c.ROLE_RUN, run_id=run_id)
    elif name == "query":
        told = Work()
    else:
        told = work(c.ROLE_TASK, f"{name[:-1]}:{name[-1]}", run_id=run_id, attempt=0)
    return told if not told.run_key else replace(told, flow_key="etl", flow_name="etl")


@st.composite
def _odd_work(draw: st.DrawFn, usual: Work, run_ids: tuple[str, ...]) -> Work:
    role = draw(st.sampled_from((c.ROLE_RUN, c.ROLE_TASK, c.ROLE_TASK, c.ROLE_ATTEMPT, c.ROLE_PART)))
    node = draw(st.sampled_from(("load:1", "load:1", "load:2", "clean:1", "clean:3", "")))
    attempt = draw(st.sampled_from((None, None, 0, 1, 2)))
    if not run_ids or draw(st.booleans()):
        return Work(task_name=usual.task_name, node=node if role != c.ROLE_RUN else "", attempt=attempt, role=role)
    told = work(role, node, run_id=draw(st.sampled_from(run_ids)), attempt=attempt)
    return replace(told, flow_key=draw(st.sampled_from(("", "m:etl"))), flow_name=draw(st.sampled_from(("etl", ""))))


@st.composite
def _ends(draw: st.DrawFn, name: str, parent: str, odd: bool) -> SpanEnd:
    started, lasted = draw(TIMES), draw(st.sampled_from((0, 1, 4)))
    result = draw(st.sampled_from(RESULTS if odd else RESULTS[:5]))
    code = draw(st.sampled_from((c.STATUS_UNSET, c.STATUS_OK, c.STATUS_ERROR)))
    ended = span(name, parent, start=started, end=started + lasted, result=result, status_code=code, status_message=f"{name} broke")
    ended.attributes = draw(st.sampled_from(DESCRIBED))
    if odd:
        ended.rank = draw(st.sampled_from((RANK_OTLP, RANK_TIMED, RANK_STAMPED)))
        ended.start_ns = draw(st.sampled_from((0, at(1), ended.start_ns)))
        ended.end_ns = draw(st.sampled_from((ended.end_ns, ended.end_ns, 0)))
        ended.name = draw(st.sampled_from((name, "", "load")))
    return ended


@st.composite
def _moments(draw: st.DrawFn, name: str, parent: str, odd: bool) -> SpanMoment:
    kind = draw(st.sampled_from(MOMENTS if odd else CALM_MOMENTS))
    said = moment(kind, name, parent, ms=draw(TIMES), attributes=draw(st.sampled_from(DESCRIBED)))
    if odd:
        said.process = draw(st.sampled_from(("", "p1", "p2")))
        said.start_ns = draw(st.sampled_from((0, at(0), at(2))))
        said.rank = draw(st.sampled_from((RANK_TIMED, RANK_STAMPED)))
        said.name = draw(st.sampled_from((name, "")))
    return said

"""Whose run each span is, and which spans are its tasks. Decided at read, never at write: the root may come last, or never. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from collector.winners import Seen, SpanKey
from otel_bridge import conventions as c
from otel_bridge.facts import Work

NOBODY = b""


class Claim(NamedTuple):
    """A run known to have facts in a trace. source is conventions.TRACE_SOURCE for the provisional run every trace has."""

    trace_id: bytes
    run_key: bytes
    source: str
    run_id: str
    generation: int


@dataclass(slots=True)
class Lineage:
    """The spans of one run, by what they are in it.

    members: all, by first time. run_spans: those that are the run itself. tasks: node -> its own spans and attempts.
    owners: span -> node it belongs to, "" = the run itself. own_traces: those in which whatever names no run is this run's.
    """

    named: bool
    members: list[Seen] = field(default_factory=list)
    run_spans: list[Seen] = field(default_factory=list)
    tasks: dict[str, list[Seen]] = field(default_factory=dict)
    owners: dict[SpanKey, str] = field(default_factory=dict)
    own_traces: frozenset[bytes] = frozenset()


def trace_lineage(run_key: bytes, seen: Mapping[SpanKey, Seen], claims: Sequence[Claim]) -> Lineage:
    """Return the spans of run_key among everything seen in its traces.

    A span belongs to the run it names, else to that of its nearest ancestor that names one, else to the only run that claims its trace.
    Where several runs claim it and no ancestor decides, it belongs to none of them: the trace's own page shows it.
    """
    named = {claim.run_key for claim in claims if claim.source != c.TRACE_SOURCE}
    claimants: dict[bytes, set[bytes]] = {}
    for claim in claims:
        if claim.run_key in named:
            claimants.setdefault(claim.trace_id, set()).add(claim.run_key)
    belongs = _Belonging(seen, claimants)
    members = [span for span in seen.values() if belongs.run_of(span) == run_key]
    members.sort(key=attrgetter("key"))  # as they mostly come, so that sorting twice costs half of sorting by pairs
    members.sort(key=attrgetter("first_ns"))
    lineage = Lineage(named=run_key in named, members=members)
    lineage.own_traces = frozenset(claim.trace_id for claim in claims if belongs.by_trace(claim.trace_id) == run_key)
    _assign_roles(lineage, run_key, seen)
    return lineage


class _Belonging:
    """Finds each span's run by walking up its parents once; what was found on the way is kept."""

    def __init__(self, seen: Mapping[SpanKey, Seen], claimants: Mapping[bytes, set[bytes]]) -> None:
        self._seen = seen
        self._claimants = claimants
        self._known: dict[SpanKey, bytes] = {}

    def run_of(self, span: Seen) -> bytes:
        run_key = span.work.run_key or self._known.get(span.parent_key)
        if run_key is None:  # NOBODY is an answer too
            run_key = self._look_up(span)
        self._known[span.key] = run_key
        return run_key

    def _look_up(self, span: Seen) -> bytes:
        path: dict[SpanKey, None] = {}
        current: Seen | None = span
        run_key = None
        while current is not None and current.key not in path:  # else its parents go round in a circle
            run_key = self._known.get(current.key, current.work.run_key or None)
            path[current.key] = None
            if run_key is not None:
                break
            current = self._seen.get(current.parent_key)
        if run_key is None:
            run_key = self.by_trace(span.key[0])
        self._known.update(dict.fromkeys(path, run_key))
        return run_key

    def by_trace(self, trace_id: bytes) -> bytes:
        claimants = self._claimants.get(trace_id, set())
        if not claimants:
            return trace_id
        return next(iter(claimants)) if len(claimants) == 1 else NOBODY


def _assign_roles(lineage: Lineage, run_key: bytes, seen: Mapping[SpanKey, Seen]) -> None:
    members = lineage.members
    if lineage.named:
        lineage.run_spans = [span for span in members if span.work.role == c.ROLE_RUN and span.work.run_key == run_key]
        tasks = [span for span in members if span.work.role in (c.ROLE_TASK, c.ROLE_ATTEMPT)]
    else:
        lineage.run_spans = [span for span in members if not span.parent_span_id][:1]
        tasks = []
    if not tasks:
        tasks = [as_task(span) for span in _plain_tasks(lineage, seen)]
    for span in tasks:
        lineage.tasks.setdefault(span.work.node, []).append(span)
    _find_owners(lineage, tasks, seen)


def _plain_tasks(lineage: Lineage, seen: Mapping[SpanKey, Seen]) -> list[Seen]:
    """Without a word on tasks, the children of the root are tasks; until the root comes, the spans whose parent nobody has seen."""
    roots = {span.key for span in lineage.run_spans}
    others = [span for span in lineage.members if span.key not in roots and span.work.role != c.ROLE_RUN]
    children = [span for span in others if span.parent_key in roots]
    if lineage.named:
        return children or ([] if roots else [span for span in others if span.parent_span_id and span.parent_key not in seen])
    return [span for span in others if span.parent_key in roots or span.parent_key not in seen]


def as_task(span: Seen) -> Seen:
    """Return a plain span as a task's: its node is its id, for its name may repeat and a number by order would change with a late one."""
    told, name = span.work, span.name
    node = span.key[1].hex()
    own = (told.source, told.run_id, told.generation, told.run_key, told.flow_key, told.flow_name)
    work = Work(*own, task_key=name, task_name=name, node=node, attempt=told.attempt, role=c.ROLE_TASK)
    return span.with_work(work)


def _find_owners(lineage: Lineage, tasks: Iterable[Seen], seen: Mapping[SpanKey, Seen]) -> None:
    """A span's owner is that of its nearest ancestor, which may be reached through spans of another run."""
    found = {span.key: span.work.node for span in tasks} | {span.key: "" for span in lineage.run_spans}
    for span in lineage.members:
        if span.key not in found:
            owner = found.get(span.parent_key)
            found[span.key] = _owner_above(span, found, seen) if owner is None else owner
    lineage.owners = {span.key: found[span.key] for span in lineage.members}


def _owner_above(span: Seen, found: dict[SpanKey, str], seen: Mapping[SpanKey, Seen]) -> str:
    path: dict[SpanKey, None] = {}
    current: Seen | None = span
    while current is not None and current.key not in found and current.key not in path:
        path[current.key] = None
        current = seen.get(current.parent_key)
    owner = found.get(current.key, "") if current is not None else ""
    found.update(dict.fromkeys(path, owner))
    return owner

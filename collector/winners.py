"""Of each key the greatest fact: what is known of every span, whatever came in whatever order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from collector.model import FoldMoment, FoldSpan
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP, Work, short_key

SpanKey = tuple[bytes, bytes]


@dataclass(slots=True)
class Seen:
    """One span as far as it is known: its greatest end, its moments, and what they say together.

    moments: the winner of each (kind, at). once: of them announced, queued, begun; often: paused, resumed, cancelled, retried, by time.
    work: the first word on each column, the end speaking before the moments.
    """

    trace_id: bytes
    span_id: bytes
    end: FoldSpan | None = None
    moments: dict[tuple[str, int], FoldMoment] = field(default_factory=dict)
    once: dict[str, FoldMoment] = field(default_factory=dict)
    often: list[FoldMoment] = field(default_factory=list)
    days: set[int] = field(default_factory=set)
    work: Work = field(default_factory=Work)
    name: str = ""
    parent_span_id: bytes = b""
    process: str = ""

    @property
    def key(self) -> SpanKey:
        """Return (trace_id, span_id): span ids are unique within their trace only."""
        return (self.trace_id, self.span_id)

    @property
    def begun(self) -> bool:
        """Return whether it is known to have begun; a paused, resumed or retried span has, even if its beginning never came."""
        return c.BEGUN in self.once or any(moment.kind != c.CANCELLED for moment in self.often)

    @property
    def queued(self) -> bool:
        """Return whether it was put in a queue."""
        return c.QUEUED in self.once

    @property
    def is_open(self) -> bool:
        """Return whether it has begun and nobody said that it is over."""
        return self.begun and self.end is None and not self.cancelled

    @property
    def cancelled(self) -> bool:
        """Return whether a person cancelled it."""
        return any(moment.kind == c.CANCELLED for moment in self.often)

    @property
    def cancelled_ns(self) -> int:
        """Return when a person first cancelled it, 0 = never."""
        return min((moment.time_ns for moment in self.often if moment.kind == c.CANCELLED), default=0)

    @property
    def started_ns(self) -> int:
        """Return its start: the finished span's own, else when it was said to begin, else the end's time less its duration; 0 = unknown."""
        if self.end is not None and self.end.rank == RANK_OTLP and self.end.start_ns:
            return self.end.start_ns
        begun = self.once.get(c.BEGUN)
        if begun is not None:
            return begun.start_ns or begun.time_ns
        return self.end.start_ns if self.end is not None else 0

    @property
    def first_ns(self) -> int:
        """Return the first time anything is known of it, 0 if only an end without a time."""
        times = [moment.time_ns for moment in (*self.once.values(), *self.often)]
        times += [self.started_ns, self.end.end_ns if self.end is not None else 0]
        return min((time for time in times if time), default=0)


def are_paused(spans: Iterable[Seen]) -> bool:
    """Return whether the last of all paused and resumed on these spans is paused; of two at the same time the resumed is the later."""
    last = max(((moment.time_ns, moment.kind) for seen in spans for moment in seen.often if moment.kind in (c.PAUSED, c.RESUMED)), default=None)
    return last is not None and last[1] == c.PAUSED


def greatest_facts(spans: Iterable[FoldSpan], moments: Iterable[FoldMoment]) -> dict[SpanKey, Seen]:
    """Return what is known of each span. The same facts in any order, any number of times and on any days give the same answer."""
    found: dict[SpanKey, Seen] = {}
    for span in spans:
        seen = _seen(found, span.trace_id, span.span_id)
        seen.days.add(span.day)
        if seen.end is None or (span.rank, span.weight, span.digest) > (seen.end.rank, seen.end.weight, seen.end.digest):
            seen.end = span
    for moment in moments:
        seen = _seen(found, moment.trace_id, moment.span_id)
        seen.days.add(moment.day)
        _take_moment(seen, moment)
    for seen in found.values():
        _sum_up(seen)
    return found


def _seen(found: dict[SpanKey, Seen], trace_id: bytes, span_id: bytes) -> Seen:
    seen = found.get((trace_id, span_id))
    if seen is None:
        seen = found[(trace_id, span_id)] = Seen(trace_id, span_id)
    return seen


def _take_moment(seen: Seen, moment: FoldMoment) -> None:
    known = seen.moments.setdefault((moment.kind, moment.at), moment)
    if _precedence(moment) > _precedence(known):
        seen.moments[moment.kind, moment.at] = moment


def _precedence(moment: FoldMoment) -> tuple[int, int, bytes]:
    return (moment.rank, -moment.time_ns, moment.digest)


def _sum_up(seen: Seen) -> None:
    for moment in sorted(seen.moments.values(), key=lambda moment: (moment.time_ns, moment.kind, moment.at)):
        if moment.kind in c.ONCE_KINDS:
            seen.once[moment.kind] = moment
        else:
            seen.often.append(moment)
    words = _speakers(seen)
    seen.name = next((word.name for word in words if word.name), "")
    seen.parent_span_id = next((word.parent_span_id for word in words if word.parent_span_id), b"")
    seen.process = next((moment.process for moment in words if isinstance(moment, FoldMoment) and moment.process), "")
    seen.work = _work_of(words)


def _speakers(seen: Seen) -> list[FoldSpan | FoldMoment]:
    """List who may name the span: its end, its beginnings, then the rest. A retry notice without a node speaks of a task, not of this span."""
    once = [seen.once[kind] for kind in (c.BEGUN, c.QUEUED, c.ANNOUNCED) if kind in seen.once]
    often = [moment for moment in seen.often if moment.kind != c.RETRIED or moment.node]
    return [*([seen.end] if seen.end else []), *once, *often] or [*seen.often]


def _work_of(words: Sequence[FoldSpan | FoldMoment]) -> Work:
    naming = next((word for word in words if word.run_key), words[0])
    return Work(
        source=naming.source,
        run_id=naming.run_id,
        generation=naming.generation,
        run_key=naming.run_key,
        flow_key=stated_key((word.flow_key, word.flow_name) for word in words),
        flow_name=next((word.flow_name for word in words if word.flow_name), ""),
        task_key=stated_key((word.task_key, word.task_name) for word in words),
        task_name=next((word.task_name for word in words if word.task_name), ""),
        node=next((word.node for word in words if word.node), ""),
        attempt=next((word.attempt for word in words if word.attempt is not None), None),
        role=next((word.role for word in words if word.role), ""),
    )


def stated_key(told: Iterable[tuple[str, str]]) -> str:
    """Return, of (key, name) pairs, the first key that is more than its name, else the first: one fact may give a key that others leave out."""
    keys = [(key, name) for key, name in told if key]
    return next((key for key, name in keys if key != short_key(name)), keys[0][0] if keys else "")

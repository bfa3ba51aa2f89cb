"""Of each key the greatest fact: what is known of every span, whatever came in whatever order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from collector.model import FoldMoment, FoldSpan
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP, Work, short_key

SpanKey = tuple[bytes, bytes]
# A row whose words stand for all, or what several rows say together: both have the columns of Work but its dialect.
Told = FoldSpan | FoldMoment | Work

# Where the columns of Work begin, counted from the end: they are the last of both rows, in one order (tests/unit/test_winners.py).
WORK_COLUMNS = FoldSpan._fields.index("source") - len(FoldSpan._fields)


@dataclass(slots=True)
class Seen:
    """One span as far as it is known: its greatest end, its moments, and what they say together.

    key: (trace_id, span_id), for span ids are unique within their trace only; parent_key: the same of its parent, whose span_id may be empty.
    days: those its facts lie on. work: the first word on each column, the end speaking before the moments.
    started_ns: the finished span's own, else when it was said to begin, else the end's time less its duration; 0 = unknown.
    first_ns: the first time anything is known of it, 0 if only an end without a time.
    once: of each of announced, queued, begun the winner; often: paused, resumed, cancelled, retried, by time.
    """

    key: SpanKey
    parent_key: SpanKey
    days: tuple[int, ...]
    work: Told
    name: str
    started_ns: int
    first_ns: int
    end: FoldSpan | None = None
    once: Mapping[str, FoldMoment] = field(default_factory=dict)
    often: Sequence[FoldMoment] = ()
    process: str = ""

    @property
    def parent_span_id(self) -> bytes:
        """Return the id of its parent, empty for a root."""
        return self.parent_key[1]

    @property
    def begun(self) -> bool:
        """Return whether it is known to have begun; a paused, resumed or retried span has, even if its beginning never came."""
        return c.BEGUN in self.once or (bool(self.often) and any(moment.kind != c.CANCELLED for moment in self.often))

    @property
    def queued(self) -> bool:
        """Return whether it was put in a queue."""
        return c.QUEUED in self.once

    @property
    def is_open(self) -> bool:
        """Return whether it has begun and nobody said that it is over."""
        return self.end is None and self.begun and not self.cancelled

    @property
    def cancelled(self) -> bool:
        """Return whether a person cancelled it."""
        return bool(self.often) and any(moment.kind == c.CANCELLED for moment in self.often)

    @property
    def cancelled_ns(self) -> int:
        """Return when a person first cancelled it, 0 = never."""
        return min((moment.time_ns for moment in self.often if moment.kind == c.CANCELLED), default=0)

    def with_work(self, work: Work) -> Seen:
        """Return the same span with other words on what it is. By hand: dataclasses.replace costs 8 us, this 1."""
        told = (self.name, self.started_ns, self.first_ns, self.end, self.once, self.often, self.process)
        return Seen(self.key, self.parent_key, self.days, work, *told)


def are_paused(spans: Iterable[Seen]) -> bool:
    """Return whether the last of all paused and resumed on these spans is paused; of two at the same time the resumed is the later."""
    last = max(((moment.time_ns, moment.kind) for seen in spans for moment in seen.often if moment.kind in (c.PAUSED, c.RESUMED)), default=None)
    return last is not None and last[1] == c.PAUSED


def greatest_facts(spans: Iterable[FoldSpan], moments: Iterable[FoldMoment]) -> dict[SpanKey, Seen]:
    """Return what is known of each span. The same facts in any order, any number of times and on any days give the same answer."""
    ends: dict[SpanKey, FoldSpan] = {}
    told: dict[SpanKey, list[FoldMoment]] = {}
    copies = [span for span in spans if ends.setdefault(span[:2], span) is not span]
    for moment in moments:
        told.setdefault(moment[:2], []).append(moment)
    days = _take_greater(ends, copies)
    found = {key: _ended(key, end) for key, end in ends.items() if key not in told}
    for key, said in told.items():
        found[key] = _seen(key, ends.get(key), said)
    for key, others in days.items():
        found[key].days += tuple(others.difference(found[key].days))
    return found


def _take_greater(ends: dict[SpanKey, FoldSpan], copies: Iterable[FoldSpan]) -> dict[SpanKey, set[int]]:
    """Keep of each span's ends the greatest, and return the days of all where there are several."""
    days: dict[SpanKey, set[int]] = {}
    for span in copies:
        key = span[:2]
        known = ends[key]
        days.setdefault(key, set()).update((known.day, span.day))
        if (span.rank, span.weight, span.digest) > (known.rank, known.weight, known.digest):
            ends[key] = span
    return days


def _ended(key: SpanKey, end: FoldSpan) -> Seen:
    """Most spans are known by their end alone: it has the only word on everything."""
    start_ns, end_ns = end.start_ns, end.end_ns
    first_ns = min(start_ns, end_ns) if start_ns and end_ns else start_ns or end_ns
    return Seen(key, (key[0], end.parent_span_id), (end.day,), end, end.name, start_ns, first_ns, end)


def _seen(key: SpanKey, end: FoldSpan | None, told: Sequence[FoldMoment]) -> Seen:
    moments = told if len(told) == 1 else _winners(told)
    once = {moment.kind: moment for moment in moments if moment.kind in c.ONCE_KINDS}
    often = [moment for moment in moments if moment.kind not in c.ONCE_KINDS] if len(once) < len(moments) else []
    tellers = _tellers(once, often, alone=end is None)
    name, parent_span_id, process = (end.name, end.parent_span_id, "") if end is not None else ("", b"", "")
    for moment in tellers:
        name = name or moment.name
        parent_span_id = parent_span_id or moment.parent_span_id
        process = process or moment.process
    days = {end.day} if end is not None else set()
    days.update([moment.day for moment in told])
    work = _work_of([end, *tellers] if end is not None else tellers)
    started_ns = _start(end, once.get(c.BEGUN))
    times = [started_ns, end.end_ns if end is not None else 0, *[moment.time_ns for moment in moments]]
    first_ns = min(filter(None, times), default=0)
    return Seen(key, (key[0], parent_span_id), tuple(days), work, name, started_ns, first_ns, end, once, often, process)


def _winners(moments: Iterable[FoldMoment]) -> list[FoldMoment]:
    """Return of each (kind, at) the winner, by time."""
    winners: dict[tuple[str, int], FoldMoment] = {}
    for moment in moments:
        known = winners.setdefault((moment.kind, moment.at), moment)
        if _precedence(moment) > _precedence(known):
            winners[moment.kind, moment.at] = moment
    return sorted(winners.values(), key=lambda moment: (moment.time_ns, moment.kind, moment.at))


def _precedence(moment: FoldMoment) -> tuple[int, int, bytes]:
    return (moment.rank, -moment.time_ns, moment.digest)


def _start(end: FoldSpan | None, begun: FoldMoment | None) -> int:
    if end is not None and end.rank == RANK_OTLP and end.start_ns:
        return end.start_ns
    if begun is not None:
        return begun.start_ns or begun.time_ns
    return end.start_ns if end is not None else 0


def _tellers(once: Mapping[str, FoldMoment], often: Sequence[FoldMoment], *, alone: bool) -> Sequence[FoldMoment]:
    """List the moments that may name the span: its beginnings, then the rest. A retry notice without a node speaks of a task, not of this span.

    alone: no end speaks; then such a notice is better than nothing.
    """
    beginnings = [once[kind] for kind in (c.BEGUN, c.QUEUED, c.ANNOUNCED) if kind in once]
    if not often:
        return beginnings
    tellers = [*beginnings, *[moment for moment in often if moment.kind != c.RETRIED or moment.node]]
    return tellers or (often if alone else [])


def _work_of(words: Sequence[FoldSpan | FoldMoment]) -> Told:
    first = words[0]
    columns = first[WORK_COLUMNS:]
    if not [word for word in words[1:] if word[WORK_COLUMNS:] != columns]:  # a span's beginning and its end mostly say the same
        return first
    naming = next((word for word in words if word.run_key), first)
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

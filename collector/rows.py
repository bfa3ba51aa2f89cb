"""Facts become rows: the columns of model.py, their JSON text and digests made last. Pure; knows neither the wire nor a database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from operator import attrgetter
from struct import Struct
from typing import Any

from collector.attributes import to_json
from collector.batch import Batch
from collector.model import DEFAULT_PROJECT, ODD_DAY, LogRow, MomentRow, ProcessRow, ResourceRow, ScopeRow, SpanRow
from otel_bridge import conventions as c
from otel_bridge.facts import (
    RANK_OTLP,
    RANK_STAMPED,
    Attributes,
    Fact,
    LogLine,
    ProcessBeat,
    Resource,
    Scope,
    SpanEnd,
    SpanEvent,
    SpanLink,
    SpanMoment,
    Work,
    harmless,
)

DAY_NS = 86_400 * 10**9
FUTURE_NS = 2 * DAY_NS


@dataclass(slots=True)
class RowMaker:
    """Turns the facts of one request into rows of a Batch. received_ns: when the request came in; retention_days: 0 = keep for ever."""

    received_ns: int
    project: int = DEFAULT_PROJECT
    retention_days: int = 0
    batch: Batch = field(default_factory=Batch)
    _twins: Counter[bytes] = field(default_factory=Counter)
    # The object is kept beside its key, so that its id() stays its own.
    _seen: dict[int, tuple[object, bytes]] = field(default_factory=dict)

    def add(self, fact: Fact) -> None:
        """Make the fact's row, and those of its resource and scope."""
        if isinstance(fact, SpanEnd):
            self.batch.spans.append(self._span_row(fact))
        elif isinstance(fact, SpanMoment):
            self.batch.moments.append(self._moment_row(fact))
        elif isinstance(fact, LogLine):
            self.batch.logs.append(self._log_row(fact))
        else:
            self.batch.processes.append(self._process_row(fact))

    def add_all(self, facts: Iterable[Fact]) -> Batch:
        """Make the rows of several facts and return the batch they are in."""
        for fact in facts:
            self.add(fact)
        return self.batch

    def _span_row(self, end: SpanEnd) -> SpanRow:
        content = (
            end.parent_span_id,
            harmless(end.trace_state),
            end.flags,
            harmless(end.name),
            end.kind,
            end.start_ns,
            end.end_ns,
            to_json(end.attributes),
            end.dropped_attributes,
            _events_json(end.events),
            end.dropped_events,
            links_json(end.links),
            end.dropped_links,
            end.status_code,
            harmless(end.status_message),
            self.resource_id(end.resource),
            self.scope_id(end.scope),
            *_work_columns(end.work),
            end.result,
            harmless(_error_of(end)),
        )
        weight = end.end_ns if end.rank == RANK_OTLP else -end.end_ns
        key = (self.project, end.trace_id, end.span_id, self._day(end.start_ns or end.end_ns))
        undigested = SpanRow._make((*key, end.rank, weight, b"", self.received_ns, *content))
        return SpanRow._make((*key, end.rank, weight, span_digest(undigested), self.received_ns, *content))

    def _moment_row(self, moment: SpanMoment) -> MomentRow:
        content = (
            harmless(moment.name),
            moment.parent_span_id,
            moment.start_ns,
            harmless(moment.process),
            to_json(moment.attributes),
            self.resource_id(moment.resource),
            *_work_columns(moment.work),
        )
        digest = _digest(content)
        nameable = moment.rank == RANK_STAMPED and bool(moment.event_id) and moment.kind not in c.ONCE_KINDS
        day = ODD_DAY if nameable else self._day(moment.start_ns or moment.time_ns)
        key = (self.project, moment.trace_id, moment.span_id, day, moment.kind, _at(moment, digest, nameable=nameable))
        if moment.process:
            self.batch.processes.append(ProcessRow(self.project, harmless(moment.process), self.received_ns, 0, 0))
        return MomentRow._make((*key, moment.rank, moment.time_ns, digest, self.received_ns, *content))

    def _log_row(self, line: LogLine) -> LogRow:
        time_ns = line.time_ns or line.observed_ns or self.received_ns
        stamped = bool(line.event_id) and not line.time_ns
        work = line.work
        content = (
            line.span_id,
            line.severity_number,
            harmless(line.severity_text),
            to_json(line.body),
            harmless(line.event_name),
            line.flags,
            to_json(line.attributes),
            line.dropped_attributes,
            self.resource_id(line.resource),
            self.scope_id(line.scope),
            work.source,
            work.run_id,
            work.generation,
            work.run_key,
            work.node,
        )
        digest = _digest((line.event_id,) if line.event_id else content)
        twin_of = _digest((line.trace_id, time_ns, digest))
        twin = 0 if line.event_id else self._twins[twin_of]
        self._twins[twin_of] += 1
        day = ODD_DAY if stamped else self._day(time_ns)
        key = (self.project, line.trace_id or work.run_key, time_ns, digest, twin, day)
        return LogRow._make((*key, int(stamped), line.time_ns, line.observed_ns, self.received_ns, *content))

    def _process_row(self, beat: ProcessBeat) -> ProcessRow:
        return ProcessRow(self.project, harmless(beat.process), self.received_ns, beat.interval_ms, self.received_ns if beat.exited else 0)

    def _day(self, time_ns: int) -> int:
        """Return days since the epoch, or ODD_DAY for times no partition should be made for: a broken clock's, or long gone."""
        if time_ns > self.received_ns + FUTURE_NS:
            return ODD_DAY
        if self.retention_days and time_ns < self.received_ns - self.retention_days * DAY_NS:
            return ODD_DAY
        return time_ns // DAY_NS

    def resource_id(self, resource: Resource) -> bytes:
        """Return a resource's key, and make its row. A request's spans share one Resource object: its JSON is made once."""
        known = self._seen.get(id(resource))
        if known is None:
            known = self._seen[id(resource)] = (resource, self._store_resource(resource))
        return known[1]

    def scope_id(self, scope: Scope) -> bytes:
        """Return a scope's key, and make its row."""
        known = self._seen.get(id(scope))
        if known is None:
            known = self._seen[id(scope)] = (scope, self._store_scope(scope))
        return known[1]

    def _store_resource(self, resource: Resource) -> bytes:
        columns = (
            to_json(resource.attributes),
            resource.dropped_attributes,
            harmless(resource.schema_url),
            to_json(list(resource.entity_refs)),
        )
        resource_id = _digest(columns, size=16)
        self.batch.resources.setdefault(resource_id, ResourceRow(self.project, resource_id, *columns))
        return resource_id

    def _store_scope(self, scope: Scope) -> bytes:
        columns = (
            harmless(scope.name),
            harmless(scope.version),
            to_json(scope.attributes),
            scope.dropped_attributes,
            harmless(scope.schema_url),
        )
        scope_id = _digest(columns, size=16)
        self.batch.scopes.setdefault(scope_id, ScopeRow(self.project, scope_id, *columns))
        return scope_id


def _work_columns(work: Work) -> tuple[Any, ...]:
    return (
        work.source,
        work.run_id,
        work.generation,
        work.run_key,
        work.flow_key,
        harmless(work.flow_name),
        work.task_key,
        harmless(work.task_name),
        work.node,
        work.attempt,
        work.role,
        work.dialect,
    )


def _at(moment: SpanMoment, digest: bytes, *, nameable: bool) -> int:
    if moment.kind in c.ONCE_KINDS:
        return 0
    if nameable:  # no time of its own, but a name: the repeat of an event must meet its first copy
        return int.from_bytes(_digest((moment.event_id,))) >> 1
    if moment.kind == c.RETRIED:  # a run may be told of two tasks' retries in the same tick of a clock
        return int.from_bytes(_digest((moment.time_ns, digest))) >> 1
    return moment.time_ns


# What a finished span's digest is made of, in this order, and last parent_span_id: what was sent, before anybody interprets it.
DIGEST_IDS = ("resource_id", "scope_id")
DIGEST_NUMBERS = ("flags", "kind", "start_ns", "end_ns", "dropped_attributes", "dropped_events", "dropped_links", "status_code")
DIGEST_TEXTS = ("trace_state", "name", "attributes", "events", "links", "status_message")
# Its first bytes are kept. sha256: 0.54 us for 285 bytes, where the processor has words for it; sha1 0.57, blake2b 0.78, md5 0.87.
DIGEST, DIGEST_BYTES = sha256, 8

# Each number is eight bytes, little endian, and a NUL between them.
_PACK_NUMBERS = Struct("<" + "x".join("q" * len(DIGEST_NUMBERS))).pack
_numbers_of, _texts_of = attrgetter(*DIGEST_NUMBERS), attrgetter(*DIGEST_TEXTS)


def span_digest(row: SpanRow) -> bytes:
    """Return what tells apart two ends of a span that weigh the same: a digest of what was sent, joined by NUL.

    Run, task, result and error follow from it. No text column holds a NUL (`harmless`). Made so that whole columns can be digested too
    (collector/otlp/columns/digests.py).
    """
    texts = "\0".join(_texts_of(row)).encode("utf-8", "replace")
    content = b"\0".join((row.resource_id, row.scope_id, _PACK_NUMBERS(*_numbers_of(row)), texts, row.parent_span_id))
    return DIGEST(content).digest()[:DIGEST_BYTES]


def _digest(parts: tuple[Any, ...], *, size: int = 8) -> bytes:
    return blake2b(repr(parts).encode("utf-8", "replace"), digest_size=size).digest()


def _events_json(events: Sequence[SpanEvent]) -> str:
    if not events:
        return "[]"
    return to_json([[event.time_ns, event.name, event.attributes, event.dropped_attributes] for event in events])


def links_json(links: Iterable[SpanLink]) -> str:
    """Return a span's links as the text of their column."""
    found = [
        [link.trace_id.hex(), link.span_id.hex(), link.trace_state, link.attributes, link.dropped_attributes, link.flags] for link in links
    ]
    return to_json(found) if found else "[]"


def _error_of(end: SpanEnd) -> str:
    """Return "Type: message" of the last exception, else the status message of a failed span."""
    for event in reversed(end.events):
        if event.name == c.EXCEPTION_EVENT:
            return describe_exception(event.attributes) or end.status_message
    if end.status_code != c.STATUS_ERROR:
        return ""
    return end.status_message or describe_error_type(end.attributes)


def describe_error_type(attributes: Attributes) -> str:
    """Return what a failed span that says no more calls its error."""
    return str(attributes.get(c.ERROR_TYPE, ""))


def describe_exception(attributes: Attributes) -> str:
    """Return "Type: message" of an exception's attributes; a message that already begins with its type stands alone."""
    kind, message = (str(attributes.get(key) or "") for key in (c.EXCEPTION_TYPE, c.EXCEPTION_MESSAGE))
    if not kind or message.startswith(kind):
        return message
    return f"{kind}: {message}" if message else kind

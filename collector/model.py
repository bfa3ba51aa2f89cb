"""What is stored: the columns of the fact tables, and the Batch that carries them.

How facts become rows is in rows.py, what people see of them in picture.py.
Finished spans may also come as whole columns (SpanColumns); see ARCHITECTURE.md, decision 6.
Times are int64 ns since the epoch, 0 = unknown; ids are bytes; JSON columns are text (collector/attributes.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple, Protocol

from otel_bridge.conventions import TRACE_SOURCE

DEFAULT_PROJECT = 1

# Where starts go that deserve no day of their own: a broken clock's, and those older than what is kept.
ODD_DAY = 0


class SpanRow(NamedTuple):
    """A finished span as stored. Key: project, trace_id, span_id, day; of several ends the greatest (rank, weight, digest) stays."""

    project: int
    trace_id: bytes
    span_id: bytes
    day: int
    rank: int
    weight: int
    digest: bytes
    received_ns: int
    parent_span_id: bytes
    trace_state: str
    flags: int
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: str
    dropped_attributes: int
    events: str
    dropped_events: int
    links: str
    dropped_links: int
    status_code: int
    status_message: str
    resource_id: bytes
    scope_id: bytes
    source: str
    run_id: str
    generation: int
    run_key: bytes
    flow_key: str
    flow_name: str
    task_key: str
    task_name: str
    node: str
    attempt: int | None
    role: str
    dialect: str
    result: str
    error: str


class MomentRow(NamedTuple):
    """A moment of a span as stored. Key: project, trace_id, span_id, day, kind, at.

    at: 0 for the kinds that happen once (of several the one with its own time stays, then the least time), else what tells repeats apart:
    the time, for a retry its content too; the event_id of a moment without a time of its own.
    """

    project: int
    trace_id: bytes
    span_id: bytes
    day: int
    kind: str
    at: int
    rank: int
    time_ns: int
    digest: bytes
    received_ns: int
    name: str
    parent_span_id: bytes
    start_ns: int
    process: str
    attributes: str
    resource_id: bytes
    source: str
    run_id: str
    generation: int
    run_key: bytes
    flow_key: str
    flow_name: str
    task_key: str
    task_name: str
    node: str
    attempt: int | None
    role: str
    dialect: str


class LogRow(NamedTuple):
    """A log record as stored. Key: project, trace_id, time_ns, digest, twin, day.

    twin: n-th identical record of its request. stamped: 1 if time_ns is our receipt and digest stands for the sender's event_id;
    of those, one digest a trace is stored, and day is ODD_DAY. body is JSON.
    """

    project: int
    trace_id: bytes
    time_ns: int
    digest: bytes
    twin: int
    day: int
    stamped: int
    own_time_ns: int
    observed_ns: int
    received_ns: int
    span_id: bytes
    severity_number: int
    severity_text: str
    body: str
    event_name: str
    flags: int
    attributes: str
    dropped_attributes: int
    resource_id: bytes
    scope_id: bytes
    source: str
    run_id: str
    generation: int
    run_key: bytes
    node: str


class ResourceRow(NamedTuple):
    """Who sent it, stored once a content. Key: project, resource_id; resource_id: blake2b-128 of the other columns."""

    project: int
    resource_id: bytes
    attributes: str
    dropped_attributes: int
    schema_url: str
    entity_refs: str


class ScopeRow(NamedTuple):
    """Which library made it, stored once a content. Key: project, scope_id; scope_id: blake2b-128 of the other columns."""

    project: int
    scope_id: bytes
    name: str
    version: str
    attributes: str
    dropped_attributes: int
    schema_url: str


class ProcessRow(NamedTuple):
    """When a sender's process was last heard; exited_ns is 0 while it has not said that it ends. Key: project, process; greatest times stay."""

    project: int
    process: str
    heard_ns: int
    interval_ms: int
    exited_ns: int


class FoldSpan(NamedTuple):
    """The columns of a finished span that the fold reads. attributes is empty for a span with no role in a run."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    rank: int
    weight: int
    digest: bytes
    day: int
    name: str
    start_ns: int
    end_ns: int
    status_code: int
    result: str
    error: str
    attributes: str
    source: str
    run_id: str
    generation: int
    run_key: bytes
    flow_key: str
    flow_name: str
    task_key: str
    task_name: str
    node: str
    attempt: int | None
    role: str


class FoldMoment(NamedTuple):
    """The columns of a moment that the fold reads."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    kind: str
    at: int
    rank: int
    time_ns: int
    digest: bytes
    day: int
    name: str
    start_ns: int
    process: str
    attributes: str
    source: str
    run_id: str
    generation: int
    run_key: bytes
    flow_key: str
    flow_name: str
    task_key: str
    task_name: str
    node: str
    attempt: int | None
    role: str


class Touched(NamedTuple):
    """A run that a batch says something about, in one of its traces, with facts of this day.

    source is conventions.TRACE_SOURCE where a fact names no run.
    """

    run_key: bytes
    trace_id: bytes
    source: str
    day: int
    run_id: str
    generation: int


class SpanColumns(Protocol):
    """Finished spans as whole columns: what a large group is decoded to. collector/otlp/columns makes them."""

    @property
    def arrow(self) -> Any:
        """Return them as a pyarrow.RecordBatch with the columns of SpanRow, in its order: int64, binary and string; attempt may be null."""
        ...

    def __len__(self) -> int:
        """Count the spans."""
        ...

    def rows(self) -> list[SpanRow]:
        """Return them as rows."""
        ...

    def touched(self) -> Iterable[Touched]:
        """Return the runs they say something about."""
        ...

    def followed_by(self, other: SpanColumns) -> SpanColumns | None:
        """Return both as one, if that costs nothing."""
        ...


@dataclass(slots=True)
class Batch:
    """The rows of one or more requests, ready to be written in one transaction. span_columns: further spans; as_rows() makes rows of them."""

    spans: list[SpanRow] = field(default_factory=list)
    span_columns: list[SpanColumns] = field(default_factory=list)
    moments: list[MomentRow] = field(default_factory=list)
    logs: list[LogRow] = field(default_factory=list)
    processes: list[ProcessRow] = field(default_factory=list)
    resources: dict[bytes, ResourceRow] = field(default_factory=dict)
    scopes: dict[bytes, ScopeRow] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the facts: what is left when catalogue rows are not."""
        return len(self.spans) + sum(map(len, self.span_columns)) + len(self.moments) + len(self.logs) + len(self.processes)

    def extend(self, other: Batch) -> None:
        """Take over another batch's rows."""
        self.spans += other.spans
        for columns in other.span_columns:
            joined = self.span_columns[-1].followed_by(columns) if self.span_columns else None
            self.span_columns[-1:] = [*self.span_columns[-1:], columns] if joined is None else [joined]
        self.moments += other.moments
        self.logs += other.logs
        self.processes += other.processes
        self.resources |= other.resources
        self.scopes |= other.scopes

    def as_rows(self) -> Batch:
        """Return the same facts with every span a row, for a storage that writes rows; this batch itself if it has no columns."""
        if not self.span_columns:
            return self
        return replace(self, spans=[*self.spans, *(row for columns in self.span_columns for row in columns.rows())], span_columns=[])

    def halves(self) -> tuple[Batch, Batch]:
        """Split the facts in two, to find the one a storage refuses; both halves keep the catalogue rows."""
        if self.span_columns:
            return self.as_rows().halves()
        first, second = Batch(resources=self.resources, scopes=self.scopes), Batch(resources=self.resources, scopes=self.scopes)
        middle = len(self) // 2
        place = 0
        for name in ("spans", "moments", "logs", "processes"):
            rows = getattr(self, name)
            cut = min(max(middle - place, 0), len(rows))
            setattr(first, name, rows[:cut])
            setattr(second, name, rows[cut:])
            place += len(rows)
        return first, second

    def origin(self) -> tuple[int, int]:
        """Return the project and the time of receipt, in ns, of this batch's first fact; zeros if it has none."""
        for rows in (self.spans, self.moments, self.logs):
            for row in rows[:1]:
                return row.project, row.received_ns
        for columns in self.span_columns:
            spans = columns.arrow
            return spans["project"][0].as_py(), spans["received_ns"][0].as_py()
        return 0, 0

    def touched(self) -> list[Touched]:
        """List the runs this batch says something about, sorted. A fact that names no run touches its trace's provisional run."""
        rows: Iterator[SpanRow | MomentRow | LogRow] = chain(self.spans, self.moments, self.logs)
        found = {
            Touched(row.run_key, row.trace_id, row.source, row.day, row.run_id, row.generation)
            if row.run_key
            else Touched(row.trace_id, row.trace_id, TRACE_SOURCE, row.day, row.trace_id.hex(), 0)
            for row in rows
            if row.trace_id
        }
        found.update(one for columns in self.span_columns for one in columns.touched())
        return sorted(found)

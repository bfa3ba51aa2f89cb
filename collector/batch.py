"""What is written at once: the rows of one or more requests, some of them still as whole columns. What the rows are is in model.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple, Protocol

from collector.model import LogRow, MomentRow, ProcessRow, ResourceRow, ScopeRow, SpanRow
from otel_bridge.conventions import TRACE_SOURCE


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

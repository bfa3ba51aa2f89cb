"""What decoded columns are: a record batch of finished spans that several bodies share, of which each body's batch carries its part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, get_type_hints

import pyarrow as pa

from collector.batch import SpanColumns, Touched
from collector.model import SpanRow
from collector.otlp.columns import kernels as k
from collector.verdict import Decoded
from otel_bridge.conventions import TRACE_SOURCE

_TYPES = {int: k.INT64, bytes: k.BYTES, str: k.TEXT, int | None: k.INT64}

# The columns of SpanRow, in its order; only attempt may be null.
SPAN_SCHEMA: Final = pa.schema([pa.field(name, _TYPES[kind], kind == int | None) for name, kind in get_type_hints(SpanRow).items()])


@dataclass(frozen=True, slots=True)
class ArrowSpans:
    """collector.model.SpanColumns: these rows of a record batch. shared: by SPAN_SCHEMA, of all bodies decoded in one call."""

    shared: pa.RecordBatch
    places: range

    @property
    def arrow(self) -> pa.RecordBatch:
        """See SpanColumns. Copies nothing."""
        return self.shared.slice(self.places.start, len(self.places))

    def __len__(self) -> int:
        """Count the spans."""
        return len(self.places)

    def rows(self) -> list[SpanRow]:
        """See SpanColumns."""
        return [SpanRow._make(row) for row in zip(*map(k.values_of, self.arrow.columns), strict=True)]

    def touched(self) -> list[Touched]:
        """See SpanColumns. A span that names no run touches its trace's provisional run."""
        spans = self.arrow
        different = k.combine([spans["run_key"], spans["trace_id"], spans["day"]])
        columns = (different.of(spans[name]) for name in Touched._fields)
        return [found if found.run_key else _provisional(found) for found in map(Touched._make, zip(*columns, strict=True))]

    def followed_by(self, other: SpanColumns) -> SpanColumns | None:
        """See SpanColumns: what was decoded in one call and stands side by side is one again."""
        if isinstance(other, ArrowSpans) and other.shared is self.shared and other.places.start == self.places.stop:
            return ArrowSpans(self.shared, range(self.places.start, other.places.stop))
        return None


def _provisional(found: Touched) -> Touched:
    return found._replace(run_key=found.trace_id, source=TRACE_SOURCE, run_id=found.trace_id.hex(), generation=0)


def share(spans: pa.RecordBatch, sizes: Iterable[int], bodies: Sequence[Decoded]) -> None:
    """Put each body's part of some spans into its batch. sizes: how many spans each body has, in order."""
    for body, (begin, end) in zip(bodies, pairwise(accumulate(sizes, initial=0)), strict=True):
        if begin < end:
            body.batch.span_columns.append(ArrowSpans(spans, range(begin, end)))


def from_rows(rows: Iterable[SpanRow]) -> pa.RecordBatch:
    """Return rows as columns."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SPAN_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SPAN_SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=SPAN_SCHEMA)

"""Spans that only rows can tell the meaning of: refused, not ended yet, or with words that need care. Their rows are put among the columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from collector.dialects import interpret
from collector.model import SpanRow
from collector.otlp.columns import kernels as k
from collector.otlp.columns.envelopes import Envelopes, Request
from collector.otlp.columns.result import from_rows, share
from collector.otlp.spans import BadRecord, read_span
from collector.otlp.terms import TraceTerms
from collector.rows import RowMaker
from collector.verdict import Decoded, Refusal
from otel_bridge.facts import SpanEnd


@dataclass(frozen=True, slots=True)
class CarefulReader:
    """Reads single spans of some requests as `decode_traces` does."""

    requests: Sequence[Request]
    envelopes: Envelopes
    terms: TraceTerms

    def read(self, numbers: Sequence[int]) -> tuple[list[Decoded], dict[int, SpanRow]]:
        """Return for each request what these of its spans are, and, by their numbers, the rows of those that have ended."""
        makers = [RowMaker(request.received_ns, retention_days=self.terms.retention_days) for request in self.requests]
        bodies = [Decoded(maker.batch, request.size) for maker, request in zip(makers, self.requests, strict=True)]
        firsts = [*accumulate((request.size for request in self.requests), initial=0)]
        ended: dict[int, SpanRow] = {}
        for number in numbers:
            of = self.envelopes.find(number)[0].request
            try:
                row = self._read(number, makers[of])
            except BadRecord as error:
                bodies[of].refused.append(Refusal(number - firsts[of], str(error)))
                continue
            if row is not None:
                ended[number] = row
        return bodies, ended

    def _read(self, number: int, maker: RowMaker) -> SpanRow | None:
        group, span = self.envelopes.find(number)
        fact = read_span(span, self.envelopes.resources[group.sender], group.scope)
        interpret(fact, self.terms.dialects)
        maker.add(fact)
        return maker.batch.spans.pop() if isinstance(fact, SpanEnd) else None


def with_careful(spans: pa.RecordBatch, numbers: list[int], reader: CarefulReader) -> list[Decoded]:
    """Put what rows say of some spans into their place among the columns, leave out those that have no row, and give each request its own."""
    bodies, ended = reader.read(numbers)
    _keep_envelopes(reader.envelopes, numbers, bodies)
    sizes = [request.size for request in reader.requests]
    if numbers:
        lost = [number for number in numbers if number not in ended]
        for number in lost:
            sizes[reader.envelopes.find(number)[0].request] -= 1
        spans = _replaced(spans, ended, lost)
    share(spans, sizes, bodies)
    return bodies


def _replaced(spans: pa.RecordBatch, ended: dict[int, SpanRow], lost: Sequence[int]) -> pa.RecordBatch:
    stand_ins = {number: len(spans) + place for place, number in enumerate(ended)}
    order = k.put(k.numbered(len(spans)), stand_ins).filter(pc.invert(k.is_in(len(spans), lost)))
    return pa.concat_batches([spans, from_rows(ended.values())]).take(order)


def _keep_envelopes(envelopes: Envelopes, numbers: Sequence[int], bodies: Sequence[Decoded]) -> None:
    """Put the resources and scopes of spans that are columns beside those of spans that are rows."""
    of_rows = Counter(id(envelopes.find(number)[0]) for number in numbers)
    for group in envelopes.groups:
        if len(group.spans) > of_rows[id(group)]:
            envelopes.keep(group, bodies[group.request].batch)

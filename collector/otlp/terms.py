"""On what terms trace bodies in protobuf are read, whichever way they go; and the way of rows, by which any body can go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collector.dialects import Dialect
from collector.dialects.plain import PlainTraces
from collector.dialects.table import Table
from collector.errors import FlowspanError
from collector.otlp.decode import LARGEST_REQUEST, decode_traces
from collector.otlp.parse import Encoding
from collector.verdict import Decoded


@dataclass(frozen=True, slots=True)
class TraceTerms:
    """Dialects by order, and the limits `decode_traces` knows."""

    dialects: Sequence[Dialect]
    retention_days: int = 0
    max_records: int = LARGEST_REQUEST

    def allow_columns(self) -> bool:
        """Return whether these dialects can be read a column at a time: each is a Table or plain traces. A function needs rows."""
        return all(type(dialect.table) in (Table, PlainTraces) for dialect in self.dialects)

    def decode_by_rows(self, body: bytes, received_ns: int) -> Decoded | FlowspanError:
        """Return what `decode_traces` makes of one body, or raises for it."""
        try:
            return decode_traces(body, Encoding.PROTOBUF, self.dialects, received_ns, self.retention_days, self.max_records)
        except FlowspanError as error:
            return error

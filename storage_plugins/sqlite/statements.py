"""The statements that write facts into SQLite, made once from the tables. Ready row tuples go in by executemany: SQLAlchemy would cost
four times the insert itself (0.06-0.24 of the speed of COPY)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

from storage_plugins.sql.tables import (
    Base,
    Log,
    Moment,
    Process,
    ResourceEntry,
    RunChange,
    RunDirty,
    RunTrace,
    ScopeEntry,
    Span,
    table_of,
)

if TYPE_CHECKING:
    import pyarrow as pa


def _insert(model: type[Base], conflict: str) -> str:
    table = table_of(model)
    columns = [column.name for column in table.columns]
    marks = ", ".join("?" * len(columns))
    names = ", ".join(f'"{name}"' for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({marks}) {conflict}"  # noqa: S608  # names of our own tables


def _upsert(model: type[Base], where: str) -> str:
    """Replace the row of the same key if the new one is greater. The WHERE costs SQLite nothing measurable."""
    table = table_of(model)
    key = [column.name for column in table.primary_key.columns]
    others = [column.name for column in table.columns if column.name not in key]
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in others)
    target = ", ".join(f'"{name}"' for name in key)
    return _insert(model, f"ON CONFLICT ({target}) DO UPDATE SET {changes} WHERE {where}")


SPANS = _upsert(Span, '(excluded.rank, excluded.weight, excluded.digest) > ("rank", weight, digest)')
MOMENTS = _upsert(Moment, '(excluded.rank, -excluded.time_ns, excluded.digest) > ("rank", -time_ns, digest)')
LOGS = _insert(Log, "ON CONFLICT DO NOTHING")
RESOURCES = _insert(ResourceEntry, "ON CONFLICT DO NOTHING")
SCOPES = _insert(ScopeEntry, "ON CONFLICT DO NOTHING")
RUN_TRACES = _insert(RunTrace, "ON CONFLICT DO NOTHING")
RUN_CHANGES = _insert(RunChange, "ON CONFLICT DO NOTHING")
RUN_DIRTY = _insert(RunDirty, "ON CONFLICT DO NOTHING")
PROCESSES = _insert(
    Process,
    "ON CONFLICT DO UPDATE SET heard_ns = max(heard_ns, excluded.heard_ns), exited_ns = max(exited_ns, excluded.exited_ns),"
    " interval_ms = CASE WHEN excluded.interval_ms > 0 THEN excluded.interval_ms ELSE interval_ms END",
)
TICK = "UPDATE clock SET seq = seq + ? RETURNING seq"


def tuples_of(spans: pa.RecordBatch, seq: int) -> Iterator[tuple[Any, ...]]:
    """Return spans that are columns as tuples, with the transaction's number. Costs 2 us a span."""
    return zip(*(column.to_pylist() for column in spans.columns), repeat(seq, len(spans)), strict=True)


def with_seq(rows: list[Any], seq: int) -> list[tuple[Any, ...]]:
    """Add the transaction's number, the last column of every fact table."""
    return [(*row, seq) for row in rows]

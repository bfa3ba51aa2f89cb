"""The statements that write facts into Postgres, made once from the tables. Ready rows go in by binary COPY: by SQLAlchemy they would take
five to fifteen times as long (0.06-0.19 of COPY)."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BigInteger, LargeBinary, Table

from storage_plugins.sql.tables import Base, Log, Moment, Span, table_of


class Copied(NamedTuple):
    """How rows of one fact table get in.

    copy: straight in; fails if one is there already. make_stage, copy_to_stage, merge: by a table of this connection, of each key the greatest.
    types: of the columns, as COPY's binary format names them. order: places of the columns rows are sorted by, day first.
    """

    copy: str
    make_stage: str
    copy_to_stage: str
    merge: str
    types: list[str]
    order: tuple[int, ...]


def _copied(model: type[Base], greatness: str) -> Copied:
    """greatness: what of one key is compared, as a row of expressions with `{0}` for the table; empty: the first stays."""
    table = table_of(model)
    names = [column.name for column in table.columns]
    columns = ", ".join(f'"{name}"' for name in names)
    stage = f"stage_{table.name}"
    key = _key(table)
    return Copied(
        copy=f"COPY {table.name} ({columns}) FROM STDIN (FORMAT BINARY)",
        make_stage=f"CREATE TEMP TABLE IF NOT EXISTS {stage} (LIKE {table.name}) ON COMMIT DELETE ROWS",
        copy_to_stage=f"COPY {stage} ({columns}) FROM STDIN (FORMAT BINARY)",
        merge=_merge(table, columns, key, greatness),
        types=[_type(column.type) for column in table.columns],
        order=tuple(names.index(name) for name in key),
    )


def _key(table: Table) -> list[str]:
    """Return the key with the day first: writers take rows in this order everywhere, or they would wait for each other in a circle.

    A log's time comes last: logs_once, by which the same line is found whenever it was received, has none.
    """
    key = [column.name for column in table.primary_key.columns]
    return sorted(key, key=lambda name: (name != "day", name == "time_ns"))


def _merge(table: Table, columns: str, key: list[str], greatness: str) -> str:
    ordered = ", ".join(f'"{name}"' for name in key)
    stage = f"stage_{table.name}"
    if not greatness:
        return f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {stage} ORDER BY {ordered} ON CONFLICT DO NOTHING"  # noqa: S608  # names of our own tables
    others = [column.name for column in table.columns if column.name not in key]
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in others)
    return (
        f"INSERT INTO {table.name} ({columns})"  # noqa: S608  # names of our own tables
        f" SELECT DISTINCT ON ({ordered}) {columns} FROM {stage} ORDER BY {ordered}, ({greatness.format(stage)}) DESC"
        f" ON CONFLICT ({ordered}) DO UPDATE SET {changes} WHERE ({greatness.format('excluded')}) > ({greatness.format(table.name)})"
    )


def _type(found: object) -> str:
    return "int8" if isinstance(found, BigInteger) else "bytea" if isinstance(found, LargeBinary) else "text"


SPANS = _copied(Span, "{0}.rank, {0}.weight, {0}.digest")
MOMENTS = _copied(Moment, "{0}.rank, -{0}.time_ns, {0}.digest")
LOGS = _copied(Log, "")

# One statement for what a batch touches: which runs are in which traces, the news, the marks. In the order of the keys, as _key() says.
TOUCH: str = """
WITH touched AS MATERIALIZED (
  SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::text[], %b::bigint[], %b::text[], %b::bigint[])
    AS t (run_key, trace_id, source, day, run_id, generation)
), known AS (
  INSERT INTO run_traces (project, run_key, trace_id, source, day, run_id, generation, seq)
  SELECT %s, touched.*, %s FROM touched ORDER BY run_key, trace_id, source, day ON CONFLICT DO NOTHING
), news AS (
  INSERT INTO run_changes (seq, project, run_key, trace_id, heard_ns)
  SELECT DISTINCT %s::bigint, %s::bigint, run_key, trace_id, %s::bigint FROM touched
)
INSERT INTO run_dirty (project, run_key, trace_id, seq) SELECT DISTINCT %s::bigint, run_key, trace_id, %s::bigint FROM touched
"""

HEAR: str = """
INSERT INTO processes AS p (project, process, heard_ns, interval_ms, exited_ns)
SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[])
ON CONFLICT (project, process) DO UPDATE
SET heard_ns = greatest(p.heard_ns, excluded.heard_ns),
    exited_ns = greatest(p.exited_ns, excluded.exited_ns),
    interval_ms = CASE WHEN excluded.interval_ms > 0 THEN excluded.interval_ms ELSE p.interval_ms END
"""


def known_by_content(table: str, columns: tuple[str, ...]) -> str:
    """Return the statement that adds rows whose key is their content."""
    marks = ", ".join(["%s"] * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608  # names of our own tables

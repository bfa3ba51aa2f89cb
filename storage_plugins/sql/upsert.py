"""What each engine says in its own words: INSERT ... ON CONFLICT from two places, and many keys or rows in one statement.

Postgres takes keys as an array and rows as one JSON text: to fold a new trace costs 180 us of our CPU that way, 235 with an array a column, 260
with a call a row (2026-11, a busy machine). SQLite has no round trips; there a list and executemany cost least.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Executable, Table, Text, any_, bindparam, cast, column, func
from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = postgresql.Insert | sqlite.Insert

_INSERTS: dict[str, Callable[[Table], Insert]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def insert_of(dialect: str) -> Callable[[Table], Insert]:
    """Return the insert() that has on_conflict_do_update(). dialect: the name of a connection's."""
    return _INSERTS[dialect]


def is_among(dialect: str, one: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return the condition that a column is one of the values given as parameter `name`, a list that is not empty."""
    if dialect == "postgresql":
        return one == any_(bindparam(name, type_=postgresql.ARRAY(one.type)))
    return one.in_(bindparam(name, expanding=True))


def rows_given(dialect: str, table: Table) -> Mapping[str, ColumnElement[Any]]:
    """Return the columns of the rows that write_rows() gives a statement."""
    if dialect != "postgresql":
        return {column.name: bindparam(f"{column.name}_", type_=column.type) for column in table.columns}
    rows = func.json_to_recordset(cast(bindparam("rows_", type_=Text()), postgresql.JSON))
    given = rows.table_valued(*(column(one.name, one.type) for one in table.columns), name="given").render_derived(with_types=True).c
    return {one.name: given[one.name] for one in table.columns}


def write_rows(connection: Connection, statement: Callable[[str], Executable], rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute a statement for rows, of which there is at least one, in their order. statement: makes it for a dialect, of rows_given()."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(statement(dialect), {"rows_": json.dumps(rows, ensure_ascii=False, default=_hex)})
    else:
        connection.execute(statement(dialect), [{f"{name}_": value for name, value in row.items()} for row in rows])


def _hex(value: bytes) -> str:
    """Write bytes as Postgres reads them."""
    return f"\\x{value.hex()}"

"""INSERT ... ON CONFLICT as each engine's dialect of SQLAlchemy has it: the same words, from two places."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = postgresql.Insert | sqlite.Insert

_INSERTS: dict[str, Callable[[Table], Insert]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def insert_of(dialect: str) -> Callable[[Table], Insert]:
    """Return the insert() that has on_conflict_do_update(). dialect: the name of a connection's."""
    return _INSERTS[dialect]

"""The schema, declared once: fact tables from the columns of collector.model, catalogues and caches here.

Facts only grow; `runs`, `flows` and `tasks` are a cache of the fold and may be recomputed from the facts at any time.
"""

from __future__ import annotations

from typing import Any, get_type_hints

from sqlalchemy import BigInteger, Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from collector.model import LogRow, MomentRow, ProcessRow, ResourceRow, ScopeRow, SpanRow

# Text is compared byte by byte on every engine: the order of a list, and what a cursor cuts off, must not depend on a server's locale.
_TYPES: dict[Any, TypeEngine[Any]] = {
    int: BigInteger(),
    str: Text().with_variant(Text(collation="C"), "postgresql"),
    bytes: LargeBinary(),
}

# Postgres keeps each day's facts in a partition of their own (partition_name), so that dropping a day is no deletion.
_BY_DAY: dict[str, Any] = {"postgresql_partition_by": "RANGE (day)"}


class Base(DeclarativeBase):
    """The metadata of every table; integers are 64 bits."""

    type_annotation_map = _TYPES


def table_of(model: type[Base]) -> Table:
    """Return a model's table, for statements that go past the ORM."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def partition_name(table: str, day: int) -> str:
    """Return what the partition of a fact table for one day is called on Postgres."""
    return f"{table}_d{day}"


def _columns(row: type[Any]) -> list[Column[Any]]:
    """Make a column for each field of a row type: never null but where the field may be None."""
    hints = get_type_hints(row)
    return [
        Column(name, _TYPES[hint], nullable=False) if hint in _TYPES else Column(name, BigInteger, nullable=True)
        for name, hint in hints.items()
    ]


def _seq() -> Column[int]:
    """The transaction a row came or last changed with: what a cursor compares."""
    return Column("seq", BigInteger, nullable=False)


class Span(Base):
    """collector.model.SpanRow, and the transaction it came with."""

    __table__ = Table(
        "spans",
        Base.metadata,
        *_columns(SpanRow),
        _seq(),
        PrimaryKeyConstraint("project", "trace_id", "span_id", "day"),
        **_BY_DAY,
    )


class Moment(Base):
    """collector.model.MomentRow, and the transaction it came with."""

    __table__ = Table(
        "span_moments",
        Base.metadata,
        *_columns(MomentRow),
        _seq(),
        PrimaryKeyConstraint("project", "trace_id", "span_id", "day", "kind", "at"),
        **_BY_DAY,
    )


class Log(Base):
    """collector.model.LogRow, and the transaction it came with.

    Read by (project, trace_id, time_ns); logs_new finds what came since a cursor without walking a long run's lines. On Postgres it is a
    BRIN, which writing does not feel (1.01 of no index; a B-tree 0.67): rows lie in the order they came in, but for a few.
    """

    __table__ = Table(
        "logs",
        Base.metadata,
        *_columns(LogRow),
        _seq(),
        PrimaryKeyConstraint("project", "trace_id", "time_ns", "digest", "twin", "day"),
        Index("logs_new", "seq", postgresql_using="brin"),
        Index(
            "logs_once",
            "project",
            "trace_id",
            "digest",
            "day",
            unique=True,
            sqlite_where=text("stamped = 1"),
            postgresql_where=text("stamped = 1"),
        ),
        **_BY_DAY,
    )


# The tables that grow with what is received, and that Postgres partitions.
FACTS: tuple[type[Base], ...] = (Span, Moment, Log)


class ResourceEntry(Base):
    """collector.model.ResourceRow: content is its own key."""

    __table__ = Table("resources", Base.metadata, *_columns(ResourceRow), PrimaryKeyConstraint("project", "resource_id"))


class ScopeEntry(Base):
    """collector.model.ScopeRow: content is its own key."""

    __table__ = Table("scopes", Base.metadata, *_columns(ScopeRow), PrimaryKeyConstraint("project", "scope_id"))


class Process(Base):
    """collector.model.ProcessRow."""

    __table__ = Table("processes", Base.metadata, *_columns(ProcessRow), PrimaryKeyConstraint("project", "process"))


class Project(Base):
    """A tenant. There is one, `default`, until keys belong to projects."""

    __tablename__ = "projects"

    project: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(unique=True)
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]


class Flow(Base):
    """A definition: what runs with the same flow_key are runs of. Made by the fold."""

    __tablename__ = "flows"

    project: Mapped[int] = mapped_column(primary_key=True)
    flow_key: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str]
    tags: Mapped[str]
    described_ns: Mapped[int]
    created_ns: Mapped[int]
    updated_ns: Mapped[int]


class Task(Base):
    """A step of a definition. Made by the fold. described_ns: start of the newest run that described it."""

    __tablename__ = "tasks"

    project: Mapped[int] = mapped_column(primary_key=True)
    flow_key: Mapped[str] = mapped_column(primary_key=True)
    task_key: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str]
    tags: Mapped[str]
    run_in: Mapped[str]
    described_ns: Mapped[int]
    created_ns: Mapped[int]
    updated_ns: Mapped[int]


class RunEntry(Base):
    """The cached fold of a run, for lists. version: how much the store had seen when it was folded. sort_ns: its start, or first heard of.

    seq: the transaction that last wrote this row, by which a list that is looked at finds what changed. cursor: the moment it shows.
    outline: of a large run what large_run_outline.py needs to show it, of others empty; last, so that lists need not read past it.
    frozen: 1 once an earlier day of the run was dropped: what is left of its facts would fold to something else, so it is never folded again.
    runs_counted holds all that the counts of a page of flows are made of: 34 ms instead of 460 for 50 flows with 200,000 runs in SQLite.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_newest", "project", "kind", "sort_ns", "run_key"),
        Index("runs_in_order", "project", "sort_ns", "run_key"),
        Index("runs_of_flow", "project", "flow_key", "sort_ns", "run_key"),
        Index("runs_of_status", "project", "status", "sort_ns", "run_key"),
        Index("runs_counted", "project", "flow_key", "kind", "hidden", "status"),
        Index("runs_changed", "project", "seq"),
        Index("runs_to_recheck", "recheck_ns", sqlite_where=text("recheck_ns > 0"), postgresql_where=text("recheck_ns > 0")),
    )

    project: Mapped[int] = mapped_column(primary_key=True)
    run_key: Mapped[bytes] = mapped_column(primary_key=True)
    source: Mapped[str]
    run_id: Mapped[str]
    generation: Mapped[int]
    kind: Mapped[str]
    status: Mapped[str]
    flow_key: Mapped[str]
    flow_name: Mapped[str]
    started_ns: Mapped[int]
    finished_ns: Mapped[int]
    sort_ns: Mapped[int]
    error: Mapped[str]
    tasks_declared: Mapped[int | None]
    counts: Mapped[str]
    params: Mapped[str]
    metadata_: Mapped[str] = mapped_column("metadata")
    tags: Mapped[str]
    processes: Mapped[str]
    hidden: Mapped[int]
    first_day: Mapped[int]
    last_day: Mapped[int]
    recheck_ns: Mapped[int]
    heard_ns: Mapped[int]
    version: Mapped[int]
    frozen: Mapped[int] = mapped_column(server_default=text("0"))
    seq: Mapped[int] = mapped_column(server_default=text("0"))
    cursor: Mapped[str] = mapped_column(server_default=text("''"))
    outline: Mapped[str] = mapped_column(server_default=text("''"))


class RunTrace(Base):
    """Which runs have facts in which traces, and of which days: where a read has to look.

    A trace's provisional run has source `trace`; a row is written once and never changed.
    """

    __tablename__ = "run_traces"
    __table_args__ = (Index("run_traces_by_trace", "project", "trace_id"), Index("run_traces_by_id", "project", "run_id"))

    project: Mapped[int] = mapped_column(primary_key=True)
    run_key: Mapped[bytes] = mapped_column(primary_key=True)
    trace_id: Mapped[bytes] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    run_id: Mapped[str]
    generation: Mapped[int]
    seq: Mapped[int]


class RunChange(Base):
    """The news, in the order of commits: this transaction brought facts about this run in this trace. Old rows are pruned."""

    __tablename__ = "run_changes"
    __table_args__ = (Index("run_changes_by_trace", "project", "trace_id", "seq"),)

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project: Mapped[int] = mapped_column(primary_key=True)
    run_key: Mapped[bytes] = mapped_column(primary_key=True)
    trace_id: Mapped[bytes] = mapped_column(primary_key=True)
    heard_ns: Mapped[int]


class RunDirty(Base):
    """A mark: this run must be folded again, for the facts of transaction seq. Written with the facts, so it survives what they survive.

    Marks are only added: two writers never wait for each other's, and a fold takes away exactly those it saw.
    """

    __tablename__ = "run_dirty"

    project: Mapped[int] = mapped_column(primary_key=True)
    run_key: Mapped[bytes] = mapped_column(primary_key=True)
    trace_id: Mapped[bytes] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Clock(Base):
    """One row. seq: the number of the last transaction; on Postgres, which counts them itself, what is added to its numbers (news.py)."""

    __tablename__ = "clock"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int]
    pruned_seq: Mapped[int]

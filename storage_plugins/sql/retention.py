"""What is too old, whose it is, and how it goes: what every SQL storage's retention is made of. Each engine paces its own steps.

run_traces says which runs have facts of which days in which traces, so nothing else is searched. An open run keeps its facts (find_kept); what
becomes of one that loses some is in frozen.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, func, literal, not_, or_, select, tuple_

from collector.attributes import from_json
from collector.model import ODD_DAY
from collector.picture import TERMINAL
from collector.rows import DAY_NS
from otel_bridge.conventions import TRACE_SOURCE
from storage_plugins.sql.facts import slices, traces_of
from storage_plugins.sql.tables import FACTS, Base, Log, Moment, Process, RunEntry, RunTrace, Span, table_of

# Rows of run_traces looked at together, with the facts of their traces.
MOST_CLAIMS = 100
# An open run with more spans and moments than this loses its old ones like any other: a trace that never ends must not fill the disk.
MOST_KEPT_FACTS = 100_000


class Cut(NamedTuple):
    """Where the past ends: facts of days before first_day go, and those of no day that were received before it began."""

    first_day: int

    @property
    def begins_ns(self) -> int:
        """Return when the first kept day began."""
        return self.first_day * DAY_NS

    def takes(self, table: type[Base]) -> ColumnElement[bool]:
        """Return the condition that a row of a fact table is too old."""
        columns = table_of(table).c
        odd = and_(columns.day == ODD_DAY, columns.received_ns < self.begins_ns)
        return or_(columns.day.between(ODD_DAY + 1, self.first_day - 1), odd)


class Claimed(NamedTuple):
    """The key of a row of run_traces: this run has facts of this day in this trace."""

    project: int
    run_key: bytes
    trace_id: bytes
    source: str
    day: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some traces that may hold old facts. last: where to look for the next.

    kept: the open runs among those in these traces. kept_traces: those whose facts without a run's name are theirs.
    """

    project: int
    traces: Sequence[bytes]
    last: Claimed | None = None
    kept: frozenset[bytes] = frozenset()
    kept_traces: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Old:
    """Facts to delete: of each table their keys, as its primary key has them, and the runs that lose them."""

    keys: dict[type[Base], list[tuple[Any, ...]]] = field(default_factory=dict)
    losers: set[bytes] = field(default_factory=set)

    def __len__(self) -> int:
        """Count the facts."""
        return sum(map(len, self.keys.values()))


def cut_of(now_ns: int, retention_days: int) -> Cut | None:
    """Return what is too old now; None if everything is kept."""
    return Cut(now_ns // DAY_NS - retention_days) if retention_days else None


# --- whose it is -----------------------------------------------------------------------------------------------------------------------

_KEY = [table_of(RunTrace).c[name] for name in Claimed._fields]


def next_chunk(connection: Connection, cut: Cut, after: Claimed | None) -> Chunk | None:
    """Return the next traces that may hold old facts, by the key of run_traces; None at its end."""
    query = select(*_KEY).where(RunTrace.day < cut.first_day)
    if after is not None:
        query = query.where(tuple_(*_KEY) > tuple_(*map(literal, after)))
    found = [Claimed._make(row) for row in connection.execute(query.order_by(*_KEY).limit(MOST_CLAIMS))]
    if not found:
        return None
    here = [claim for claim in found if claim.project == found[0].project]
    project, traces = here[0].project, sorted({claim.trace_id for claim in here})
    return Chunk(project, traces, here[-1], *find_kept(connection, project, traces, cut))


def find_kept(connection: Connection, project: int, traces: Collection[bytes], cut: Cut) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return the open runs in these traces, and the traces whose nameless facts are theirs.

    Open: not over, and heard of since the cut, itself or a process of it. One that is too large is not kept.
    """
    claims = claims_in(connection, project, traces)
    query = select(RunEntry.run_key, RunEntry.heard_ns, RunEntry.processes).where(
        RunEntry.project == project, RunEntry.status.not_in(TERMINAL), RunEntry.hidden == 0, RunEntry.frozen == 0
    )
    rows = [
        row
        for some in slices(sorted({claim.run_key for claim in claims}))
        for row in connection.execute(query.where(RunEntry.run_key.in_(some)))
    ]
    kept = frozenset(
        row.run_key for row in rows if _is_heard_of(connection, project, row, cut) and not _is_large(connection, project, row.run_key)
    )
    return kept, frozenset(trace_id for trace_id, owners in _nameless_owners(claims, cut).items() if not kept.isdisjoint(owners))


def claims_in(connection: Connection, project: int, traces: Collection[bytes]) -> list[Claimed]:
    """Return which runs have facts in these traces, and of which days."""
    query = select(*_KEY).where(RunTrace.project == project, RunTrace.trace_id.in_(traces))
    return [Claimed._make(row) for row in connection.execute(query)]


def _nameless_owners(claims: Collection[Claimed], cut: Cut) -> Mapping[bytes, set[bytes]]:
    """Return, of each trace with facts that name no run, the runs whose the old ones may be: its provisional run, and who claims it.

    Of several who do, those with old facts of their own: an old span is not below a run that began later.
    """
    named: dict[bytes, set[bytes]] = defaultdict(set)
    owners: dict[bytes, set[bytes]] = {}
    for claim in claims:
        if claim.source == TRACE_SOURCE:
            owners[claim.trace_id] = {claim.run_key}
        else:
            named[claim.trace_id].add(claim.run_key)
    old = {(claim.trace_id, claim.run_key) for claim in claims if claim.day < cut.first_day}
    for trace_id, found in owners.items():
        alone = len(named[trace_id]) == 1
        found |= {run_key for run_key in named[trace_id] if alone or (trace_id, run_key) in old}
    return owners


def _is_heard_of(connection: Connection, project: int, row: Row[bytes, int, str], cut: Cut) -> bool:
    if row.heard_ns >= cut.begins_ns:
        return True
    columns = table_of(Process).c
    heard_ns = select(func.max(columns.heard_ns)).where(columns.project == project, columns.process.in_(from_json(row.processes)))
    return (connection.execute(heard_ns).scalar() or 0) >= cut.begins_ns


def _is_large(connection: Connection, project: int, run_key: bytes) -> bool:
    count = 0
    for table in (Span, Moment):
        columns = table_of(table).c
        own = (columns.project == project, columns.trace_id.in_(traces_of(project, run_key)), columns.run_key.in_((run_key, b"")))
        some = select(literal(1)).where(*own).limit(MOST_KEPT_FACTS + 1).subquery()
        count += connection.execute(select(func.count()).select_from(some)).scalar_one()
    return count > MOST_KEPT_FACTS


# --- its facts -------------------------------------------------------------------------------------------------------------------------


def read_old(connection: Connection, cut: Cut, chunk: Chunk, limit: int) -> Old:
    """Return up to so many facts to delete. An open run keeps its spans and moments, which make its picture; its log lines go day by day."""
    old = Old()
    nameless: set[bytes] = set()
    for table in FACTS:
        columns = table_of(table).c
        key = table_of(table).primary_key.columns.keys()
        fits = [columns.project == chunk.project, columns.trace_id.in_(chunk.traces), cut.takes(table)]
        if chunk.kept and table is not Log:
            fits += [columns.run_key.not_in(chunk.kept), not_(and_(columns.run_key == b"", columns.trace_id.in_(chunk.kept_traces)))]
        rows = connection.execute(select(*(columns[name] for name in key), columns.run_key).where(*fits).limit(limit - len(old))).all()
        old.keys[table] = [tuple(row)[:-1] for row in rows]
        old.losers |= {row.run_key for row in rows if row.run_key}
        nameless |= {row.trace_id for row in rows if not row.run_key}
    for owners in _nameless_owners(claims_in(connection, chunk.project, nameless), cut).values():
        old.losers |= owners
    old.losers -= chunk.kept
    return old


def find_losers(connection: Connection, cut: Cut, chunk: Chunk) -> set[bytes]:
    """Return the runs that lose facts in these traces, where days go whole: run_traces says whose they are, but for facts of no day."""
    claims = claims_in(connection, chunk.project, chunk.traces)
    old = {(claim.trace_id, claim.run_key, claim.source) for claim in claims if ODD_DAY < claim.day < cut.first_day}
    losers = {run_key for _, run_key, source in old if source != TRACE_SOURCE}
    nameless = {trace_id for trace_id, _, source in old if source == TRACE_SOURCE}
    for table in FACTS:
        columns = table_of(table).c
        odd = (columns.project == chunk.project, columns.trace_id.in_(chunk.traces), columns.day == ODD_DAY, cut.takes(table))
        rows = connection.execute(select(columns.trace_id, columns.run_key).where(*odd).distinct()).all()
        losers |= {row.run_key for row in rows if row.run_key}
        nameless |= {row.trace_id for row in rows if not row.run_key}
    for trace_id, owners in _nameless_owners(claims, cut).items():
        losers |= owners if trace_id in nameless - chunk.kept_traces else set()
    return losers - chunk.kept


def old_processes(connection: Connection, cut: Cut, after: tuple[int, str], limit: int) -> list[tuple[int, str]]:
    """Return (project, process) of senders that were not heard of since the cut, by their key, after this one."""
    columns = table_of(Process).c
    key = (columns.project, columns.process)
    query = select(*key).where(tuple_(*key) > tuple_(*map(literal, after)), columns.heard_ns < cut.begins_ns)
    return [(row.project, row.process) for row in connection.execute(query.order_by(*key).limit(limit))]


def delete_processes(connection: Connection, cut: Cut, keys: Iterable[tuple[int, str]]) -> None:
    """Delete these, but one that was heard of since."""
    columns = table_of(Process).c
    one = (columns.project == bindparam("project_"), columns.process == bindparam("process_"), columns.heard_ns < cut.begins_ns)
    connection.execute(delete(table_of(Process)).where(*one), [{"project_": project, "process_": process} for project, process in keys])

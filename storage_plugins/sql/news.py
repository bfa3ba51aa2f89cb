"""Which transactions a moment of the store has seen, and what was committed since. Plain functions over one connection.

SQLite has one writer at a time: its numbers follow one another, and a moment is the last of them. Postgres has many: a number may be
taken long before it is committed, so a moment also names those that were still open then (from its snapshot). Both are a Horizon.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, not_, or_, select, text, update

from collector.answers import Changes, Resync
from collector.questions import BadCursor, LogQuery
from storage_plugins.sql.tables import Clock, RunChange, table_of

# A reader that was away longer takes a new snapshot.
KEPT_NEWS_S = 900
# Rows forgotten at a time, under the writer's lock: about 20 ms (350,000 at once took 2.5 s, 2026-11).
PRUNED_ROWS = 3_000
# Numbers are 64 bits; the open ones are as many as a server has connections.
LONGEST_CURSOR = 100_000
LARGEST_NUMBER = 2**63 - 1

_SEQ = table_of(RunChange).c.seq

# Postgres: the number of this transaction. The server may be another than the one these facts came to first: what is added goes on from there.
SEQ = "SELECT pg_current_xact_id()::text::bigint + seq FROM clock"
# The greatest number that is seen. Not the next the server would give: in a crash it forgets those of transactions that failed, or that nobody
# waited for, and gives them again. What is seen here was synced before it could be seen.
_FOUND = """
greatest(clock.pruned_seq, (SELECT max(seq) FROM run_changes), (
  SELECT max(last.seq) FROM projects
  CROSS JOIN LATERAL (SELECT max(runs.seq) AS seq FROM runs WHERE runs.project = projects.project) AS last
))
"""
_NEWEST = text(f"SELECT pg_current_snapshot()::text, clock.seq, {_FOUND} FROM clock")  # noqa: S608  # no input in it
_GO_ON = text(f"""
UPDATE clock SET seq = found.seq + 1 - found.next
FROM (SELECT {_FOUND} AS seq, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next FROM clock) AS found
WHERE found.seq >= found.next + clock.seq
""")  # noqa: S608  # no input in it


class Horizon(NamedTuple):
    """A moment of the store: it has seen every transaction with a number less than `below` but those `still_open` then."""

    below: int
    still_open: tuple[int, ...] = ()

    @property
    def version(self) -> int:
        """Return how many transactions had ended: it rises with every commit, whatever their order."""
        return self.below - len(self.still_open)

    @property
    def first_unseen(self) -> int:
        """Return the least number that may be news after this moment."""
        return min((self.below, *self.still_open))

    def is_news(self, seq: ColumnElement[int]) -> ColumnElement[bool]:
        """Return the condition that a row came after this moment."""
        return or_(seq >= self.below, seq.in_(self.still_open)) if self.still_open else seq >= self.below

    def is_known(self, seq: ColumnElement[int]) -> ColumnElement[bool]:
        """Return the condition that a row had come by this moment."""
        return and_(seq < self.below, not_(seq.in_(self.still_open))) if self.still_open else seq < self.below

    def parameters(self, name: str) -> dict[str, Any]:
        """Return what news_after() and known_by() of this name ask for."""
        return {f"{name}_below": self.below} | ({f"{name}_open": self.still_open} if self.still_open else {})

    def to_cursor(self) -> str:
        """Return this moment as the text of a cursor."""
        return "-".join(str(number) for number in (self.below, *self.still_open))


# A statement that is made once costs a third of one that is put together each time; so these take their moment when it is executed.


def news_after(seq: ColumnElement[int], name: str, *, has_open: bool) -> ColumnElement[bool]:
    """Return the condition of Horizon.is_news, for a moment of this name."""
    came = seq >= bindparam(f"{name}_below")
    return or_(came, seq.in_(bindparam(f"{name}_open", expanding=True))) if has_open else came


def known_by(seq: ColumnElement[int], name: str, *, has_open: bool) -> ColumnElement[bool]:
    """Return the condition of Horizon.is_known, for a moment of this name."""
    return not_(news_after(seq, name, has_open=has_open))


def horizon_of(cursor: str) -> Horizon:
    """Return the moment a cursor stands for. Raises BadCursor."""
    numbers = cursor.split("-") if len(cursor) <= LONGEST_CURSOR else []
    if not numbers or not all(one.isascii() and one.isdecimal() and int(one) <= LARGEST_NUMBER for one in numbers):
        raise BadCursor
    below, *still_open = map(int, numbers)
    return Horizon(below, tuple(still_open))


def came_between(query: LogQuery, seq: ColumnElement[int]) -> list[ColumnElement[bool]]:
    """Return the conditions that a row came after the one cursor of a question and by the other. Raises BadCursor."""
    after = [] if query.since is None else [horizon_of(query.since).is_news(seq)]
    return after if query.until is None else [*after, horizon_of(query.until).is_known(seq)]


def horizon(connection: Connection) -> Horizon:
    """Return the moment this connection's transaction sees."""
    if connection.dialect.name == "postgresql":
        snapshot, added, newest = connection.execute(_NEWEST).one()
        still_open = (int(number) + added for number in snapshot.rpartition(":")[2].split(",") if number)
        return Horizon(newest + 1, tuple(number for number in still_open if number <= newest))
    return Horizon(connection.execute(select(Clock.seq)).scalar_one() + 1)


def go_on_counting(connection: Connection) -> None:
    """Postgres: let new numbers be greater than those in the store, which are another server's if it was restored from a dump."""
    connection.execute(_GO_ON)


def take_number(connection: Connection) -> int:
    """Return the number of this connection's transaction, which writes: its rows are news after every moment before its commit."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(text(SEQ)).scalar_one())
    return connection.execute(update(Clock).values(seq=Clock.seq + 1).returning(Clock.seq)).scalar_one()


def latest_cursor(connection: Connection, project: int) -> str:
    """Return the cursor after everything this connection's transaction sees."""
    return horizon(connection).to_cursor()


def changes(connection: Connection, project: int, cursor: str, until: str | None) -> Changes:
    """Return the runs and traces that got facts after a cursor, and by another."""
    since, now = horizon_of(cursor), horizon(connection)
    pruned_seq = connection.execute(select(Clock.pruned_seq)).scalar_one()
    if since.first_unseen <= pruned_seq or since.below > now.below:
        raise Resync
    fits = [RunChange.project == project, since.is_news(_SEQ)]
    if until is not None:
        now = horizon_of(until)
        fits.append(now.is_known(_SEQ))
    rows = connection.execute(select(RunChange.run_key, RunChange.trace_id).where(*fits)).all()
    return Changes({row.run_key for row in rows}, {row.trace_id for row in rows}, now.to_cursor())


def prune(connection: Connection, now_ns: int) -> None:
    """Forget some of the oldest news, if they are old enough. What a transaction that is still open may bring is kept, whatever its age."""
    oldest = select(RunChange.seq, RunChange.heard_ns).order_by(RunChange.seq).limit(PRUNED_ROWS).subquery()
    last, heard_ns = connection.execute(select(func.max(oldest.c.seq), func.max(oldest.c.heard_ns))).one()
    if last is None or heard_ns > now_ns - KEPT_NEWS_S * 10**9:
        return
    last = min(last, horizon(connection).first_unseen - 1)
    connection.execute(delete(RunChange).where(RunChange.seq <= last))
    connection.execute(update(Clock).where(Clock.pruned_seq < last).values(pruned_seq=last))

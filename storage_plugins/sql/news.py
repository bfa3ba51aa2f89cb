"""What was committed since a cursor, by the sequence numbers of a store with one writer at a time. Plain functions over one connection.

A sequence number is taken inside the write transaction and writers follow one another, so a number once seen has nothing missing before it.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update

from collector.storage import BadCursor, Changes, Resync
from storage_plugins.sql.tables import Clock, RunChange

# Transactions whose news are kept: a quarter of an hour at 20 commits a second. A reader that was away longer takes a new snapshot.
KEPT_NEWS = 20_000
# Rows forgotten at a time, under the writer's lock: about 20 ms (350,000 at once took 2.5 s, 2026-11).
PRUNED_ROWS = 3_000


def latest_cursor(connection: Connection, project: int) -> str:
    """Return the cursor after the last committed transaction."""
    return str(connection.execute(select(Clock.seq)).scalar_one())


def changes(connection: Connection, project: int, cursor: str) -> Changes:
    """Return the runs and traces that got facts after a cursor."""
    if not cursor.isdecimal():
        raise BadCursor
    seq, pruned_seq = connection.execute(select(Clock.seq, Clock.pruned_seq)).one()
    if int(cursor) < pruned_seq or int(cursor) > seq:
        raise Resync
    rows = connection.execute(
        select(RunChange.run_key, RunChange.trace_id).where(RunChange.seq > int(cursor), RunChange.seq <= seq, RunChange.project == project)
    ).all()
    return Changes({row.run_key for row in rows}, {row.trace_id for row in rows}, str(seq))


def prune(connection: Connection) -> None:
    """Forget some of the oldest news, if there are too many; the fold remembers each run's version."""
    beyond = connection.execute(select(Clock.seq)).scalar_one() - KEPT_NEWS
    last = connection.execute(
        select(RunChange.seq).where(RunChange.seq <= beyond).order_by(RunChange.seq).offset(PRUNED_ROWS).limit(1)
    ).scalar()
    pruned_seq = beyond if last is None else last
    if pruned_seq > 0:
        connection.execute(delete(RunChange).where(RunChange.seq <= pruned_seq))
        connection.execute(update(Clock).where(Clock.pruned_seq < pruned_seq).values(pruned_seq=pruned_seq))

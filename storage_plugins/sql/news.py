"""What was committed since a cursor, by the sequence numbers of a store with one writer at a time. Plain functions over one connection.

A sequence number is taken inside the write transaction and writers follow one another, so a number once seen has nothing missing before it.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update

from collector.storage import BadCursor, Changes, Resync
from storage_plugins.sql.tables import Clock, RunChange

# News kept: at one commit a run each 50 ms, an hour of them. A reader that was away longer takes a new snapshot.
KEPT_NEWS = 100_000


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
    """Forget the oldest news; the fold remembers each run's version."""
    pruned_seq = connection.execute(select(Clock.seq)).scalar_one() - KEPT_NEWS
    if pruned_seq > 0:
        connection.execute(delete(RunChange).where(RunChange.seq <= pruned_seq))
        connection.execute(update(Clock).values(pruned_seq=pruned_seq))

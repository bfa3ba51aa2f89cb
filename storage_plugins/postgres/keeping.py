"""Moves what open runs keep out of the days that go, into the odd day. A reader sees a fact once, before and after."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from collector.model import ODD_DAY
from otel_bridge.conventions import TRACE_SOURCE
from storage_plugins.postgres.connections import Driver
from storage_plugins.postgres.statements import MOMENTS, SPANS, Copied
from storage_plugins.sql.news import SEQ
from storage_plugins.sql.retention import Chunk, Claimed, Cut
from storage_plugins.sql.tables import Base, Moment, Span, table_of

_OLD = f"project = %(project)s AND trace_id = %(trace_id)s AND day BETWEEN {ODD_DAY + 1} AND %(last_day)s"
_KEPT_CLAIMS = f"""
FROM run_traces WHERE {_OLD}
  AND CASE source WHEN '{TRACE_SOURCE}' THEN %(nameless)s ELSE run_key = ANY(%(kept)s) END
"""

CLAIM = f"""
INSERT INTO run_traces (project, run_key, trace_id, source, day, run_id, generation, seq)
SELECT project, run_key, trace_id, source, {ODD_DAY}, run_id, generation, seq {_KEPT_CLAIMS}
ON CONFLICT DO NOTHING
"""
# A fold does not read all at one moment: one that looked for the days before the move and for the facts after it has missed them.
MARK = f"""
INSERT INTO run_dirty (project, run_key, trace_id, seq)
SELECT DISTINCT project, run_key, trace_id, ({SEQ}) {_KEPT_CLAIMS}
"""


def _take(model: type[Base]) -> str:
    table = table_of(model)
    names = [column.name for column in table.columns]
    columns = ", ".join(f'"{name}"' for name in names)
    moved = ", ".join(str(ODD_DAY) if name == "day" else f'"{name}"' for name in names)
    return (
        f"WITH taken AS (DELETE FROM {table.name} WHERE {_OLD}"  # noqa: S608  # names of our own tables
        " AND CASE run_key WHEN '' THEN %(nameless)s ELSE run_key = ANY(%(kept)s) END RETURNING *)"
        f" INSERT INTO stage_{table.name} ({columns}) SELECT {moved} FROM taken"
    )


MOVES: tuple[tuple[Copied, str], ...] = ((SPANS, _take(Span)), (MOMENTS, _take(Moment)))


def traces_to_move(claims: Collection[Claimed], cut: Cut, chunk: Chunk) -> list[bytes]:
    """Return the traces in which open runs have spans and moments of days that go."""
    old = [claim for claim in claims if ODD_DAY < claim.day < cut.first_day]
    named = {claim.trace_id for claim in old if claim.source != TRACE_SOURCE and claim.run_key in chunk.kept}
    nameless = {claim.trace_id for claim in old if claim.source == TRACE_SOURCE and claim.trace_id in chunk.kept_traces}
    return sorted(named | nameless)


def move(driver: Driver, cut: Cut, chunk: Chunk, trace_id: bytes) -> int:
    """Move what open runs keep of one trace, at most what they have (retention.MOST_KEPT_FACTS each). Returns how many facts that were.

    The rows keep their number: they are no news. Of what is in the odd day already the greatest stays, as always.
    """
    what: dict[str, Any] = {
        "project": chunk.project,
        "trace_id": trace_id,
        "last_day": cut.first_day - 1,
        "kept": list(chunk.kept),
        "nameless": trace_id in chunk.kept_traces,
    }
    moved = 0
    with driver.transaction(), driver.cursor() as cursor:
        cursor.execute(CLAIM, what)
        for how, take in MOVES:
            cursor.execute(how.make_stage)
            moved += cursor.execute(take, what).rowcount
            cursor.execute(how.merge)
        if moved:
            cursor.execute(MARK, what)
    return moved

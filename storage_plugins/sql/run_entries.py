"""The cached rows of runs, as a fold makes them: many are written in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, select

from collector.answers import Heard
from collector.attributes import to_json
from collector.picture import RunPicture
from storage_plugins.sql.news import Horizon
from storage_plugins.sql.tables import RunEntry, table_of
from storage_plugins.sql.upsert import Insert, insert_of, rows_given, write_rows

# A run of a project.
RunOf = tuple[int, bytes]


@dataclass(slots=True)
class Folded:
    """A run's new cache row, ready to write.

    picture: without task runs if it is a plain trace. took_s: to fold a large run, else 0. outline: of a large run, see large_run_outline.py.
    """

    project: int
    picture: RunPicture
    seen: Horizon
    heard: Heard
    outline: str = ""
    took_s: float = 0.0

    @property
    def key(self) -> RunOf:
        """Return which run it is."""
        return (self.project, self.picture.run.run_key)


def write_entries(connection: Connection, folded: Sequence[Folded], seq: int) -> None:
    """Write the rows of folded runs, of which there is at least one, in their order. seq: the transaction's number."""
    write_rows(connection, _upsert, [_values(one, seq) for one in folded])


@cache
def _upsert(dialect: str) -> Insert:
    """Made once: to put it together for each round costs more than to run it."""
    table = table_of(RunEntry)
    given, insert = rows_given(dialect, table), insert_of(dialect)(table)
    statement = insert.values(given) if dialect == "sqlite" else insert.from_select(list(given), select(*given.values()))
    return statement.on_conflict_do_update(
        index_elements=["project", "run_key"],
        set_={name: statement.excluded[name] for name in given if name not in ("project", "run_key")},
        where=(RunEntry.version <= statement.excluded.version) & (RunEntry.frozen == 0),
    )


def _values(one: Folded, seq: int) -> dict[str, Any]:
    run = one.picture.run
    return {
        "project": one.project,
        "run_key": run.run_key,
        "source": run.source,
        "run_id": run.run_id,
        "generation": run.generation,
        "kind": run.kind,
        "status": run.status,
        "flow_key": run.flow_key,
        "flow_name": run.flow_name,
        "started_ns": run.started_ns,
        "finished_ns": run.finished_ns,
        "sort_ns": run.started_ns or run.first_ns,
        "error": run.error,
        "tasks_declared": run.tasks_declared,
        "counts": to_json(run.counts),
        "params": to_json(run.params),
        "metadata": to_json(run.metadata),
        "tags": to_json(run.tags),
        "processes": to_json(run.processes),
        "hidden": int(run.hidden),
        "first_day": run.first_day,
        "last_day": run.last_day,
        "recheck_ns": run.recheck_ns,
        "heard_ns": one.heard.last_ns,
        "version": one.seen.version,
        "frozen": 0,
        "seq": seq,
        "cursor": one.seen.to_cursor(),
        "outline": one.outline,
    }

"""The catalogue of flows and tasks, learnt from folded runs. A row this process wrote lately is not written again (R018)."""

from __future__ import annotations

import time
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, delete, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from collector.attributes import to_json
from collector.picture import KIND_RUN, Run, RunPicture
from storage_plugins.sql.tables import Flow, RunEntry, Task, table_of

# How long a row is taken for written: a row another program deleted is back after this.
KNOWN_S = 300.0
# Rows remembered; past it all are forgotten, which costs one upsert each.
MOST_KNOWN = 50_000


class Told(NamedTuple):
    """What this process last wrote of a row, the start of the newest run that said so, and until when that is believed (monotonic)."""

    values: tuple[Any, ...]
    described_ns: int
    until_s: float


class Catalogue:
    """Upserts flows and tasks; of what describes them, the newest run's word stands."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._told: dict[tuple[Any, ...], Told] = {}

    def forget(self) -> None:
        """Take nothing for written: the transaction it was written in failed."""
        self._told.clear()

    def write(self, connection: Connection, project: int, picture: RunPicture, now_ns: int) -> None:
        """Upsert the flow of a named run and the tasks it ran."""
        run = picture.run
        self._upsert(connection, Flow, _flow_values(project, run), ["project", "flow_key"], now_ns)
        by_key = {task.task_key: task for task in picture.tasks}
        for task_key, task in sorted(by_key.items()):
            values = {
                "project": project,
                "flow_key": run.flow_key,
                "task_key": task_key,
                "id": computed_id(project, run.flow_key, task_key),
                "name": task.task_name,
                "description": task.description,
                "tags": to_json(task.tags),
                "run_in": task.run_in,
                "described_ns": run.started_ns or run.first_ns,
            }
            self._upsert(connection, Task, values, ["project", "flow_key", "task_key"], now_ns)

    def drop_if_unused(self, connection: Connection, project: int, flow_key: str) -> None:
        """Take a flow and its tasks away if no run has it any more."""
        used = select(RunEntry.run_key).where(RunEntry.project == project, RunEntry.flow_key == flow_key, RunEntry.kind == KIND_RUN)
        if connection.execute(used.limit(1)).first() is None:
            connection.execute(delete(Flow).where(Flow.project == project, Flow.flow_key == flow_key))
            connection.execute(delete(Task).where(Task.project == project, Task.flow_key == flow_key))
            self.forget()

    def _upsert(self, connection: Connection, table: type[Flow] | type[Task], values: dict[str, Any], key: list[str], now_ns: int) -> None:
        row = (table, *(values[name] for name in key))
        told = Told(tuple(values[name] for name in values if name != "described_ns"), values["described_ns"], time.monotonic() + KNOWN_S)
        if self._is_known(row, told):
            return
        statement = insert(table_of(table)).values({**values, "created_ns": now_ns, "updated_ns": now_ns})
        changing = [name for name in values if name not in key]
        columns = table.__table__.c
        differs = tuple_(*(columns[name] for name in changing)) != tuple_(*(statement.excluded[name] for name in changing))
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=key,
                set_={name: statement.excluded[name] for name in (*changing, "updated_ns")},
                where=(columns.described_ns <= statement.excluded.described_ns) & differs,
            )
        )
        if len(self._told) >= MOST_KNOWN:
            self.forget()
        self._told[row] = told

    def _is_known(self, row: tuple[Any, ...], new: Told) -> bool:
        """The row says this already, or what a newer run said; then an older run must not change it, though the row does not know it yet."""
        known = self._told.get(row)
        if known is None or known.until_s < time.monotonic():
            return False
        if known.values == new.values and known.described_ns < new.described_ns:
            self._told[row] = known._replace(described_ns=new.described_ns)
        return known.values == new.values or new.described_ns < known.described_ns


def _flow_values(project: int, run: Run) -> dict[str, Any]:
    """Describe a flow by its run; the id is the client's if it gave one, else computed from the key."""
    return {
        "project": project,
        "flow_key": run.flow_key,
        "id": run.flow_id or computed_id(project, run.flow_key),
        "name": run.flow_name or run.flow_key,
        "description": run.description,
        "tags": to_json(run.tags),
        "described_ns": run.started_ns or run.first_ns,
    }


def computed_id(project: int, *keys: str) -> str:
    """Return the uuid of a catalogue row: the same on every replica, so nobody has to ask for it."""
    return str(uuid5(NAMESPACE_URL, "flowspan:" + "/".join(f"{len(key)}:{key}" for key in (str(project), *keys))))

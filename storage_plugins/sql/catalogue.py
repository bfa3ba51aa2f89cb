"""The catalogue of flows and tasks, learnt from folded runs. A row this process wrote lately is not written again (R018)."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, delete, select, text, tuple_

from collector.attributes import to_json
from collector.picture import KIND_RUN, Run, RunPicture
from storage_plugins.sql.tables import Flow, RunEntry, Task, table_of
from storage_plugins.sql.upsert import insert_of

# How long a row is taken for written: a row another program deleted is back after this.
KNOWN_S = 300.0
# Rows remembered; past it all are forgotten, which costs one upsert each.
MOST_KNOWN = 50_000

# Replicas write the catalogue one after the other: each in an order of its own, they would wait for each other in a circle.
LOCK_CATALOGUE = text("SELECT pg_advisory_xact_lock(hashtext('flowspan catalogue'))")

FLOW_KEY = ("project", "flow_key")
TASK_KEY = ("project", "flow_key", "task_key")


class Told(NamedTuple):
    """What this process last wrote of a row, the start of the newest run that said so, and until when that is believed (monotonic)."""

    values: tuple[Any, ...]
    described_ns: int
    until_s: float


class Entry(NamedTuple):
    """A row to be: its table, the columns of its key, its values."""

    table: type[Flow] | type[Task]
    key: tuple[str, ...]
    values: dict[str, Any]

    @property
    def row(self) -> tuple[Any, ...]:
        """Return what tells this row from all others."""
        return (self.table, *(self.values[name] for name in self.key))

    def told(self) -> Told:
        """Return this entry as it will be remembered."""
        values = tuple(value for name, value in self.values.items() if name != "described_ns")
        return Told(values, self.values["described_ns"], time.monotonic() + KNOWN_S)


class Catalogue:
    """Upserts flows and tasks; of what describes them, the newest run's word stands."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._told: dict[tuple[Any, ...], Told] = {}

    def forget(self) -> None:
        """Take nothing for written: the transaction it was written in failed."""
        self._told.clear()

    def write(self, connection: Connection, pictures: Iterable[tuple[int, RunPicture]], left: Collection[tuple[int, str]], now_ns: int) -> None:
        """Upsert the flows of named runs and the tasks they ran. left: (project, flow_key) that runs were known under, and are no more."""
        entries = [entry for project, picture in pictures for entry in _entries(project, picture) if not self._is_known(entry)]
        if (entries or left) and connection.dialect.name == "postgresql":
            connection.execute(LOCK_CATALOGUE)
        for project, flow_key in left:
            self._drop_if_unused(connection, project, flow_key)
        for entry in entries:
            if not self._is_known(entry):
                self._upsert(connection, entry, now_ns)

    def _drop_if_unused(self, connection: Connection, project: int, flow_key: str) -> None:
        """Take a flow and its tasks away if no run has it any more."""
        used = select(RunEntry.run_key).where(RunEntry.project == project, RunEntry.flow_key == flow_key, RunEntry.kind == KIND_RUN)
        if connection.execute(used.limit(1)).first() is None:
            connection.execute(delete(Flow).where(Flow.project == project, Flow.flow_key == flow_key))
            connection.execute(delete(Task).where(Task.project == project, Task.flow_key == flow_key))
            self.forget()

    def _upsert(self, connection: Connection, entry: Entry, now_ns: int) -> None:
        statement = insert_of(connection.dialect.name)(table_of(entry.table)).values(
            {**entry.values, "created_ns": now_ns, "updated_ns": now_ns}
        )
        changing = [name for name in entry.values if name not in entry.key]
        columns = table_of(entry.table).c
        differs = tuple_(*(columns[name] for name in changing)) != tuple_(*(statement.excluded[name] for name in changing))
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=entry.key,
                set_={name: statement.excluded[name] for name in (*changing, "updated_ns")},
                where=(columns.described_ns <= statement.excluded.described_ns) & differs,
            )
        )
        if len(self._told) >= MOST_KNOWN:
            self.forget()
        self._told[entry.row] = entry.told()

    def _is_known(self, entry: Entry) -> bool:
        """The row says this already, or what a newer run said; then an older run must not change it, though the row does not know it yet."""
        known = self._told.get(entry.row)
        if known is None or known.until_s < time.monotonic():
            return False
        new = entry.told()
        if known.values == new.values and known.described_ns < new.described_ns:
            self._told[entry.row] = known._replace(described_ns=new.described_ns)
        return known.values == new.values or new.described_ns < known.described_ns


def _entries(project: int, picture: RunPicture) -> Sequence[Entry]:
    """Return the rows a run speaks of; none for a plain trace, or a run that names no flow yet."""
    run = picture.run
    if not run.flow_key or run.kind != KIND_RUN:
        return ()
    by_key = {task.task_key: task for task in picture.tasks}
    tasks = [
        {
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
        for task_key, task in sorted(by_key.items())
    ]
    return [Entry(Flow, FLOW_KEY, _flow_values(project, run)), *(Entry(Task, TASK_KEY, values) for values in tasks)]


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

"""Opening a run as a large one and as the fold has it, to compare the two. Each test's facts go into a project of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from collector.fold import fold
from collector.picture import RunPicture, TaskKey, TaskRun, culprit_of, extent_of
from collector.rows import RowMaker
from otel_bridge import conventions as c
from otel_bridge.facts import Fact
from otel_bridge.lifecycle import facts_of
from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sql.facts import Place, find_place, load_facts
from storage_plugins.sql.large_run_outline import Outline, from_text, to_text
from storage_plugins.sql.large_runs import MOST_ODD, outline, task_page
from storage_plugins.sqlite.storage import SqliteStorage
from tests.builders import RECEIVED_NS, moment, span

Store = SqliteStorage | PostgresStorage

projects = itertools.count(1)


@dataclass
class Large:
    """What is known of a run without folding it whole: its outline, and the task runs of all its pages."""

    outline: Outline
    tasks: list[TaskRun]


@dataclass
class Told:
    """Facts that were written into a project of their own."""

    storage: Store
    project: int

    def write(self, facts: Iterable[Fact]) -> None:
        """Write more."""
        self.storage.writer.write(RowMaker(RECEIVED_NS, self.project).add_all(facts))

    def folded(self, key: bytes, now_ns: int = RECEIVED_NS) -> RunPicture:
        """Fold the run whole."""
        with self.storage.snapshot() as connection:
            facts = load_facts(connection, self.project, key)
        assert facts is not None
        return fold(key, facts, now_ns)

    def opened(self, key: bytes, now_ns: int = RECEIVED_NS, most_odd: int = MOST_ODD) -> Large | None:
        """Open the run as a large one is, and turn over all its pages."""
        with self.storage.snapshot() as connection:
            found = outline(connection, self.project, key, now_ns, most_odd)
            if found is None:
                return None
            found = kept(found)
            return Large(found, list(_pages(connection, find_place(connection, self.project, key)[1], found)))


def kept(outline: Outline) -> Outline:
    """Return an outline as it comes back from the text it is kept as."""
    run = replace(outline.run, flow_id="", description="", first_ns=0)
    found = from_text(to_text(outline, 7), 7, run)
    assert found is not None
    return found


def _pages(connection: Connection, place: Place, found: Outline) -> Iterator[TaskRun]:
    after: TaskKey | None = None
    for _ in range(found.total + 1):
        tasks, after = task_page(connection, place, found, 2, after)
        yield from tasks
        if after is None:
            return


def tell(storage: Store, facts: Iterable[Fact], strangers: int = 0) -> Told:
    """Write facts into a new project. strangers: how many rows of other traces come after each."""
    told = Told(storage, next(projects))
    others = itertools.count()
    mixed = [one for fact in facts for one in (fact, *(_stranger(next(others)) for _ in range(strangers)))]
    storage.writer.write(RowMaker(RECEIVED_NS, told.project).add_all(mixed))
    return told


def _stranger(number: int) -> Fact:
    trace_id = b"other" + number.to_bytes(11, "big")
    return span("query", trace_id=trace_id) if number % 2 else moment(c.BEGUN, "query", trace_id=trace_id)


def tell_events(storage: Store, events: Iterable[dict[str, Any]]) -> Told:
    """Write flow events into a new project."""
    return tell(storage, (fact for payload in events for fact in facts_of(payload, RECEIVED_NS)))


def is_opened_as_folded(told: Told, key: bytes, now_ns: int = RECEIVED_NS, most_odd: int = MOST_ODD) -> bool:
    """Compare a run as it is opened with what the fold says of it; return whether it could be opened."""
    large = told.opened(key, now_ns, most_odd)
    if large is None:
        return False
    picture = told.folded(key, now_ns)
    assert picture.run == large.outline.run
    assert picture.tasks == large.tasks
    assert len(picture.tasks) == large.outline.total
    assert (extent_of(picture.run, picture.tasks), culprit_of(picture.tasks)) == (large.outline.extent, large.outline.culprit)
    assert picture.tasks == large.outline.shown
    return True

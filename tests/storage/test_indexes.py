"""Each index of the catalogues and caches is paid for by a question that is answered with it. SQLite says which it takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import StaticPool

from collector.model import DEFAULT_PROJECT
from collector.picture import KIND_RUN, RUNNING, Run, RunPicture
from collector.questions import RunQuery, RunRef
from storage_plugins.migrations import bring_up_to_date
from storage_plugins.sql import facts, lists, marks, news
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.tables import FACTS, Base, table_of

# Asked by a filter of the runs list that comes with the viewer's issue (R104); the fold feels no difference (31 us a run with and without).
ASKED_LATER = {"runs_of_status"}


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection to an empty store."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    bring_up_to_date(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _indexes_for(connection: Connection, question: Callable[..., Any], *asked: Any) -> set[str]:
    """Ask, and return the indexes that the answer's statements take."""
    plans: list[str] = []

    def explain(_: object, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
        plans.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    event.listen(connection, "before_cursor_execute", explain)
    question(connection, *asked)
    event.remove(connection, "before_cursor_execute", explain)
    return {found for plan in plans for found in re.findall(r"INDEX (\w+)", plan) if not found.startswith("sqlite_")}


# R063
def test_a_flows_runs_are_found_by_their_flow_and_their_traces_by_their_keys(connection: Connection) -> None:
    for kind in (KIND_RUN, None):
        assert {"runs_of_flow"} == _indexes_for(connection, lists.list_runs, DEFAULT_PROJECT, RunQuery(kind, "etl"))


# R063
def test_every_index_is_used_by_a_question(connection: Connection) -> None:
    facts_alone = {index.name for fact in FACTS for index in table_of(fact).indexes}
    picture = RunPicture(Run(b"r", "flowspan", "r1", 0, KIND_RUN, RUNNING, "etl"), [], {})
    Catalogue().write(connection, [(DEFAULT_PROJECT, picture)], (), 1)
    declared = {str(index.name) for table in Base.metadata.sorted_tables for index in table.indexes} - facts_alone

    used = set().union(
        _indexes_for(connection, lists.list_runs, DEFAULT_PROJECT, RunQuery()),
        _indexes_for(connection, lists.list_runs, DEFAULT_PROJECT, RunQuery(KIND_RUN)),
        _indexes_for(connection, lists.list_runs, DEFAULT_PROJECT, RunQuery(flow_key="etl")),
        _indexes_for(connection, lists.list_changes, DEFAULT_PROJECT, "1"),
        _indexes_for(connection, lists.find_run, DEFAULT_PROJECT, RunRef("r1")),
        _indexes_for(connection, lists.list_flows, DEFAULT_PROJECT, 10, None),
        _indexes_for(connection, facts.load_facts, DEFAULT_PROJECT, b"r"),
        _indexes_for(connection, facts.heard_of, DEFAULT_PROJECT, b"r"),
        _indexes_for(connection, marks.pending_marks, 5),
        _indexes_for(connection, news.prune, 5),
    )

    assert declared - ASKED_LATER == used

"""The catalogue of flows and tasks: learnt from runs, written once, described by the newest run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.pool import StaticPool

from collector.picture import KIND_RUN, RUNNING, Run, RunPicture, TaskRun
from storage_plugins.migrations import bring_up_to_date
from storage_plugins.sql.catalogue import Catalogue, computed_id


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An empty store."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    bring_up_to_date(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection to it."""
    with engine.connect() as connection:
        yield connection


def picture(started_ns: int, description: str = "", flow_id: str = "") -> RunPicture:
    """A run of `etl` with one task."""
    run = Run(b"k" * 16, "flowspan", "r1", 0, KIND_RUN, RUNNING, "etl", "ETL", flow_id, description, started_ns)
    return RunPicture(run, [TaskRun("load:1", "load", "load", RUNNING)], {})


def flows(connection: Connection) -> list[tuple[object, ...]]:
    """What is in the catalogue of flows."""
    return [tuple(row) for row in connection.execute(text("SELECT flow_key, id, description FROM flows"))]


# R016
def test_a_flow_and_its_tasks_are_upserted_from_a_run(connection: Connection) -> None:
    Catalogue().write(connection, [(1, picture(1))], (), 5)
    Catalogue().write(connection, [(1, picture(1))], (), 6)

    assert [("etl", computed_id(1, "etl"), "")] == flows(connection)
    assert [("load",)] == [tuple(row) for row in connection.execute(text("SELECT task_key FROM tasks"))]


# R018
def test_what_was_written_lately_is_not_written_again(engine: Engine, connection: Connection) -> None:
    catalogue, statements = Catalogue(), []
    catalogue.write(connection, [(1, picture(1))], (), 5)
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    catalogue.write(connection, [(1, picture(2))], (), 6)

    assert [] == statements


# R018
def test_what_was_forgotten_is_written_again(connection: Connection) -> None:
    catalogue = Catalogue()
    catalogue.write(connection, [(1, picture(1))], (), 5)
    connection.execute(text("DELETE FROM flows"))
    catalogue.forget()

    catalogue.write(connection, [(1, picture(1))], (), 6)

    assert ["etl"] == [row[0] for row in flows(connection)]


# R016
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_newest_run_describes_its_flow_in_whatever_order_runs_are_folded(connection: Connection, order: tuple[int, int]) -> None:
    runs = [picture(1, "old words"), picture(2, "new words")]
    for place in order:
        Catalogue().write(connection, [(1, runs[place])], (), 5)

    assert "new words" == flows(connection)[0][2]


# R017
def test_a_client_may_give_its_flow_an_id(connection: Connection) -> None:
    Catalogue().write(connection, [(1, picture(1, flow_id="11111111-2222-3333-4444-555555555555"))], (), 5)

    assert "11111111-2222-3333-4444-555555555555" == flows(connection)[0][1]

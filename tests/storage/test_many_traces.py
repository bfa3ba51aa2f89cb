"""A run of many traces, a trace of many runs: what a statement takes, and what one run's trouble costs the others."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from collector.picture import RUNNING
from collector.questions import LogQuery, RunQuery
from collector.steady import SOURCE, batch_of, log_line, plain_span, run_begun, run_work, task_begun
from collector.testing.questions import fold_all, listed_runs, wait_for
from otel_bridge.facts import Fact
from otel_bridge.identity import run_key
from storage_plugins.sqlite.storage import SqliteStorage

# Far fewer than SQLite's own 32,766, so that a test can have more traces than that.
PARAMETERS = 1_100
TRACES = 1_500


@pytest.fixture
def storage() -> Iterator[SqliteStorage]:
    """A store in memory whose statements take few parameters."""
    storage = SqliteStorage("memory:", 0)
    storage.open()
    for engine in (storage._engine, storage._cache):
        assert engine is not None
        event.listen(engine, "checkout", _limit)
    yield storage
    storage.close()


def _limit(connection: Any, *_: object) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, PARAMETERS)


def _in_many_traces(run_id: str) -> list[Fact]:
    spans = [plain_span(1000 + number, 1, "request", number) for number in range(TRACES)]
    for span in spans:
        span.work = run_work(run_id)
        span.work.role = ""
    return [*spans]


def test_a_run_of_more_traces_than_a_statement_takes_is_shown_whole(storage: SqliteStorage) -> None:
    storage.writer.write(batch_of(run_begun("wide"), *_in_many_traces("wide"), log_line("wide", "hello", 1)))

    view = wait_for(storage.reader.view_run(run_key(SOURCE, "wide")))
    lines = wait_for(storage.reader.read_logs(run_key(SOURCE, "wide"), LogQuery()))

    assert view is not None
    assert TRACES + 1 == len(view.run.trace_ids)
    assert ["hello"] == [line.message for line in lines.items]


def test_a_wide_run_is_folded_once_and_keeps_nobody_waiting(storage: SqliteStorage) -> None:
    storage.writer.write(batch_of(run_begun("wide"), *_in_many_traces("wide")))
    storage.writer.write(batch_of(run_begun("small", 5)))

    storage.writer.fold(0)

    assert {"wide": RUNNING, "small": RUNNING} == {one.run.run_id: one.run.status for one in listed_runs(storage, RunQuery())}


def test_a_flow_named_before_its_key_was_known_leaves_the_catalogue(storage: SqliteStorage) -> None:
    """A task's event may name the flow before the run's own event gives its key."""
    early, begun = task_begun("r1", "load:1", 1), run_begun("r1")
    early.work.flow_key = early.work.flow_name = "etl"
    begun.work.flow_key = "team/etl"
    storage.writer.write(batch_of(early))
    fold_all(storage)
    storage.writer.write(batch_of(begun))
    fold_all(storage)

    assert ["team/etl"] == [flow.flow_key for flow in wait_for(storage.reader.list_flows(10, None)).items]

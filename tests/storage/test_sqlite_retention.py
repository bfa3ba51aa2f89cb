"""Retention in one SQLite file: in small steps, beside others, whatever is in it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from collector.answers import Expired
from collector.errors import Unavailable
from collector.picture import RUNNING, SUCCEEDED
from collector.rows import DAY_NS
from collector.steady import at, batch_of, log_line, plain_span, run_begun, run_ended, task_ended
from collector.testing.questions import fold_all, listed_runs, view_of
from collector.testing.retention import DAY_S, LATER, expire_all
from collector.testing.stories import RUN_SPAN, TRACE, begun_in_trace, span_id_of, story, trace_id_of
from otel_bridge.facts import RANK_OTLP, LogLine, ProcessBeat, Work
from storage_plugins.sql import frozen
from storage_plugins.sql import retention as shared
from storage_plugins.sql.tables import Span
from storage_plugins.sqlite import retention
from storage_plugins.sqlite.storage import SqliteStorage
from tests.in_process import PATIENCE_S
from tests.storage.old_facts import EMPTIED, KEPT_DAYS, NO_DAY, many

CUT = shared.Cut(LATER // DAY_NS - KEPT_DAYS)
FOLD_EVERY_MS = 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "flowspan.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SqliteStorage]:
    """An empty store that keeps facts for two days."""
    storage = keeping(path)
    yield storage
    storage.close()


def keeping(path: Path) -> SqliteStorage:
    """Open the store, and let it keep facts for two days."""
    storage = SqliteStorage(f"sqlite:///{path}", FOLD_EVERY_MS, KEPT_DAYS)
    storage.open()
    return storage


def counts(path: Path) -> dict[str, int]:
    """Count the rows of every table that retention empties."""
    with closing(sqlite3.connect(path)) as connection:
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in EMPTIED}


# R156
def test_nothing_is_left_of_what_is_too_old(storage: SqliteStorage, path: Path) -> None:
    storage.writer.write(batch_of(*story(), ProcessBeat("p1", at(0), 1000)))
    storage.writer.write(many(3))
    fold_all(storage)

    expired = expire_all(storage)

    assert Expired(facts=7 + 6, runs=1 + 3) == expired
    assert {0} == set(counts(path).values())


# R156
def test_old_facts_go_in_small_steps(storage: SqliteStorage) -> None:
    storage.writer.write(many(700))

    steps = []
    while (expired := storage.writer.expire(LATER)) is not None:
        steps.append(expired)

    assert (1400, 700) == (sum(step.facts for step in steps), sum(step.runs for step in steps))
    assert retention.MOST_FACTS >= max(step.facts for step in steps)
    assert retention.MOST_RUNS >= max(step.runs for step in steps)


# R156
def test_a_run_of_more_facts_than_a_step_takes_goes_wholly(storage: SqliteStorage, path: Path) -> None:
    storage.writer.write(batch_of(run_begun("r1"), *(task_ended("r1", f"t:{number}", number) for number in range(retention.READ_FACTS * 2))))
    storage.writer.write(batch_of(run_ended("r1", 3000)))
    fold_all(storage)

    expire_all(storage)

    assert {0} == set(counts(path).values())


# R156
def test_a_sweep_that_was_interrupted_goes_on_after_a_restart(storage: SqliteStorage, path: Path) -> None:
    storage.writer.write(many(300))
    fold_all(storage)
    for _ in range(2):
        storage.writer.expire(LATER)
    storage.close()

    again = keeping(path)
    expire_all(again)
    again.close()

    assert {0} == set(counts(path).values())


# R156
def test_what_another_program_holds_is_deleted_later(storage: SqliteStorage, path: Path) -> None:
    storage.writer.write(many(3))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            expire_all(storage)
        other.execute("ROLLBACK")

    expire_all(storage)

    assert 0 == counts(path)["spans"]


# R156
def test_one_step_is_done_at_a_time(storage: SqliteStorage) -> None:
    storage.writer.write(many(3))
    reads, go_on = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        reads.set()
        go_on.wait(PATIENCE_S)

    assert storage._engine is not None
    event.listen(storage._engine, "checkout", wait)
    first = threading.Thread(target=storage.writer.expire, args=(LATER,))
    first.start()
    reads.wait(PATIENCE_S)

    second = storage.writer.expire(LATER)

    go_on.set()
    first.join()
    assert second is None
    assert storage.writer.expire(LATER) is not None


# R156
def test_log_records_of_no_trace_go_too(storage: SqliteStorage, path: Path) -> None:
    lines = [LogLine(b"", b"", at(day * DAY_S), f"{day}", Work()) for day in range(3)]
    for day, line in enumerate(lines):
        storage.writer.write(batch_of(line, received_s=day * DAY_S))

    assert 1 == expire_all(storage).facts
    assert 2 == counts(path)["logs"]


# R156
def test_processes_nobody_heard_of_since_go(storage: SqliteStorage, path: Path) -> None:
    storage.writer.write(batch_of(ProcessBeat("old", at(0), 1000)))
    storage.writer.write(batch_of(ProcessBeat("new", at(DAY_S), 1000), received_s=DAY_S))

    expire_all(storage)

    assert 1 == counts(path)["processes"]


# R156
def test_an_open_run_that_is_too_large_loses_its_old_facts(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace that never ends must not fill the disk."""
    monkeypatch.setattr(shared, "MOST_KEPT_FACTS", 3)
    storage.writer.write(batch_of(run_begun("r1"), *(task_ended("r1", f"t:{number}", 1) for number in range(2))))
    storage.writer.write(batch_of(task_ended("r1", "late:1", 2 * DAY_S), received_s=2 * DAY_S))
    fold_all(storage)

    expire_all(storage)

    (listed,) = listed_runs(storage)
    assert (RUNNING, True, 3) == (listed.run.status, listed.run.partly_deleted, sum(listed.run.counts.values()))
    assert ["late:1"] == [task.node for task in view_of(storage, "r1").tasks]


# R156
def test_an_open_run_keeps_what_names_no_run_in_its_trace(storage: SqliteStorage, path: Path) -> None:
    begun, child = run_begun("r1"), plain_span(TRACE, 2, "load", 1, parent=1)
    begun.trace_id, late = trace_id_of(TRACE), log_line("r1", "still here", 2 * DAY_S)
    storage.writer.write(batch_of(begun, child))
    storage.writer.write(batch_of(late, received_s=2 * DAY_S))
    fold_all(storage)

    expire_all(storage)

    assert (1, 1) == (counts(path)["spans"], counts(path)["span_moments"])
    assert [False] == [one.run.partly_deleted for one in listed_runs(storage)]


# R156
def test_a_young_run_in_an_old_trace_is_left_alone(storage: SqliteStorage) -> None:
    """A service may use one trace for everything: what is old in it was never the young run's."""
    old, young = task_ended("old", "a:1", 1), task_ended("young", "a:1", DAY_S)
    old.trace_id = young.trace_id = trace_id_of(TRACE)
    ends = [run_ended("old", 2, "success"), run_ended("young", DAY_S, "success")]
    storage.writer.write(batch_of(old, plain_span(TRACE, 1, "GET /", 0), ends[0]))
    storage.writer.write(batch_of(young, ends[1], received_s=DAY_S))
    fold_all(storage)

    expire_all(storage)

    assert [("young", False)] == [(one.run.run_id, one.run.partly_deleted) for one in listed_runs(storage)]


# R156
def test_news_that_name_no_run_are_in_the_last_picture_of_the_run_that_claims_their_trace(storage: SqliteStorage) -> None:
    ended = run_ended("r1", 2, "success")
    ended.trace_id, ended.span_id = trace_id_of(TRACE), span_id_of(RUN_SPAN)
    storage.writer.write(batch_of(begun_in_trace("r1", 0), ended))
    storage.writer.write(batch_of(log_line("r1", "late", DAY_S), received_s=DAY_S))
    fold_all(storage)
    storage.writer.write(batch_of(plain_span(TRACE, 2, "load", 1, parent=RUN_SPAN)))

    expire_all(storage)

    (listed,) = listed_runs(storage)
    assert ({SUCCEEDED: 1}, True) == (listed.run.counts, listed.run.partly_deleted)


# R156
def test_a_fact_of_no_day_that_came_again_is_young(storage: SqliteStorage, path: Path) -> None:
    """A greater copy took its place after it was found to be old."""
    storage.writer.write(batch_of(NO_DAY))
    with storage.snapshot() as connection:
        chunk = shared.next_chunk(connection, CUT, None)
        assert chunk is not None
        old = shared.read_old(connection, CUT, chunk, 10)
    storage.writer.write(batch_of(run_ended("r1", 2000 * DAY_S, rank=RANK_OTLP), received_s=3 * DAY_S))

    assert storage._sweeps is not None
    with storage._sweeps.begin() as connection:
        storage.writer._retention._ground.delete_facts(connection, CUT, Span, old.keys[Span])

    assert 1 == len(old) == counts(path)["spans"]


# R156
def test_a_run_that_gets_a_fact_on_its_way_out_stays(storage: SqliteStorage) -> None:
    """Nothing was left of it when it was looked at; the fact came before it was deleted."""
    storage.writer.write(batch_of(NO_DAY))
    assert 1 == (storage.writer.expire(LATER) or Expired()).facts
    with storage.snapshot() as connection:
        chunk = shared.next_chunk(connection, CUT, None)
        assert chunk is not None
        gone = frozen.read_gone(connection, CUT, chunk)
    storage.writer.write(batch_of(task_ended("r1", "late:1", 1000 * DAY_S), received_s=3 * DAY_S))

    assert storage._sweeps is not None
    with storage._sweeps.begin() as connection:
        forgotten = frozen.forget(connection, gone)

    assert (1, 0) == (len(gone.claims), forgotten)
    assert ["late:1"] == [task.node for task in view_of(storage, "r1").tasks]


# R156
def test_looking_for_old_facts_reads_one_index_alone(storage: SqliteStorage) -> None:
    statements: list[str] = []
    assert storage._engine is not None
    event.listen(storage._engine, "before_cursor_execute", lambda *asked: statements.append(asked[2]))
    storage.writer.write(many(200))
    storage.writer.expire(LATER)

    (look, *_) = [statement for statement in statements if "FROM run_traces" in statement and "ORDER BY" in statement]
    with storage.snapshot() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {look}", (1000,) * look.count("?")).all()

    assert ["USING COVERING INDEX" in row[-1] for row in plan] == [True]

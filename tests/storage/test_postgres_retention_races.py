"""What comes while a sweep is at it, on this replica or another: facts, folds, another sweep. Nothing is lost, and nobody waits in a circle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from collector.model import DEFAULT_PROJECT
from collector.picture import SUCCEEDED
from collector.rows import DAY_NS
from collector.steady import SOURCE, at, batch_of, run_begun, run_ended, task_ended
from collector.testing.questions import fold_all, listed_runs, view_of
from collector.testing.retention import DAY_S, LATER, expire_all
from otel_bridge.facts import ProcessBeat
from otel_bridge.identity import run_key
from storage_plugins.postgres import ground
from storage_plugins.postgres.ground import PostgresGround
from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sql import frozen
from storage_plugins.sql import retention as shared
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.folding import fold_marks, write_round
from storage_plugins.sql.marks import Mark
from storage_plugins.sql.sweep import NotNow
from tests.in_process import eventually
from tests.storage.kept_postgres import counts, keeping, on_the_ground
from tests.storage.old_facts import KEPT_DAYS, NO_DAY, many
from tests.storage.opened_postgres import deadlocks, tell, waiting

CUT = shared.Cut(LATER // DAY_NS - KEPT_DAYS)
LATE = batch_of(task_ended("r1", "late:1", 1000 * DAY_S), received_s=3 * DAY_S)


@pytest.fixture
def storage(postgres_url: str) -> Iterator[PostgresStorage]:
    """An empty store that keeps facts for two days."""
    with keeping(postgres_url) as storage:
        yield storage


# R156
def test_two_replicas_that_sweep_at_once_beside_folds_end_without_a_deadlock(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(many(200))
    with keeping(postgres_url) as other:
        threads = [threading.Thread(target=expire_all, args=(one,)) for one in (storage, other)]
        threads += [threading.Thread(target=fold_all, args=(one,)) for one in (storage, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expire_all(other)
        expire_all(storage)

    assert {0} == set(counts(postgres_url).values())
    assert 0 == deadlocks(postgres_url)


@contextmanager
def nothing_left_of_r1(storage: PostgresStorage, url: str) -> Iterator[tuple[PostgresGround, frozen.Gone]]:
    """Stand where the last fact of a run was deleted, and run_traces is to forget it."""
    storage.writer.write(batch_of(NO_DAY))
    tell(url, "DELETE FROM spans")
    with on_the_ground(storage, url) as one:
        with one.reading() as connection:
            chunk = shared.next_chunk(connection, CUT, None)
            assert chunk is not None
            gone = frozen.read_gone(connection, CUT, chunk)
        assert 1 == len(gone.claims)
        yield one, gone


# R156
def test_a_fact_that_is_being_written_keeps_its_run(storage: PostgresStorage, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction has found the row of run_traces, and is not committed yet."""
    monkeypatch.setattr(ground, "TRIES", 2)
    storage.writer.write(batch_of(ProcessBeat("p1", at(0), 1000)))
    late = batch_of(task_ended("r1", "late:1", 1000 * DAY_S), ProcessBeat("p1", at(1), 1000), received_s=3 * DAY_S)
    with nothing_left_of_r1(storage, postgres_url) as (one, gone), psycopg.connect(postgres_url) as holder:
        holder.execute("SELECT * FROM processes FOR UPDATE")
        writer = threading.Thread(target=storage.writer.write, args=(late,))
        writer.start()
        eventually(lambda: waiting(postgres_url) == 1)
        with pytest.raises(NotNow), one.forgetting() as connection:
            frozen.forget(connection, gone)
        holder.rollback()
        writer.join()
        with one.forgetting() as connection:
            frozen.forget(connection, gone)

    assert ["late:1"] == [task.node for task in view_of(storage, "r1").tasks]


# R156
def test_a_fact_that_comes_while_its_run_is_forgotten_makes_it_again(storage: PostgresStorage, postgres_url: str) -> None:
    """It waits, for as long as a commit takes, and does not find what is gone."""
    with nothing_left_of_r1(storage, postgres_url) as (one, gone):
        writer = threading.Thread(target=storage.writer.write, args=(LATE,))
        with one.forgetting() as connection:
            frozen.forget(connection, gone)
            writer.start()
            eventually(lambda: waiting(postgres_url) == 1)
        writer.join()

    assert ["late:1"] == [task.node for task in view_of(storage, "r1").tasks]
    fold_all(storage)
    assert 1 == len(listed_runs(storage))


# R156
def test_a_young_fact_that_comes_while_its_run_is_forgotten_is_folded(storage: PostgresStorage, postgres_url: str) -> None:
    """It waits for nobody: what was said of it is seen, and stays."""
    young = batch_of(task_ended("r1", "young:1", 400 * DAY_S), received_s=400 * DAY_S)
    with nothing_left_of_r1(storage, postgres_url) as (one, gone), one.forgetting() as connection:
        connection.exec_driver_sql("SELECT 1")
        storage.writer.write(young)
        frozen._forget_runs(connection, gone.project, {claim.run_key for claim in gone.claims}, {claim.trace_id for claim in gone.claims})
    fold_all(storage, at(401 * DAY_S))

    assert [{SUCCEEDED: 1}] == [one.run.counts for one in listed_runs(storage)]


# R156
def test_a_fold_that_began_before_a_run_was_frozen_leaves_it_as_it_is(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(batch_of(run_begun("r1"), run_ended("r1", 1)))
    fold_all(storage)
    key = run_key(SOURCE, "r1")
    with on_the_ground(storage, postgres_url) as one, on_the_ground(storage, postgres_url) as other, one.writing() as connection:
        begun = fold_marks(connection, [Mark(DEFAULT_PROJECT, key, b"", 0, frozenset({key}))], LATER)
        assert other.freeze_now(DEFAULT_PROJECT, {key})
        write_round(connection, begun, Catalogue(), LATER)

    assert [True] == [listed.run.partly_deleted for listed in listed_runs(storage)]


# R156
def test_a_run_that_is_being_folded_is_frozen_afterwards(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(batch_of(run_begun("r1"), task_ended("r1", "a:1", 1), run_ended("r1", 2)))
    key = run_key(SOURCE, "r1")
    with on_the_ground(storage, postgres_url) as one, on_the_ground(storage, postgres_url) as other:
        freezer = threading.Thread(target=other.freeze_now, args=(DEFAULT_PROJECT, {key}))
        with one.writing() as connection:
            plan = storage.writer._rounds.read(connection, LATER)
            freezer.start()
            eventually(lambda: waiting(postgres_url) == 1)
            storage.writer._rounds.write(connection, plan, Catalogue(), LATER)
        freezer.join()

    assert [({SUCCEEDED: 1}, True)] == [(listed.run.counts, listed.run.partly_deleted) for listed in listed_runs(storage)]

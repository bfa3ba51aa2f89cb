"""Folding for the lists: whose turn it is, and what one run that is slow, or cannot be folded, costs the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import text

from collector.batch import Batch
from collector.errors import Unavailable
from collector.picture import RUNNING, SUCCEEDED
from collector.steady import batch_of, plain_span, run_begun, run_ended, task_begun
from collector.storage import Storage
from collector.testing.questions import fold_all, listed_runs
from otel_bridge import conventions as c
from storage_plugins.postgres import connections
from storage_plugins.sql import rounds
from storage_plugins.sqlite.storage import SqliteStorage
from tests.builders import R1, TRACE, span, work
from tests.large_runs import Store, tell
from tests.storage.opened_postgres import FOLD_EVERY_MS, opened
from tests.storage.opened_postgres import tell as tell_server

LARGE_FACTS = 3
# To fold so many whole takes 0.7 s, in which nothing is said to the server.
MANY_SPANS, IDLE = 20_000, "200ms"
# How soon the server ends a fold that waits for somebody else's lock.
CUT_OFF = "200ms"


@pytest.fixture(autouse=True)
def _large_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "LARGE_FACTS", LARGE_FACTS)


@pytest.fixture
def store() -> Iterator[SqliteStorage]:
    """An empty store in memory."""
    storage = SqliteStorage("memory:", FOLD_EVERY_MS)
    storage.open()
    yield storage
    storage.close()


def large(run_id: str) -> Batch:
    return batch_of(*(task_begun(run_id, f"load:{number}", number) for number in range(LARGE_FACTS + 2)))


def states(storage: Storage) -> dict[str, str]:
    return {one.run.run_id: one.run.status for one in listed_runs(storage)}


# --- turns -----------------------------------------------------------------------------------------------------------------------------


def test_small_runs_are_folded_before_large_ones(store: SqliteStorage) -> None:
    store.writer.write(large("large"))
    store.writer.write(batch_of(run_begun("small")))

    shown = []
    for _ in range(2):
        store.writer.fold(0)
        shown.append(sorted(states(store)))

    assert [["small"], ["large", "small"]] == shown


def test_large_runs_are_folded_in_the_order_in_which_they_began_to_wait(store: SqliteStorage) -> None:
    order = ["r3", "r0", "r6", "r1", "r5", "r2", "r4"]
    for run_id in [*order, *reversed(order)]:
        store.writer.write(large(run_id))
    fold_all(store)

    with store.snapshot() as connection:
        assert order == list(connection.scalars(text("SELECT run_id FROM runs ORDER BY seq, run_id")))


def test_large_runs_that_share_a_trace_are_folded_and_done(store: SqliteStorage) -> None:
    told = [task_begun(run_id, f"load:{number}", number) for run_id in ("r1", "r2") for number in range(LARGE_FACTS)]
    store.writer.write(batch_of(*(replace(fact, trace_id=TRACE) for fact in told), span("plain")))
    fold_all(store)

    with store.snapshot() as connection:
        assert 0 == connection.scalar(text("SELECT count(*) FROM run_dirty"))


# R024
def test_a_fact_without_a_name_is_news_to_all_who_claim_its_trace_though_one_of_them_bears_its_id(either_storage: Store) -> None:
    inner = span("inner", trace_id=R1, work=work(c.ROLE_RUN, run_id="r2"))
    told = tell(either_storage, [span("plain", trace_id=R1)])
    told.write([span("etl", trace_id=R1, work=work(c.ROLE_RUN)), inner])
    fold_all(either_storage)
    told.write([span("query", "inner", trace_id=R1)])
    fold_all(either_storage)

    with either_storage.snapshot() as connection:
        counts = connection.scalar(text("SELECT counts FROM runs WHERE project = :project AND run_id = 'r2'"), {"project": told.project})

    assert '{"SUCCEEDED":1}' == counts


# --- what is slow ----------------------------------------------------------------------------------------------------------------------


def test_a_large_run_whose_fold_is_cut_off_does_not_stop_the_others(postgres_url: str) -> None:
    with opened(postgres_url) as storage:
        storage.writer.write(large("stuck"))
        fold_all(storage)
    tell_server(postgres_url, f"ALTER DATABASE {postgres_url.rpartition('/')[2]} SET lock_timeout = '{CUT_OFF}'".encode())
    with opened(postgres_url) as storage, psycopg.connect(postgres_url) as foreign:
        for run_id in ("stuck", "large", "small"):
            storage.writer.write(large(run_id) if run_id == "large" else batch_of(run_begun(run_id)))
            storage.writer.write(batch_of(run_ended(run_id, 9)))
        foreign.execute("SELECT * FROM runs WHERE run_id = 'stuck' FOR UPDATE")

        waits = [storage.writer.fold(0)]
        with pytest.raises(Unavailable):
            storage.writer.fold(0)
        waits += [storage.writer.fold(0) for _ in range(2)]

        assert [0.0] * 3 == waits
        assert {"stuck": RUNNING, "large": SUCCEEDED, "small": SUCCEEDED} == states(storage)


def test_a_fold_may_think_for_longer_than_a_session_may_be_idle(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = [span(run_id, work=work(c.ROLE_RUN, run_id=run_id), end=9) for run_id in ("r1", "r2")]
    tasks = [replace(span("", "r1", work=work(c.ROLE_TASK, f"load:{n}")), span_id=(n + 1).to_bytes(8, "little")) for n in range(MANY_SPANS)]
    with opened(postgres_url) as storage:
        storage.writer.write(batch_of(*roots, *tasks))
    monkeypatch.setattr(connections, "OPTIONS", connections.OPTIONS.replace("timeout=60s", f"timeout={IDLE}"))

    with opened(postgres_url) as storage:
        fold_all(storage)

        assert {"r1": SUCCEEDED, "r2": SUCCEEDED} == states(storage)


# --- what cannot be folded -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE spans SET start_ns = 'soon' WHERE name = 'bad'",
        "UPDATE span_moments SET process = x'00' WHERE name = 'bad'",
        "UPDATE span_moments SET attributes = '{' WHERE name = 'bad'",
    ],
    ids=["folded from sums", "read together", "folded by itself"],
)
def test_a_run_that_cannot_be_folded_by_a_fault_of_ours_costs_the_others_nothing(store: SqliteStorage, damage: str) -> None:
    facts = [fact for name in ("bad", "good") for fact in (replace(task_begun(name, "load", 1), name=name, process=name), run_begun(name))]
    plain = [plain_span(number, 1, name, 1) for number, name in ((1, "bad"), (2, "good"))]
    store.writer.write(batch_of(*facts, *plain))
    with store._cache.begin() as connection:  # type: ignore[union-attr]  # it is open
        connection.execute(text(damage))

    store.writer.fold(0)

    with store.snapshot() as connection:
        assert {"good", f"{2:032x}"} <= set(connection.scalars(text("SELECT run_id FROM runs")))


def test_a_large_run_that_cannot_be_folded_by_a_fault_of_ours_is_left_for_a_while(store: SqliteStorage) -> None:
    store.writer.write(large("bad"))
    store.writer.write(large("good"))
    with store._cache.begin() as connection:  # type: ignore[union-attr]  # it is open
        connection.execute(text("UPDATE span_moments SET time_ns = 'soon' WHERE seq = (SELECT min(seq) FROM span_moments)"))

    waits = [store.writer.fold(0) for _ in range(5)]

    assert ["good"] == list(states(store))
    assert [0.0] * 4 == waits[:4]
    assert waits[4] is not None and waits[4] > 0

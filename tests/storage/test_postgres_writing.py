"""The write path of Postgres: what it refuses, duplicates by way of the staging tables, writers that want the same rows at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from collector.batch import Batch
from collector.errors import Rejected
from collector.steady import at, batch_of, log_line, run_begun, run_ended, task_begun, task_ended
from collector.storage import Storage
from collector.testing.questions import everything_of, messages_of, view_of
from otel_bridge.facts import Fact
from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.postgres.writer import STAGED_BATCHES
from tests.in_process import PATIENCE_S, eventually
from tests.postgres import Postgres
from tests.storage.opened_postgres import deadlocks, opened, waiting


@pytest.fixture
def storage(postgres_url: str) -> Iterator[PostgresStorage]:
    """An empty store."""
    with opened(postgres_url) as storage:
        yield storage


# --- what is refused -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", [{"name": "\0"}, {"name": "\ud800"}, {"weight": 2**63}, {"weight": -(10**30)}, {"name": None}])
def test_content_that_postgres_does_not_take_is_refused_and_costs_nobody_else_anything(
    storage: PostgresStorage, column: dict[str, object]
) -> None:
    bad = batch_of(task_begun("r1", "load:1", 1), task_ended("r1", "load:1", 2), log_line("r1", "hello", 3))
    bad.spans[0] = bad.spans[0]._replace(**column)  # type: ignore[arg-type]  # that is the point

    for _ in range(storage.writer.at_once + 1):
        with pytest.raises(Rejected):
            storage.writer.write(bad)
        storage.writer.write(batch_of(run_begun("r1")))

    assert [] == messages_of(storage, "r1")
    assert [] == view_of(storage, "r1").tasks


# --- duplicates ------------------------------------------------------------------------------------------------------------------------


def story(run_id: str, seconds: float = 0.0) -> list[Fact]:
    """Return every kind of fact about a run."""
    return [
        run_begun(run_id, seconds),
        task_begun(run_id, "load:1", seconds + 1),
        task_ended(run_id, "load:1", seconds + 2),
        log_line(run_id, "hello", 3),
        log_line(run_id, "stamped", 3, event_id="e1"),
        run_ended(run_id, seconds + 4),
    ]


def test_a_batch_that_says_the_same_twice_is_stored_once(storage: PostgresStorage) -> None:
    twice = batch_of(*story("r1"))
    twice.extend(batch_of(*story("r1"), received_s=1))
    storage.writer.write(twice)
    found = everything_of(storage, "r1")
    storage.writer.write(batch_of(*story("r1")))

    assert ["hello", "stamped"] == sorted(messages_of(storage, "r1"))
    assert found == everything_of(storage, "r1")


def test_of_conflicting_facts_the_greatest_stays_in_one_batch_and_over_several(storage: PostgresStorage) -> None:
    stories = [story("r1", seconds) for seconds in (5, 0, 9)]
    for one in stories:
        storage.writer.write(batch_of(*one))
    one_by_one = everything_of(storage, "r1")
    with_all = Batch()
    for one in stories:
        with_all.extend(batch_of(*(fact for fact in one)))
    storage.writer.write(with_all)

    assert one_by_one == everything_of(storage, "r1")
    assert (at(0), at(4)) == (one_by_one[0].started_ns, one_by_one[0].finished_ns)


def test_after_a_duplicate_batches_are_staged_for_a_while_and_then_copied_straight_again() -> None:
    with Postgres(fsync=False, log_statement="all") as server, opened(server.create_database()) as storage:
        storage.writer.write(batch_of(run_ended("r1", 1)))
        for number in range(STAGED_BATCHES + 3):
            storage.writer.write(batch_of(run_ended(f"r{number}", 1)))
        log = server.log.read_text()

    assert STAGED_BATCHES == log.count(": INSERT INTO spans (")
    # The first, its duplicate, which failed, and those after the staged ones.
    assert 1 + 1 + 3 == log.count(": COPY spans (")


# --- at once ---------------------------------------------------------------------------------------------------------------------------


def stamped(*event_ids: str, first_s: float = 0.0) -> Batch:
    """Return lines without a time of their own, received one second after the other."""
    return batch_of(*(log_line("r1", one, first_s + number, event_id=one) for number, one in enumerate(event_ids)))


# R194
def test_two_replicas_that_get_the_same_events_in_another_order_do_not_wait_for_each_other_in_a_circle(postgres_url: str) -> None:
    there, back = stamped("e1", "e3", "e2", first_s=1), stamped("e2", "e3", "e1", first_s=4)
    assert [row.digest for row in there.logs] == sorted(row.digest for row in back.logs)
    with opened(postgres_url) as one, opened(postgres_url) as other, ThreadPoolExecutor(2) as threads:
        one.writer.write(stamped("e3"))
        other.writer.write(batch_of(run_begun("r2")))
        with psycopg.connect(postgres_url) as gate:
            gate.execute("DELETE FROM logs")
            writes = [threads.submit(storage.writer.write, batch) for storage, batch in ((one, there), (other, back))]
            eventually(lambda: waiting(postgres_url) == 2)
            gate.commit()
        for write in writes:
            write.result(PATIENCE_S)

        assert ["e1", "e2", "e3"] == sorted(messages_of(one, "r1"))
    assert 0 == deadlocks(postgres_url)


def test_writers_of_the_same_facts_at_once_store_each_once(postgres_url: str) -> None:
    with opened(postgres_url) as one, opened(postgres_url) as other:
        ready = threading.Barrier(4)

        def write(storage: Storage, reverse: bool) -> None:
            facts = [fact for number in range(20) for fact in story(f"r{number}")]
            batches = [batch_of(*facts[first : first + 30]) for first in range(0, len(facts), 30)]
            ready.wait(PATIENCE_S)
            for batch in reversed(batches) if reverse else batches:
                storage.writer.write(batch)

        run_at_once(lambda number: write((one, other)[number % 2], number > 1))
        found = [messages_of(one, f"r{number}") for number in range(20)]

    assert [["hello", "stamped"]] * 20 == [sorted(lines) for lines in found]
    assert 0 == deadlocks(postgres_url)


def run_at_once(work: Callable[[int], None]) -> None:
    """Do this in four threads."""
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))

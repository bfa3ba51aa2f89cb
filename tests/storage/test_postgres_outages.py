"""Postgres hangs, is stopped, is killed: callers are told in time, and everything works again by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from collector.errors import Unavailable
from collector.steady import batch_of, run_begun
from collector.storage import Storage
from collector.testing.questions import fold_all, listed_runs, wait_for
from storage_plugins.postgres import connections, writer
from storage_plugins.postgres import storage as storing
from storage_plugins.postgres.storage import PostgresStorage
from tests.in_process import PATIENCE_S
from tests.postgres import Postgres
from tests.storage.opened_postgres import opened

WITHIN_S = 1.0

Work = Callable[[Storage], object]


def write(storage: Storage) -> None:
    """Store something new, on every lane there is."""
    for number in range(storage.writer.at_once + 1):
        storage.writer.write(batch_of(run_begun(f"another-{number}")))


def read(storage: Storage) -> object:
    """Ask for something."""
    return wait_for(storage.reader.latest_cursor())


def fold(storage: Storage) -> object:
    """Bring the lists up to date."""
    return storage.writer.fold(0)


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A server for these tests alone. Each leaves it as it was: it runs."""
    with Postgres(fsync=False) as server:
        yield server


@contextmanager
def impatient() -> Iterator[None]:
    """Nothing waits long for the server."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((writer, "WRITE_WITHIN_S"), (writer, "FOLD_WITHIN_S"), (storing, "READ_WITHIN_S")):
            patch.setattr(module, name, WITHIN_S)
        patch.setattr(connections, "CONNECT_TIMEOUT_S", 2)
        yield


@pytest.fixture
def storage(own: Postgres) -> Iterator[PostgresStorage]:
    """A storage on it that has worked: its connections are open."""
    with opened(own.create_database()) as storage:
        storage.writer.write(batch_of(run_begun("first")))
        fold_all(storage)
        read(storage)
        yield storage


@pytest.mark.parametrize("work", [write, read, fold])
def test_a_server_that_hangs_without_closing_its_connections_is_noticed_in_time(own: Postgres, storage: Storage, work: Work) -> None:
    own.pause()
    with impatient(), pytest.raises(Unavailable):
        work(storage)
    own.resume()

    work(storage)


def test_what_was_refused_while_the_server_hung_can_be_sent_again(own: Postgres, storage: Storage) -> None:
    own.pause()
    with impatient(), pytest.raises(Unavailable):
        storage.writer.write(batch_of(run_begun("again")))
    own.resume()
    storage.writer.write(batch_of(run_begun("again")))
    fold_all(storage)

    assert ["again", "first"] == sorted(one.run.run_id for one in listed_runs(storage))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("work", [write, read, fold])
def test_a_server_that_is_away_is_said_and_found_again(own: Postgres, storage: Storage, work: Work, how: signal.Signals) -> None:
    own.kill(how)
    with pytest.raises(Unavailable):
        work(storage)
    own.start()

    work(storage)


def test_a_reader_does_not_feel_that_the_server_was_restarted_while_nothing_was_read(own: Postgres, storage: Storage) -> None:
    own.kill()
    own.start()

    assert ["first"] == [one.run.run_id for one in listed_runs(storage)]


def test_hints_come_again_after_the_server_was_away(own: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage_plugins.postgres.hints.RECONNECT_S", 0.01)
    url = own.create_database()
    heard = threading.Event()
    with opened(url) as teller, opened(url) as listener:
        teller.listen(lambda: None)
        listener.listen(heard.set)
        assert heard.wait(PATIENCE_S)
        own.kill()
        heard.clear()
        own.start()
        assert heard.wait(PATIENCE_S)  # it listens again

        # Whoever tells has not noticed yet that its connection is lost, and a hint may go with it.
        heard.clear()
        numbers = iter(range(1000))
        while not heard.wait(0.1):
            write_until_it_is_taken(teller, next(numbers))


def write_until_it_is_taken(storage: Storage, number: int) -> None:
    """Do as a sender does."""
    batch = batch_of(run_begun(f"r{number}"))
    try:
        storage.writer.write(batch)
    except Unavailable:
        storage.writer.write(batch)

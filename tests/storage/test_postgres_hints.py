"""Hints end when they are told to, whatever the server does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from storage_plugins.postgres.connections import Server
from storage_plugins.postgres.hints import Hints
from tests.in_process import PATIENCE_S, eventually
from tests.postgres import Postgres

# A call that is not cut off is given up after 15 s.
LESS_THAN_IT_HANGS_S = 10.0


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A server that no other test uses."""
    with Postgres(fsync=False) as server:
        yield server


@pytest.fixture
def hints(own: Postgres) -> Hints:
    """Hints of a database on it, not yet begun."""
    return Hints(Server(own.create_database()))


def test_hints_end_while_the_server_hangs(own: Postgres, hints: Hints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage_plugins.postgres.hints.END_WITHIN_S", LESS_THAN_IT_HANGS_S)
    heard = threading.Event()
    hints.start(heard.set)
    assert heard.wait(PATIENCE_S)
    eventually(lambda: hints._own_pid != 0)  # the one that tells is connected too
    own.pause()
    hints.committed()
    eventually(lambda: len(hints._deadlines._watched) == 2)  # one listens, the other tells

    hints.stop()
    are_alive = [thread.is_alive() for thread in hints._threads]
    own.resume()

    assert [False, False] == are_alive


def test_hints_that_were_connecting_to_a_server_that_hangs_give_none_afterwards(own: Postgres, hints: Hints) -> None:
    heard = threading.Event()
    own.pause()
    hints.start(heard.set)

    hints.stop()
    own.resume()
    for thread in hints._threads:
        thread.join(PATIENCE_S)

    assert [False, False] == [thread.is_alive() for thread in hints._threads]
    assert not heard.is_set()

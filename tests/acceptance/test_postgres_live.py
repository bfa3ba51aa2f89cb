"""Postgres is stopped under load, and hangs: senders are told to come back, and everything goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.bench.folds import compare_folds, wait_until_folded
from tests.bench.process import rss_bytes
from tests.bench.requests import RequestMaker
from tests.bench.senders import Sender
from tests.bench.stored import read_facts, settle
from tests.in_process import PATIENCE_S, eventually
from tests.live_sockets import open_socket
from tests.postgres import Postgres
from tests.servers import Server

SENDERS = 4
TRY_AGAIN_LATER = 1013
# Refusals to wait for while the store is away: some seconds of them.
REFUSED_WANTED = 60
MIB = 1024 * 1024
# Far more than the bodies sent; an idle server holds about 100.
MOST_RSS_MIB = 300


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server that no other test uses."""
    with Postgres(fsync=False) as server:
        yield server


@contextmanager
def loaded(server: Server) -> Iterator[list[Sender]]:
    """Send all the time; everything has been answered at the end."""
    senders = [Sender(server.port, RequestMaker(f"outage-{number}")) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        yield senders
    finally:
        for sender in senders:
            sender.stop()
        for sender in senders:
            sender.join()


def watch(server: Server) -> int:
    """Ask to watch a run, and return the code the socket is closed with."""
    with open_socket(server.port, "/ws/runs/r1") as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=PATIENCE_S)
    return closed.value.rcvd.code if closed.value.rcvd else 0


def wait_for(senders: list[Sender], more: int, kind: str) -> None:
    """Wait until each sender had so many more answers of a kind: "acknowledged" or "unanswered"."""
    wanted = [len(getattr(sender, kind)) + more for sender in senders]
    eventually(lambda: all(len(getattr(sender, kind)) >= count for sender, count in zip(senders, wanted, strict=True)))


# R039 R045 R050 R082
def test_while_postgres_is_stopped_senders_are_told_to_come_back_and_then_everything_goes_on(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.create_database()
    with Server(tmp_path, DATABASE_URL=url) as server:
        with loaded(server) as senders:
            wait_for(senders, 10, "acknowledged")
            postgres.stop()
            wait_for(senders, REFUSED_WANTED, "unanswered")
            page, closed, held = server.get("/runs"), watch(server), rss_bytes(server.pid) / MIB
            postgres.start()
            wait_for(senders, 10, "acknowledged")
        wait_until_folded(url, 60)
        runs, differing = compare_folds(server.port)
    account = settle(
        [request for sender in senders for request in sender.acknowledged],
        [request for sender in senders for request in sender.unanswered],
        read_facts(url),
    )

    assert account.is_right, str(account)
    assert {200, 503} == set[int]().union(*(sender.statuses for sender in senders))
    assert (503, TRY_AGAIN_LATER, True) == (page.status_code, closed, held < MOST_RSS_MIB)
    assert runs and not differing


# R039 R050
def test_a_server_whose_postgres_hangs_says_so_and_goes_on_when_it_wakes_up(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.create_database()
    with Server(tmp_path, DATABASE_URL=url, FLOWSPAN_COMMIT_TIMEOUT_S="1") as server, loaded(server) as senders:
        wait_for(senders, 5, "acknowledged")
        postgres.pause()
        wait_for(senders, 2, "unanswered")
        live = server.get("/health/live").status_code
        postgres.resume()
        wait_for(senders, 5, "acknowledged")
        ready = server.get("/healthz").status_code

    assert (200, 200) == (live, ready)
    assert {200, 503} == set[int]().union(*(sender.statuses for sender in senders))

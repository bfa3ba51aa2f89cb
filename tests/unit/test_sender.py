"""The thread that sends: what it tries again and when, what it gives up, and that nobody has to wait for it."""

from __future__ import annotations

import gzip
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_bridge.parcels import LOGS_PATH, Parcel, Parcels
from otel_bridge.sender import FIRST_WAIT_S, GREATEST_WAIT_S, PATIENCE_AT_EXIT_S, Sender, wait_s
from otel_bridge.spool import Spool
from otel_bridge.transport import Transport
from otel_bridge.worth import Worth
from tests.bad_servers import PATIENCE_S, BadServer, Request, ok, silence, status

ROOM = 1 << 20


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.db", ROOM, "http://flowspan")


def parcel(text: str, records: int = 1) -> Parcel:
    return Parcel(LOGS_PATH, gzip.compress(text.encode()), Worth.END, records)


@contextmanager
def sending(server: BadServer, parcels: Parcels) -> Iterator[Sender]:
    """A sender that sends; its thread has ended afterwards."""
    sender = Sender(parcels, Transport(server.url, "", PATIENCE_S))
    sender.start()
    try:
        yield sender
    finally:
        sender.close()
        server.close_connections()
        assert sender._thread is not None
        sender._thread.join(PATIENCE_S)


def put(parcels: Parcels, *texts: str) -> None:
    for text in texts:
        parcels.put(parcel(text))


def greatest(least: float, most: float) -> float:
    return most


def test_a_wait_is_anything_up_to_a_limit_that_doubles_and_ends() -> None:
    most = [wait_s(failures, 0.0, greatest) for failures in (1, 2, 3, 7, 8, 100_000)]
    waits = [wait_s(3, 0.0) for _ in range(200)]

    assert [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S, GREATEST_WAIT_S, GREATEST_WAIT_S, GREATEST_WAIT_S] == most
    assert 0 <= min(waits) < 0.2 * most[2] < 0.8 * most[2] < max(waits) <= most[2]


def test_what_the_server_asks_for_is_the_least_and_not_the_same_for_everybody() -> None:
    waits = [wait_s(1, 5.0) for _ in range(50)]

    assert 5.0 <= min(waits) < max(waits) <= 5.0 + FIRST_WAIT_S


# R173
def test_the_programs_own_random_numbers_stay_in_their_order() -> None:
    before = random.getstate()

    wait_s(3, 0.0)

    assert before == random.getstate()


def test_what_is_put_is_sent_in_its_order() -> None:
    parcels = Parcels(ROOM, None)
    with BadServer() as server, sending(server, parcels) as sender:
        put(parcels, "a", "b", "c")

        assert sender.flush(PATIENCE_S, patient=True)
        assert [b"a", b"b", b"c"] == server.bodies


@pytest.mark.parametrize("code", [400, 413])
def test_what_a_server_refuses_is_counted_and_not_sent_again(code: int, spool: Spool) -> None:
    parcels = Parcels(ROOM, spool)
    with BadServer(lambda request: (status(code) if request.body == b"bad" else ok)(request)) as server, sending(server, parcels) as sender:
        parcels.put(parcel("bad", records=7))
        put(parcels, "good")

        assert sender.flush(PATIENCE_S, patient=True)
        assert ([b"bad", b"good"], 7, 0) == (server.bodies, sender.refused, spool.left())
        assert not sender.is_failing


@pytest.mark.parametrize("code", [401, 404, 429, 500, 503])
def test_what_a_server_does_not_take_now_is_stored_and_sent_when_it_does(code: int, spool: Spool) -> None:
    parcels = Parcels(ROOM, spool)
    with BadServer(status(code)) as server, sending(server, parcels) as sender:
        put(parcels, "a", "b")
        server.wait_for(1)
        assert not sender.flush(0.0, patient=True)
        server.answer = ok

        assert sender.flush(PATIENCE_S, patient=True)
        assert {b"a", b"b"} == set(server.bodies)
        assert (0, 0) == (spool.left(), sender.refused)


def test_without_a_store_what_was_not_taken_is_sent_again_too() -> None:
    parcels = Parcels(ROOM, None)
    with BadServer(status(503)) as server, sending(server, parcels) as sender:
        put(parcels, "a")
        server.wait_for(1)
        server.answer = ok

        assert sender.flush(PATIENCE_S, patient=True)
        assert b"a" == server.bodies[-1]


def test_a_server_that_asks_for_time_is_given_it(spool: Spool) -> None:
    parcels = Parcels(ROOM, spool)
    with BadServer(status(429, "Retry-After: 1")) as server, sending(server, parcels) as sender:
        put(parcels, "a")
        server.wait_for(1)
        server.answer = ok
        began_s = time.monotonic()
        server.wait_for(2)

        assert time.monotonic() - began_s > 0.9
        assert sender.flush(PATIENCE_S, patient=True)


def test_a_parcel_that_is_never_taken_keeps_nobody_else_waiting(spool: Spool) -> None:
    parcels = Parcels(ROOM, spool)
    with BadServer(lambda request: (status(500) if request.body == b"poison" else ok)(request)) as server, sending(server, parcels) as sender:
        put(parcels, "poison", *map(str, range(20)))
        wanted = {str(number).encode() for number in range(20)}
        count = 20
        while not wanted <= set(server.bodies):
            sender.flush(0.1, patient=True)
            server.wait_for(count)

        assert (1, 0) == (spool.left(), sender.refused)


def test_while_a_server_is_silent_nothing_is_lost_when_the_program_ends(spool: Spool) -> None:
    parcels = Parcels(ROOM, spool)
    with BadServer(silence) as server, sending(server, parcels) as sender:
        put(parcels, "a", "b")
        server.wait_for(1)
        began_s = time.monotonic()
        is_sent = sender.flush(PATIENCE_S, patient=False)
        waited_s = time.monotonic() - began_s
        in_hand = sender.close()
        assert in_hand is not None
        parcels.put_back(in_hand)
        parcels.close()

    assert (False, 2) == (is_sent, spool.left())
    assert waited_s < PATIENCE_AT_EXIT_S + 1


def test_an_ending_program_does_not_wait_for_a_server_that_fails(spool: Spool) -> None:
    parcels = Parcels(ROOM, spool)
    with BadServer(status(503, "Retry-After: 100")) as server, sending(server, parcels) as sender:
        put(parcels, "a")
        while not sender.is_failing:
            server.wait_for(1)
        began_s = time.monotonic()

        assert not sender.flush(PATIENCE_S, patient=False)
        assert time.monotonic() - began_s < 1


def test_a_program_that_can_wait_is_not_kept_longer_than_it_said() -> None:
    parcels = Parcels(ROOM, None)
    with BadServer(silence) as server, sending(server, parcels) as sender:
        put(parcels, "a")
        began_s = time.monotonic()

        assert not sender.flush(0.2, patient=True)
        assert 0.2 <= time.monotonic() - began_s < 2


def test_records_left_out_of_a_request_that_was_taken_are_counted() -> None:
    parcels = Parcels(ROOM, None)
    with BadServer(status(200, body=b"\n\x02\x08\x03")) as server, sending(server, parcels) as sender:
        put(parcels, "a")

        assert sender.flush(PATIENCE_S, patient=True)
        assert 3 == sender.refused


def test_what_a_process_before_left_is_sent_too_and_nobody_waits_for_it(spool: Spool) -> None:
    spool.put([parcel("of before")])
    parcels = Parcels(ROOM, Spool(spool._file, ROOM, "http://flowspan"))
    held = threading.Event()

    def answer(request: Request) -> bytes | None:
        if request.body == b"of before":
            held.wait(PATIENCE_S)
        return ok(request)

    with BadServer(answer) as server, sending(server, parcels) as sender:
        server.wait_for(1)
        is_idle = sender.flush(PATIENCE_S, patient=True)
        held.set()
        while spool.left():
            sender.flush(0.1, patient=True)

    assert is_idle


def test_two_processes_deliver_one_spool_together_and_no_parcel_twice(spool: Spool) -> None:
    spool.put([parcel(f"{number}") for number in range(40)])
    ones = [Parcels(ROOM, Spool(spool._file, ROOM, "http://flowspan")) for _ in range(2)]

    with BadServer() as server, sending(server, ones[0]), sending(server, ones[1]):
        server.wait_for(40)
        while spool.left():
            server.wait_for(40)

        assert sorted(f"{number}".encode() for number in range(40)) == sorted(server.bodies)
        assert 2 == server.connections


class HangingStore(Spool):
    """A file in a home that hangs, until it is let go."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, ROOM, "http://flowspan")
        self.hangs, self.goes_on = threading.Event(), threading.Event()

    def put(self, parcels: Sequence[Parcel]) -> Mapping[Worth, int]:
        """Hang."""
        self.hangs.set()
        self.goes_on.wait(PATIENCE_S)
        return super().put(parcels)


# R173
def test_a_file_that_hangs_holds_nobody_up_for_ever(tmp_path: Path) -> None:
    store = HangingStore(tmp_path / "spool.db")
    parcels = Parcels(ROOM, store)
    with BadServer(status(503)) as server, sending(server, parcels) as sender:
        put(parcels, "a")
        assert store.hangs.wait(PATIENCE_S)
        began_s = time.monotonic()
        is_sent = sender.flush(0.1, patient=False)
        parcels.close(sender.close())
        waited_s = time.monotonic() - began_s
        store.goes_on.set()

    assert not is_sent
    assert waited_s < PATIENCE_S / 2

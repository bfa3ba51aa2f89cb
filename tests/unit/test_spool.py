"""What could not be sent, on disk: private, bounded, shared by processes, and harmless when the file is not what it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_bridge.parcels import Parcel
from otel_bridge.spool import LEASE_S, MOST_SUSPECT_S, ROW_BYTES, Spool
from otel_bridge.worth import Worth
from tests import spooling
from tests.spooling import ROOM, URL, Clock, claimed, parcel

file = spooling.file


# R168
def test_what_one_process_left_another_is_given_as_it_was(file: Path) -> None:
    Spool(file, ROOM, URL).put([Parcel("/v1/traces", b"\x00body", Worth.SPAN, 7)])

    found = Spool(file, ROOM, URL).claim()

    assert found is not None and found.place > 0
    assert ("/v1/traces", b"\x00body", Worth.SPAN, 7) == (found.path, found.body, found.worth, found.records)


def test_a_spool_that_was_never_needed_leaves_no_file(file: Path) -> None:
    spool = Spool(file, ROOM, URL)

    assert spool.claim() is None
    assert not file.parent.exists()


def test_the_file_is_its_owners_alone_and_holds_no_password(file: Path) -> None:
    Spool(file, ROOM, "http://user:secret@flowspan:8000/base").put([parcel("a")])

    assert (0o600, 0o700) == (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777)
    assert b"secret" not in file.read_bytes()
    assert ["a"] == claimed(Spool(file, ROOM, "http://flowspan:8000/base"))


def test_two_processes_never_hold_the_same_parcel(file: Path) -> None:
    one, other = Spool(file, ROOM, URL), Spool(file, ROOM, URL)
    one.put([parcel("a"), parcel("b")])

    taken = [one.claim(), other.claim(), one.claim(), other.claim()]

    assert [b"a", b"b", None, None] == [found and found.body for found in taken]


def test_a_parcel_in_the_hands_of_a_process_that_died_comes_back(file: Path) -> None:
    clock = Clock()
    Spool(file, ROOM, URL, clock).put([parcel("a")])
    Spool(file, ROOM, URL, clock).claim()
    next_one = Spool(file, ROOM, URL, clock)
    before = next_one.claim()

    clock.now_s += LEASE_S + 1

    assert (None, ["a"]) == (before, claimed(next_one))


def test_a_parcel_that_nobody_answered_for_is_free_at_once(file: Path) -> None:
    spool = Spool(file, ROOM, URL)
    spool.put([parcel("a")])
    found = spool.claim()
    assert found is not None

    spool.give_back(found.place, is_suspect=False)

    assert ["a"] == claimed(spool)


def test_a_parcel_that_is_never_taken_goes_after_the_others_and_rests_ever_longer(file: Path) -> None:
    clock = Clock()
    spool = Spool(file, ROOM, URL, clock)
    spool.put([parcel("poison"), parcel("b")])
    rests, seen = [], []
    for _ in range(9):
        poison = spool.claim()
        assert poison is not None
        spool.give_back(poison.place, is_suspect=True)
        seen += [poison.body.decode(), *claimed(spool)]
        rests.append(_seconds_until_claimed(spool, clock))

    assert ["poison", "b", *["poison"] * 8] == seen
    assert [1, 2, 4, 8, 16, 32, 64, MOST_SUSPECT_S, MOST_SUSPECT_S] == rests


def test_a_parcel_that_was_not_taken_lets_those_that_came_later_go_first(file: Path) -> None:
    clock = Clock()
    spool = Spool(file, ROOM, URL, clock)
    spool.put([parcel("poison")])
    poison = spool.claim()
    assert poison is not None
    spool.give_back(poison.place, is_suspect=True)
    spool.put([parcel("b")])

    clock.now_s += MOST_SUSPECT_S

    assert ["b", "poison"] == claimed(spool)


def _seconds_until_claimed(spool: Spool, clock: Clock) -> int:
    for second in range(1, 2 * MOST_SUSPECT_S):
        clock.now_s += 1
        found = spool.claim()
        if found is not None:
            spool.give_back(found.place, is_suspect=False)
            return second
    raise AssertionError("it never comes back")


def test_parcels_for_another_address_are_neither_sent_nor_forgotten(file: Path) -> None:
    elsewhere = Spool(file, ROOM, "http://elsewhere:8000")
    elsewhere.put([parcel("theirs")])
    spool = Spool(file, ROOM, URL)
    spool.put([parcel("ours")])

    assert ["ours"] == claimed(spool)
    assert ["theirs"] == claimed(elsewhere)


# R168
def test_parcels_told_with_another_key_wait_for_a_process_that_has_it(file: Path) -> None:
    told, other, keyless = (Spool(file, ROOM, URL, api_key=key) for key in ("s3cr3t-a", "s3cr3t-b", ""))
    told.put([parcel("a")])
    keyless.put([parcel("without")])

    assert ([], ["without"]) == (claimed(other), claimed(keyless))
    assert b"s3cr3t" not in file.read_bytes()
    assert ["a"] == claimed(Spool(file, ROOM, URL, api_key="s3cr3t-a"))


def test_a_thread_that_hangs_in_the_file_does_not_hold_up_the_others_for_ever(file: Path) -> None:
    spool = Spool(file, ROOM, URL)

    assert spool.pause(0.0)
    with pytest.raises(OSError, match="another thread"):
        spool.put([parcel("a")])
    spool.resume()

    assert {} == spool.put([parcel("b")])


def test_a_full_spool_drops_the_least_useful_and_says_how_many_records_that_were(file: Path) -> None:
    spool = Spool(file, 4 * (ROW_BYTES + 100), URL)
    counts = {Worth.END: 1, Worth.LINE: 5, Worth.START: 3, Worth.SPAN: 1}
    spool.put([parcel("x" * 100, worth, records) for worth, records in counts.items()])

    gone = [spool.put([parcel(f"{number}" * 100, Worth.END)]) for number in range(4)]

    assert [{Worth.LINE: 5}, {Worth.START: 3}, {Worth.SPAN: 1}, {Worth.END: 1}] == gone
    assert ["0", "1", "2", "3"] == [body[0] for body in claimed(spool)]


def test_an_address_that_holds_the_whole_spool_makes_room_for_another(file: Path) -> None:
    room = 10 * (ROW_BYTES + 100)
    dead, spool = Spool(file, room, "http://dead:1"), Spool(file, room, URL)
    dead.put([parcel("d" * 100, Worth.END) for _ in range(10)])

    for number in range(7):
        spool.put([parcel(f"{number}" * 100, Worth.LINE)])

    assert (["2", "3", "4", "5", "6"], 5) == ([body[0] for body in claimed(spool)], len(claimed(dead)))


def test_the_file_stays_within_its_bound_and_shrinks_when_all_is_delivered(file: Path) -> None:
    spool = Spool(file, ROOM, URL)
    for number in range(300):
        spool.put([parcel(f"{number:10000}")])
    full = file.stat().st_size

    count = len(claimed(spool))

    assert 90 < count < 110
    assert ROOM < full < 1.3 * ROOM
    assert file.stat().st_size < 0.1 * ROOM


def test_who_put_parcels_knows_how_many_nobody_has_delivered(file: Path) -> None:
    spool, other = Spool(file, ROOM, URL), Spool(file, ROOM, URL)
    spool.put([parcel("a"), parcel("b")])
    other.put([parcel("c")])
    before = spool.left()

    claimed(other)

    assert (2, 0) == (before, spool.left())

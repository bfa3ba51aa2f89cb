"""What waits to be sent: fresh parcels first, bounded in memory, and on disk as soon as nobody answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_bridge.parcels import LOGS_PATH, Parcel, Parcels
from otel_bridge.spool import Spool
from otel_bridge.worth import Worth

URL = "http://flowspan:8000"
ROOM = 1 << 20


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.db", ROOM, URL)


def parcel(text: str, worth: Worth = Worth.END, records: int = 1) -> Parcel:
    return Parcel(LOGS_PATH, text.encode(), worth, records)


def sent(parcels: Parcels) -> list[str]:
    """Return everything that waits, in the order it is sent in."""
    bodies = []
    while (one := parcels.take()) is not None:
        parcels.sent(one)
        bodies.append(one.body.decode())
    return bodies


def dropped(parcels: Parcels) -> dict[Worth, int]:
    return {worth: count for worth, count in parcels.dropped().items() if count}


def test_the_sign_of_life_goes_first_then_what_is_fresh_then_what_is_stored(spool: Spool) -> None:
    spool.put([parcel("stored")])
    parcels = Parcels(ROOM, spool)
    for text in ("first", "second"):
        parcels.put(parcel(text))
    parcels.put_beat(parcel("old beat"))
    parcels.put_beat(parcel("beat"))

    assert ["beat", "first", "second", "stored"] == sent(parcels)


def test_a_sign_of_life_that_could_not_be_sent_is_forgotten_and_never_stored(spool: Spool) -> None:
    parcels = Parcels(ROOM, spool)
    parcels.put_beat(Parcel(LOGS_PATH, b"beat", Worth.START, 1, is_beat=True))
    beat = parcels.take()
    assert beat is not None

    parcels.put_back(beat)
    parcels.close()

    assert ([], 0) == (sent(parcels), spool.left())


def test_what_is_beyond_the_memory_goes_to_the_store_the_oldest_first(spool: Spool) -> None:
    parcels = Parcels(250, spool)

    for number in range(4):
        parcels.put(parcel(f"{number}" * 100))

    assert 2 == spool.left()
    assert ["2", "3", "0", "1"] == [body[0] for body in sent(parcels)]
    assert {} == dropped(parcels)


def test_without_a_store_the_least_useful_in_memory_goes() -> None:
    parcels = Parcels(250, None)

    for number, worth in enumerate((Worth.END, Worth.LINE, Worth.START, Worth.SPAN)):
        parcels.put(parcel(f"{number}" * 100, worth, 10 + number))

    assert ["0", "3"] == [body[0] for body in sent(parcels)]
    assert {Worth.LINE: 11, Worth.START: 12} == dropped(parcels)


def test_a_store_that_takes_nothing_leaves_the_bound_of_the_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    parcels = Parcels(250, Spool(tmp_path / "file" / "spool.db", ROOM, URL))
    parcels.hold()

    for number in range(100):
        parcels.put(parcel(f"{number:100}", Worth.LINE))

    assert [98, 99] == [int(body) for body in sent(parcels)]
    assert {Worth.LINE: 98} == dropped(parcels)


def test_what_a_full_store_drops_is_counted(tmp_path: Path) -> None:
    parcels = Parcels(0, Spool(tmp_path / "spool.db", 1_000, URL))

    for _ in range(10):
        parcels.put(parcel("x" * 100, Worth.LINE, 5))

    assert {Worth.LINE: 5 * 6} == dropped(parcels)


def test_while_nobody_answers_everything_is_on_disk_at_once(spool: Spool) -> None:
    parcels = Parcels(ROOM, spool)
    parcels.put(parcel("before"))

    parcels.hold()
    parcels.put(parcel("while"))
    held = (spool.left(), parcels.is_empty())
    parcels.release()
    parcels.put(parcel("after"))

    assert ((2, True), False) == (held, parcels.is_empty())
    assert ["after", "before", "while"] == sent(parcels)


def test_a_fresh_parcel_that_could_not_be_sent_is_on_disk_and_a_stored_one_still_is(spool: Spool) -> None:
    parcels = Parcels(ROOM, spool)
    parcels.put(parcel("fresh"))
    for _ in range(2):
        taken = parcels.take()
        assert taken is not None
        parcels.put_back(taken)

    assert 1 == spool.left()
    assert ["fresh"] == sent(parcels)
    assert 0 == spool.left()


def test_without_a_store_what_could_not_be_sent_waits_in_memory() -> None:
    parcels = Parcels(ROOM, None)
    parcels.put(parcel("a"))
    taken = parcels.take()
    assert taken is not None

    parcels.put_back(taken)

    assert not parcels.is_delivered()
    assert ["a"] == sent(parcels)


def test_all_is_delivered_when_neither_memory_nor_store_holds_anything_of_ours(spool: Spool) -> None:
    spool.put([parcel("of a process before")])
    parcels = Parcels(ROOM, Spool(spool._file, ROOM, URL))
    seen = [parcels.is_delivered()]

    parcels.put(parcel("a"))
    seen.append(parcels.is_delivered())
    parcels.hold()
    seen.append(parcels.is_delivered())
    sent(parcels)
    seen.append(parcels.is_delivered())

    assert [True, False, False, True] == seen


def test_closing_stores_what_waits_or_counts_it_as_dropped(spool: Spool) -> None:
    with_store, without = Parcels(ROOM, spool), Parcels(ROOM, None)
    for parcels in (with_store, without):
        parcels.put(parcel("a", Worth.START, 3))
        parcels.close()

    assert (1, {}) == (spool.left(), dropped(with_store))
    assert {Worth.START: 3} == dropped(without)


def test_the_bell_rings_for_every_parcel_and_falls_silent_when_all_are_taken() -> None:
    parcels = Parcels(ROOM, None)
    rings = [parcels.has_some.is_set()]
    parcels.put(parcel("a"))
    rings.append(parcels.has_some.is_set())
    sent(parcels)
    rings.append(parcels.has_some.is_set())
    parcels.put_beat(parcel("beat"))
    rings.append(parcels.has_some.is_set())

    assert [False, True, False, True] == rings

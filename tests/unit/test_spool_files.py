"""Files that a spool finds, cannot use, or that are damaged, full, or gone."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from otel_bridge.spool import APPLICATION_ID, Spool
from tests import spooling
from tests.spooling import ROOM, URL, claimed, parcel

file = spooling.file


@pytest.mark.parametrize("content", [b"my shopping list\n" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_spool_is_left_as_it_was(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(content)
    spool = Spool(file, ROOM, URL)

    with pytest.raises(OSError, match=r"list\.txt"):
        spool.put([parcel("a")])

    assert (None, 0, content, [file]) == (spool.claim(), spool.left(), file.read_bytes(), list(tmp_path.iterdir()))


def test_somebody_elses_database_is_left_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "theirs.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE bodies (place)")
    content = file.read_bytes()

    with pytest.raises(OSError, match="something else's"):
        Spool(file, ROOM, URL).put([parcel("a")])

    assert content == file.read_bytes()


def test_a_spool_of_another_version_is_left_to_that(file: Path) -> None:
    Spool(file, ROOM, URL).put([parcel("a")])
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(OSError, match="another version"):
        Spool(file, ROOM, URL).put([parcel("b")])


def test_a_damaged_spool_is_set_aside_and_a_new_one_begun(file: Path) -> None:
    Spool(file, ROOM, URL).put([parcel("x" * 50_000)])
    content = bytearray(file.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    file.write_bytes(content)
    spool = Spool(file, ROOM, URL)

    with pytest.raises(OSError):
        spool.put([parcel("a")])
    spool.put([parcel("b")])

    assert ["b"] == claimed(spool)
    assert bytes(content) == file.with_name("spool.db.damaged").read_bytes()


def test_a_file_that_cannot_be_made_is_an_error_of_putting_and_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    spool = Spool(tmp_path / "file" / "spool.db", ROOM, URL)

    with pytest.raises(OSError):
        spool.put([parcel("a")])

    assert (None, 0) == (spool.claim(), spool.left())
    spool.give_back(1, is_suspect=True)
    spool.done(1)


def test_a_full_disk_keeps_what_is_there_and_takes_no_half_parcel(file: Path) -> None:
    spool = Spool(file, ROOM, URL)
    spool.put([parcel("small")])

    with _files_of_at_most(60_000), pytest.raises(OSError):
        spool.put([parcel("also small"), parcel("x" * 200_000)])

    assert ["small"] == claimed(Spool(file, ROOM, URL))


@contextmanager
def _files_of_at_most(most_bytes: int) -> Iterator[None]:
    """What a full disk is to one process: every write beyond fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_somebody_else_is_writing_costs_a_bounded_wait(file: Path) -> None:
    spool = Spool(file, ROOM, URL)
    spool.put([parcel("a")])

    with closing(sqlite3.connect(file, isolation_level=None)) as somebody:
        somebody.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="locked"):
            spool.put([parcel("b")])
        with pytest.raises(OSError, match="rests"):
            spool.put([parcel("c")])

    assert ["a"] == claimed(Spool(file, ROOM, URL))


def test_a_file_that_was_deleted_is_begun_anew(file: Path) -> None:
    spool = Spool(file, ROOM, URL)
    spool.put([parcel("a")])
    file.unlink()

    spool.put([parcel("b")])

    assert ["b"] == claimed(spool)


def test_the_file_says_whose_it_is(file: Path) -> None:
    Spool(file, ROOM, URL).put([parcel("a")])

    assert APPLICATION_ID.to_bytes(4, "big") == file.read_bytes()[68:72]

"""The promises of Reader.changes and latest_cursor: news since a cursor, missing nothing."""

from __future__ import annotations

import contextlib

from collector.answers import Resync
from collector.questions import BadCursor
from collector.steady import SOURCE, batch_of, log_line, plain_span, run_begun
from collector.testing.opening import OpensStorage
from collector.testing.questions import fold_all, is_refused, view_of, wait_for, writing_at_once
from collector.testing.stories import TRACE, trace_id_of
from otel_bridge.identity import run_key


class NewsPromises(OpensStorage):
    """What changes() and latest_cursor() answer."""

    def test_news_since_a_cursor_name_every_run_that_got_facts(self) -> None:
        """And nothing before it."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("old")))
            cursor = wait_for(storage.reader.latest_cursor())
            storage.writer.write(batch_of(run_begun("r1"), log_line("r2", "hello", 1)))
            storage.writer.write(batch_of(plain_span(TRACE, 1, "GET /", 0)))
            news = wait_for(storage.reader.changes(cursor))
            later = wait_for(storage.reader.changes(news.cursor))

            expected = {run_key(SOURCE, "r1"), run_key(SOURCE, "r2"), trace_id_of(TRACE)}
            assert (expected, expected) == (set(news.run_keys), set(news.trace_ids))
            assert not later.run_keys

    def test_a_cursor_may_be_used_again(self) -> None:
        """Several readers, each with its own; each batch is news once."""
        with self.opened() as storage:
            cursor = wait_for(storage.reader.latest_cursor())
            cursors = [cursor]
            found = []
            for number in range(3):
                storage.writer.write(batch_of(run_begun(f"r{number}")))
                news = wait_for(storage.reader.changes(cursor))
                found.append(set(news.run_keys))
                whole = wait_for(storage.reader.changes(view_of(storage, "r0").cursor))
                again = wait_for(storage.reader.changes(cursor, news.cursor))
                cursor = news.cursor
                cursors.append(cursor)

            assert [{run_key(SOURCE, f"r{number}")} for number in range(3)] == found
            assert not whole.run_keys
            assert news == again
            assert [run_key(SOURCE, "r1")] == list(wait_for(storage.reader.changes(cursors[1], cursors[2])).run_keys)

    def test_a_fold_is_no_news(self) -> None:
        """Else every watcher would look twice."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1")))
            cursor = wait_for(storage.reader.latest_cursor())
            fold_all(storage)

            assert not wait_for(storage.reader.changes(cursor)).run_keys

    def test_a_cursor_misses_nothing_while_others_write(self) -> None:
        """Read while four threads write: every run is news once it is there, and there once it is news."""
        with self.opened() as storage:
            cursor = wait_for(storage.reader.latest_cursor())
            several = [[batch_of(run_begun(f"r{one}-{two}")) for two in range(20)] for one in range(4)]
            found: set[bytes] = set()
            with writing_at_once(storage, several) as threads:
                writing = True
                while writing:
                    writing = any(thread.is_alive() for thread in threads)
                    news = wait_for(storage.reader.changes(cursor))
                    found |= {key for key in news.run_keys if wait_for(storage.reader.view_run(key)) is not None}
                    cursor = news.cursor

            assert {run_key(SOURCE, f"r{one}-{two}") for one in range(4) for two in range(20)} == found

    def test_a_cursor_from_before_a_restart_misses_nothing(self) -> None:
        """Its news, or the word to take a new snapshot; and a run's version goes on rising."""
        if not self.durable:
            return
        storage = self.make_storage()
        storage.open()
        storage.writer.write(batch_of(run_begun("r1")))
        view = view_of(storage, "r1")

        with self.reopened(storage) as again:
            again.writer.write(batch_of(log_line("r1", "hello", 1)))

            assert view.version < view_of(again, "r1").version
            with contextlib.suppress(Resync):
                assert {run_key(SOURCE, "r1")} == set(wait_for(again.reader.changes(view.cursor)).run_keys)

    def test_a_cursor_from_elsewhere_asks_for_a_new_snapshot(self) -> None:
        """Resync or BadCursor, never an empty answer."""
        with self.opened() as storage:
            for cursor in ("99999999999", "nonsense", "", "-1", "1.5", "²"):
                assert is_refused((Resync, BadCursor), storage.reader.changes(cursor)), cursor

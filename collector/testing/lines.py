"""The promises of Reader.read_logs: log records and events of finished spans as one list, by time, filtered and paged from both ends."""

from __future__ import annotations

from dataclasses import replace

from collector.answers import LogEntry
from collector.questions import LARGEST_PAGE, BadCursor, LogQuery
from collector.steady import SOURCE, at, batch_of, log_line, run_begun, task_begun, task_ended
from collector.storage import Storage
from collector.testing.listing import FOREIGN_CURSORS
from collector.testing.opening import OpensStorage
from collector.testing.questions import is_refused, lines_of, messages_of, view_of, wait_for
from collector.testing.stories import TRACE, trace_id_of
from otel_bridge import conventions as c
from otel_bridge.facts import LogLine, SpanEnd, SpanEvent, Work
from otel_bridge.identity import run_key, task_span_id

# More than any storage reads in one step.
MANY = 2500


class LinePromises(OpensStorage):
    """What read_logs() answers."""

    def test_lines_come_in_order_of_time_and_by_level_and_node(self) -> None:
        """A node's lines are those that name it and those of its spans."""
        with self.opened() as storage:
            unnamed = _unnamed_line("fourth", 4, "load:1")
            storage.writer.write(
                batch_of(
                    log_line("r1", "second", 2, "load:1"),
                    log_line("r1", "first", 1),
                    log_line("r1", "third", 3, "load:1", severity=17),
                    unnamed,
                    task_ended("r1", "load:1", 4),
                )
            )

            assert ["first", "second", "third", "fourth"] == messages_of(storage, "r1")
            assert ["third"] == messages_of(storage, "r1", LogQuery(min_severity=17))
            assert ["second", "third", "fourth"] == messages_of(storage, "r1", LogQuery(node="load:1"))
            assert ["first"] == messages_of(storage, "r1", LogQuery(node=""))

    def test_a_line_says_what_was_sent(self) -> None:
        """Level, time, node and payload; a body that is no text as its JSON."""
        with self.opened() as storage:
            line = log_line("r1", "hello", 2, "load:1", severity=17)
            line.severity_text, line.attributes = "ERROR", {"rows": 7, c.NODE: "load:1"}
            other = log_line("r1", "", 3)
            other.body = {"a": [1]}
            storage.writer.write(batch_of(line, other))

            first, second = lines_of(storage, "r1")

            assert (at(2), 17, "ERROR", "load:1", {"rows": 7}) == (
                first.time_ns,
                first.severity_number,
                first.severity_text,
                first.node,
                first.payload,
            )
            assert ('{"a":[1]}', None) == (second.message, second.payload)

    def test_events_of_finished_spans_are_lines_too(self) -> None:
        """An exception is a line of level ERROR, any other event one of level INFO."""
        with self.opened() as storage:
            storage.writer.write(batch_of(_failed_at(3)))

            assert ["note", "ValueError: bad row"] == messages_of(storage, "r1")
            assert ["ValueError: bad row"] == messages_of(storage, "r1", LogQuery(min_severity=17, node="load:1"))
            assert [] == messages_of(storage, "r1", LogQuery(node=""))

    def test_an_event_that_came_as_a_record_too_is_one_line(self) -> None:
        """A bridge tells a line at once as a log record, and again with its span: the same time, node and text."""
        with self.opened() as storage:
            storage.writer.write(batch_of(log_line("r1", "ValueError: bad row", 3, "load:1", severity=17)))
            first = lines_of(storage, "r1")
            storage.writer.write(batch_of(_failed_at(3)))

            assert ["note", "ValueError: bad row"] == messages_of(storage, "r1")
            assert first[0] in lines_of(storage, "r1")

    def test_an_event_whose_record_came_before_is_no_new_line(self) -> None:
        """Nor one of another level: a part of the list holds nothing that the whole does not."""
        with self.opened() as storage:
            storage.writer.write(batch_of(log_line("r1", "ValueError: bad row", 3, "load:1", severity=9)))
            cursor = view_of(storage, "r1").cursor
            storage.writer.write(batch_of(_failed_at(3)))

            assert ["note"] == messages_of(storage, "r1", LogQuery(since=cursor))
            assert [] == messages_of(storage, "r1", LogQuery(min_severity=17))

    def test_every_line_has_an_id_of_its_own_that_stays(self) -> None:
        """Equal lines of one request too."""
        with self.opened() as storage:
            batch = batch_of(log_line("r1", "tick", 1), log_line("r1", "tick", 1), _failed_at(3))
            storage.writer.write(batch)
            first = [line.id for line in lines_of(storage, "r1")]
            storage.writer.write(batch)

            assert 4 == len(set(first))
            assert first == [line.id for line in lines_of(storage, "r1")]

    def test_pages_of_lines_follow_one_another_from_both_ends(self) -> None:
        """A page is in order of time, whichever end it was asked from."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*(log_line("r1", str(number), number) for number in range(7))))

            forward = _all_pages(storage, LogQuery(limit=3))
            backward = _all_pages(storage, LogQuery(limit=3, newest=True))

            assert [["0", "1", "2"], ["3", "4", "5"], ["6"]] == _messages(forward)
            assert [["4", "5", "6"], ["1", "2", "3"], ["0"]] == _messages(backward)

    def test_pages_together_hold_what_one_page_would(self) -> None:
        """Records and events, many in one instant, with every filter, from both ends."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1"), *_crowd()))
            cursor = view_of(storage, "r1").cursor
            storage.writer.write(batch_of(log_line("r1", "late", 1), log_line("r1", "late", 0.5, "load:1"), _failed_at(1.5)))
            for query in (
                LogQuery(),
                LogQuery(min_severity=13),
                LogQuery(node="load:1"),
                LogQuery(node="", min_severity=9),
                LogQuery(since=cursor),
            ):
                whole = lines_of(storage, "r1", query)
                forward = _all_pages(storage, replace(query, limit=2))
                backward = _all_pages(storage, replace(query, limit=2, newest=True))

                assert len(whole) > 2, query
                assert whole == [entry for page in forward for entry in page], query
                assert whole == [entry for page in reversed(backward) for entry in page], query

    def test_lines_of_one_instant_fill_several_pages(self) -> None:
        """A coarse clock gives thousands of lines one time; in several traces of the run, too."""
        with self.opened() as storage:
            lines = [log_line("r1", str(number), 1) for number in range(MANY)]
            for line in lines[::2]:
                line.trace_id = trace_id_of(TRACE)
            storage.writer.write(batch_of(*lines))

            for newest in (False, True):
                pages = _all_pages(storage, LogQuery(limit=LARGEST_PAGE, newest=newest))

                assert [1000, 1000, 500] == [len(page) for page in pages]
                assert MANY == len({entry.message for page in pages for entry in page})

    def test_a_line_behind_thousands_that_do_not_fit_is_found(self) -> None:
        """Whose a line is that names no node is known from its span alone, and costs nobody else's page a line."""
        with self.opened() as storage:
            noise = [_unnamed_line("noise", number / 1000, "noise:1") for number in range(MANY)]
            storage.writer.write(batch_of(task_begun("r1", "noise:1", 0), *noise, log_line("r1", "found", 5, "load:1")))

            assert ["found"] == messages_of(storage, "r1", LogQuery(node="load:1", limit=2))

    def test_lines_between_two_cursors_are_the_ones_that_came_between_them(self) -> None:
        """Late lines with early times too, and the events of a span that ended since; none that came later."""
        with self.opened() as storage:
            storage.writer.write(batch_of(log_line("r1", "before", 5), task_begun("r1", "load:1", 1)))
            cursor = view_of(storage, "r1").cursor
            storage.writer.write(batch_of(log_line("r1", "late", 1)))
            storage.writer.write(batch_of(_failed_at(3)))
            until = view_of(storage, "r1").cursor
            storage.writer.write(batch_of(log_line("r1", "later still", 2)))
            between = messages_of(storage, "r1", LogQuery(since=cursor, until=until))

            assert ["late", "note", "ValueError: bad row"] == between
            assert ["before"] == messages_of(storage, "r1", LogQuery(until=cursor))
            assert [] == messages_of(storage, "r1", LogQuery(since=until, until=cursor))

    def test_a_second_delivery_is_no_new_line(self) -> None:
        """A page that follows a run shows each line once."""
        with self.opened() as storage:
            batch = batch_of(log_line("r1", "hello", 5), _failed_at(3))
            storage.writer.write(batch)
            cursor = view_of(storage, "r1").cursor
            storage.writer.write(batch)

            assert [] == lines_of(storage, "r1", LogQuery(since=cursor))

    def test_lines_of_a_run_nobody_named_are_none(self) -> None:
        """An empty page, not an error; a foreign cursor is refused."""
        with self.opened() as storage:
            assert [] == lines_of(storage, "nobody")
            storage.writer.write(batch_of(log_line("r1", "hello", 1)))
            for cursor in FOREIGN_CURSORS:
                assert is_refused(BadCursor, storage.reader.read_logs(run_key(SOURCE, "r1"), LogQuery(cursor=cursor))), cursor


def _failed_at(seconds: float) -> SpanEnd:
    """Return the end of load:1 with two events: a note and, a moment later, an exception."""
    end = task_ended("r1", "load:1", seconds + 1, c.RESULT_FAILURE)
    failure = {c.EXCEPTION_TYPE: "ValueError", c.EXCEPTION_MESSAGE: "bad row"}
    end.events = [SpanEvent(at(seconds) - 1, "note"), SpanEvent(at(seconds), c.EXCEPTION_EVENT, failure)]
    return end


def _unnamed_line(text: str, seconds: float, node: str) -> LogLine:
    """Return a line on a task's span that does not say itself whose it is."""
    line = log_line("r1", text, seconds, node)
    line.span_id, line.work = task_span_id(run_key(SOURCE, "r1"), node), Work()
    return line


def _crowd() -> list[LogLine | SpanEnd]:
    lines = [log_line("r1", f"line {number}", number // 4, "load:1" if number % 2 else "", 9 + 4 * (number % 3)) for number in range(12)]
    end = task_ended("r1", "extract:1", 4)
    end.events = [SpanEvent(at(number // 2), f"event {number}") for number in range(6)]
    return [*lines, end]


def _messages(pages: list[list[LogEntry]]) -> list[list[str]]:
    return [[entry.message for entry in page] for page in pages]


def _all_pages(storage: Storage, query: LogQuery) -> list[list[LogEntry]]:
    pages: list[list[LogEntry]] = []
    while True:
        page = wait_for(storage.reader.read_logs(run_key(SOURCE, "r1"), query))
        pages.append(page.items)
        if page.next_cursor is None:
            return pages
        query = replace(query, cursor=page.next_cursor)

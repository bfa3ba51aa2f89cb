"""The promises of Writer.write: durable, all or nothing, idempotent, order-free, and hard to hurt."""

from __future__ import annotations

import itertools
from dataclasses import replace

from collector.batch import Batch, SpanColumns
from collector.errors import Rejected
from collector.otlp.columns.result import ArrowSpans, from_rows
from collector.picture import SUCCEEDED
from collector.steady import SOURCE, at, batch_of, log_line, plain_span, run_begun, run_ended, task_begun, task_ended
from collector.storage import Storage
from collector.testing.opening import OpensStorage
from collector.testing.questions import everything_of, find_view, messages_of, task_states, view_of, wait_for, write_each, writing_at_once
from collector.testing.stories import TRACE, story, trace_id_of
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP, RANK_STAMPED, RANK_TIMED, Resource, Scope, SpanEnd
from otel_bridge.identity import run_key

# More than the 64 bits an integer column has anywhere.
TOO_GREAT = 2**80


class WritePromises(OpensStorage):
    """What write() leaves behind."""

    def test_what_was_written_survives_a_reopening(self) -> None:
        """durable when it returns"""
        if not self.durable:
            return
        storage = self.make_storage()
        storage.open()
        storage.writer.write(batch_of(*story(), received_s=9))
        before = everything_of(storage, "r1")

        with self.reopened(storage) as again:
            assert before == everything_of(again, "r1")

    def test_a_batch_with_a_refused_row_leaves_nothing_behind(self) -> None:
        """All or nothing: a storage that takes the row takes all of them."""
        for refused in ("spans", "moments", "logs"):
            with self.opened() as storage:
                cursor = wait_for(storage.reader.latest_cursor())
                batch = batch_of(run_begun("r1"), run_ended("r1", 1), log_line("r1", "hello", 2))
                _spoil(batch, refused)
                stored = _is_taken(storage, batch)
                facts = wait_for(storage.reader.read_trace(run_key(SOURCE, "r1")))
                news = wait_for(storage.reader.changes(cursor))

                assert (stored, stored) == (find_view(storage, "r1") is not None, bool(news.run_keys))
                assert [stored] * 3 == [bool(facts.spans), bool(facts.moments), bool(facts.logs)]

    def test_after_a_refused_batch_the_next_is_taken(self) -> None:
        """Its sender alone hears of it."""
        with self.opened() as storage:
            batch = batch_of(run_begun("r1"), log_line("r1", "hello", 1))
            _spoil(batch, "logs")
            _is_taken(storage, batch)
            storage.writer.write(batch_of(run_begun("r2")))

            assert find_view(storage, "r2") is not None

    def test_a_batch_written_twice_changes_nothing(self) -> None:
        """idempotent"""
        with self.opened() as storage:
            batch = batch_of(*story(), received_s=9)
            storage.writer.write(batch)
            before = everything_of(storage, "r1")
            storage.writer.write(batch)

            assert before == everything_of(storage, "r1")

    def test_any_order_of_batches_ends_in_the_same_rows(self) -> None:
        """order-free"""
        batches = [batch_of(fact, received_s=9) for fact in story()]
        seen = []
        for order in (batches, batches[::-1], batches[3:] + batches[:3], batches + batches[::2]):
            with self.opened() as storage:
                write_each(storage, order)
                seen.append(everything_of(storage, "r1"))

        assert [seen[0]] * 4 == seen

    def test_of_two_ends_the_greatest_stays(self) -> None:
        """The OTLP span beats an event; of two copies the longest stays. In one batch or in several, and only one row is left."""
        with self.opened() as storage:
            for number, order in enumerate(itertools.permutations(range(4))):
                for run_id, size in ((f"one-{number}", 4), (f"several-{number}", 1)):
                    ends = [_ends_of(run_id)[place] for place in order]
                    write_each(storage, (batch_of(*ends[first : first + size]) for first in range(0, len(ends), size)))
                    rows = wait_for(storage.reader.read_trace(run_key(SOURCE, run_id))).spans

                    assert [at(7)] == [row.end_ns for row in rows]

    def test_of_two_events_the_first_word_stands(self) -> None:
        """Whichever came first."""
        with self.opened() as storage:
            for run_id, times in (("r1", (5, 6)), ("r2", (6, 5))):
                write_each(storage, (batch_of(run_ended(run_id, seconds)) for seconds in times))

                assert at(5) == view_of(storage, run_id).run.finished_ns

    def test_of_two_beginnings_the_least_time_stays(self) -> None:
        """Twins inside one batch and over several; one with its own time before one we stamped. Only one row is left."""
        with self.opened() as storage:
            storage.writer.write(batch_of(task_begun("r1", "load:1", 3), task_begun("r1", "load:1", 2)))
            storage.writer.write(batch_of(task_begun("r1", "load:1", 4), task_begun("r1", "load:1", 1, rank=RANK_STAMPED)))
            rows = wait_for(storage.reader.read_trace(run_key(SOURCE, "r1"))).moments

            assert [at(2)] == [row.time_ns for row in rows]

    def test_equal_lines_of_one_request_are_all_kept(self) -> None:
        """A program may say the same twice in one tick of its clock; a second delivery adds none."""
        with self.opened() as storage:
            batch = batch_of(log_line("r1", "tick", 1), log_line("r1", "tick", 1))
            storage.writer.write(batch)
            storage.writer.write(batch)

            assert ["tick", "tick"] == messages_of(storage, "r1")

    def test_a_line_with_an_event_id_is_stored_once_whenever_it_comes(self) -> None:
        """Without a time of its own, its name tells the repeat. Another name, or another run, is another line."""
        with self.opened() as storage:
            for seconds in (1, 2, 90_000):
                storage.writer.write(batch_of(log_line("r1", "hello", seconds, event_id="e1"), received_s=seconds))
            storage.writer.write(batch_of(log_line("r1", "again", 3, event_id="e2"), log_line("r2", "hello", 3, event_id="e1"), received_s=3))

            assert ["hello", "again"] == messages_of(storage, "r1")
            assert ["hello"] == messages_of(storage, "r2")

    def test_a_trace_comes_back_as_it_was_written(self) -> None:
        """Nothing is lost between write and re-export, and nothing of other traces comes with it."""
        with self.opened() as storage:
            span, begun, line = plain_span(TRACE, 1, "GET /", 0), run_begun("r1"), log_line("r1", "hello", 1)
            begun.trace_id = line.trace_id = span.trace_id
            begun.resource, line.resource, line.scope = Resource({"of": "the moment"}), Resource({"of": "the line"}), Scope("log", "2.0")
            batch = batch_of(span, begun, line)
            storage.writer.write(batch)
            storage.writer.write(batch_of(task_begun("r2", "load:1", 1), plain_span(TRACE + 1, 1, "GET /", 0)))

            facts = wait_for(storage.reader.read_trace(span.trace_id))

            assert (batch.spans, batch.moments, batch.logs) == (facts.spans, facts.moments, facts.logs)
            assert (batch.resources, batch.scopes) == (facts.resources, facts.scopes)

    def test_spans_that_come_as_columns_are_stored_like_rows(self) -> None:
        """A large group comes so; Batch.as_rows() is for a storage that writes rows."""
        with self.opened() as storage:
            batch = batch_of(plain_span(TRACE, 1, "GET /", 0), task_ended("r1", "load:1", 1), log_line("r1", "hello", 1))
            columns: list[SpanColumns] = [ArrowSpans(from_rows(batch.spans), range(len(batch.spans)))]
            cursor = wait_for(storage.reader.latest_cursor())
            storage.writer.write(replace(batch, spans=[], span_columns=columns))
            news = wait_for(storage.reader.changes(cursor))
            facts = [wait_for(storage.reader.read_trace(trace_id)) for trace_id in (trace_id_of(TRACE), run_key(SOURCE, "r1"))]

            assert sorted(batch.spans) == sorted(row for found in facts for row in found.spans)
            assert {trace_id_of(TRACE), run_key(SOURCE, "r1")} == set(news.run_keys)
            assert [SUCCEEDED] == task_states(view_of(storage, "r1"))

    def test_a_trace_nobody_wrote_is_empty(self) -> None:
        """Empty lists, not an error."""
        with self.opened() as storage:
            facts = wait_for(storage.reader.read_trace(trace_id_of(TRACE)))

            assert ([], [], [], {}, {}) == (facts.spans, facts.moments, facts.logs, facts.resources, facts.scopes)

    def test_text_that_databases_refuse_is_stored_harmless(self) -> None:
        """NUL, lone surrogates, NaN and 10^30 cost nobody a page."""
        hostile = "<b>\x00\ud800\u2028'\";--"
        with self.opened() as storage:
            begun = run_begun("r1")
            begun.name, begun.attributes = hostile, {c.PARAMS: {hostile: [float("nan"), 10**30, hostile, b"\x00"]}}
            storage.writer.write(batch_of(begun, log_line("r1", hostile, 1)))

            assert isinstance(view_of(storage, "r1").run.params, dict)
            assert ["<b>\ufffd\ufffd\u2028'\";--"] == messages_of(storage, "r1")

    def test_a_batch_of_nothing_is_taken(self) -> None:
        """And brings no run."""
        with self.opened() as storage:
            cursor = wait_for(storage.reader.latest_cursor())
            storage.writer.write(Batch())

            assert not wait_for(storage.reader.changes(cursor)).run_keys

    def test_several_threads_may_write_at_once(self) -> None:
        """Nothing is lost between them."""
        with self.opened() as storage:
            several = [[batch_of(task_ended(f"r{run}", f"t:{node}", node)) for node in range(10)] for run in range(4)]
            with writing_at_once(storage, several):
                pass

            assert [10] * 4 == [len(view_of(storage, f"r{run}").tasks) for run in range(4)]


def _ends_of(run_id: str) -> list[SpanEnd]:
    return [
        run_ended(run_id, 5, c.RESULT_FAILURE, rank=RANK_TIMED),
        run_ended(run_id, 6, c.RESULT_SUCCESS, rank=RANK_OTLP),
        run_ended(run_id, 7, c.RESULT_SUCCESS, rank=RANK_OTLP),
        run_ended(run_id, 1, c.RESULT_CANCELLATION, rank=RANK_STAMPED),
    ]


def _spoil(batch: Batch, kind: str) -> None:
    """Give the last row of a kind a number no column holds."""
    if kind == "spans":
        batch.spans[-1] = batch.spans[-1]._replace(weight=TOO_GREAT)
    elif kind == "moments":
        batch.moments[-1] = batch.moments[-1]._replace(start_ns=TOO_GREAT)
    else:
        batch.logs[-1] = batch.logs[-1]._replace(observed_ns=TOO_GREAT)


def _is_taken(storage: Storage, batch: Batch) -> bool:
    try:
        storage.writer.write(batch)
    except Rejected:
        return False
    return True

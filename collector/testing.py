"""What a plugin author tests with: StorageContract, the promises of collector.storage as tests. Ready facts are in steady.py.

    class TestMyStorage(StorageContract):
        def make_storage(self) -> Storage:
            return MyStorage(...)

Any test runner that collects classes works; nothing here imports one.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from collector.errors import Rejected
from collector.model import Batch
from collector.picture import FAILED, KIND_RUN, KIND_TRACE, RUNNING, SUCCEEDED
from collector.steady import SOURCE, at, batch_of, log_line, plain_span, run_begun, run_ended, task_begun, task_ended
from collector.storage import BadCursor, LogQuery, Resync, RunQuery, RunRef, RunView, Storage
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP, RANK_STAMPED, RANK_TIMED, Fact, LogLine, SpanEvent
from otel_bridge.identity import run_key

Answer = TypeVar("Answer")


def wait_for(answer: Coroutine[Any, Any, Answer]) -> Answer:
    """Run one read to its end."""
    return asyncio.run(answer)


class StorageContract:
    """Every promise of Writer and Reader. Subclass it, say how to make a storage, and run it."""

    #: Whether reopen() finds what was written: False for a store that lives in memory.
    durable = True

    def make_storage(self) -> Storage:
        """Return an empty storage, not yet opened."""
        raise NotImplementedError  # a subclass says how

    def reopen(self, storage: Storage) -> Storage:
        """Close a storage and return another that opens the same place, not yet opened."""
        raise NotImplementedError  # a durable subclass says how

    @contextmanager
    def opened(self) -> Iterator[Storage]:
        """Open an empty storage, and close it at the end."""
        storage = self.make_storage()
        storage.open()
        try:
            yield storage
        finally:
            storage.close()

    # --- writing ---------------------------------------------------------------------------------------------------------------------

    def test_what_was_written_survives_a_reopening(self) -> None:
        """durable when it returns"""
        if not self.durable:
            return
        storage = self.make_storage()
        storage.open()
        storage.writer.write(batch_of(run_begun("r1")))
        storage = self.reopen(storage)
        storage.open()

        view = _view(storage, "r1")

        storage.close()
        assert view is not None

    def test_a_batch_with_a_refused_row_leaves_nothing_behind(self) -> None:
        """all or nothing per call"""
        with self.opened() as storage:
            batch = batch_of(run_begun("r1"), run_ended("r1", 1))
            batch.spans[0] = batch.spans[0]._replace(weight=2**80)
            stored = True
            try:
                storage.writer.write(batch)
            except Rejected:
                stored = False

            assert stored == (_view(storage, "r1") is not None)

    def test_a_batch_written_twice_changes_nothing(self) -> None:
        """idempotent"""
        with self.opened() as storage:
            batch = batch_of(*_story(), received_s=9)
            storage.writer.write(batch)
            before = _everything(storage, "r1")
            storage.writer.write(batch)

            assert before == _everything(storage, "r1")

    def test_any_order_of_batches_ends_in_the_same_rows(self) -> None:
        """order-free"""
        batches = [batch_of(fact, received_s=9) for fact in _story()]
        seen = []
        for order in (batches, batches[::-1], batches[3:] + batches[:3], batches + batches[::2]):
            with self.opened() as storage:
                for batch in order:
                    storage.writer.write(batch)
                seen.append(_everything(storage, "r1"))

        assert [seen[0]] * 4 == seen

    def test_of_two_ends_the_greatest_stays(self) -> None:
        """The OTLP span beats an event; of two events the first word stands."""
        ends = [
            run_ended("r1", 5, c.RESULT_FAILURE, rank=RANK_TIMED),
            run_ended("r1", 6, c.RESULT_SUCCESS, rank=RANK_OTLP),
            run_ended("r1", 1, c.RESULT_CANCELLATION, rank=RANK_STAMPED),
        ]
        for order in itertools.permutations(ends):
            with self.opened() as storage:
                for end in order:
                    storage.writer.write(batch_of(run_begun("r1"), end))

                assert at(6) == _must_view(storage, "r1").picture.run.finished_ns

    def test_of_two_beginnings_the_least_time_stays(self) -> None:
        """Twins inside one batch and over several."""
        with self.opened() as storage:
            storage.writer.write(batch_of(task_begun("r1", "load:1", 3), task_begun("r1", "load:1", 2)))
            storage.writer.write(batch_of(task_begun("r1", "load:1", 4), task_begun("r1", "load:1", 1, rank=RANK_STAMPED)))

            assert at(2) == _must_view(storage, "r1").picture.tasks[0].started_ns

    def test_a_line_with_an_event_id_is_stored_once_whenever_it_comes(self) -> None:
        """Without a time of its own, its name tells the repeat."""
        with self.opened() as storage:
            for seconds in (1, 2, 90_000):
                storage.writer.write(batch_of(log_line("r1", "hello", seconds, event_id="e1"), received_s=seconds))

            assert ["hello"] == _messages(storage, "r1", LogQuery())

    def test_text_that_databases_refuse_is_stored_harmless(self) -> None:
        """NUL, lone surrogates, NaN and 10^30 cost nobody a page."""
        hostile = "<b>\x00\ud800\u2028'\";--"
        with self.opened() as storage:
            begun = run_begun("r1")
            begun.name, begun.attributes = hostile, {c.PARAMS: {hostile: [float("nan"), 10**30, hostile, b"\x00"]}}
            storage.writer.write(batch_of(begun, log_line("r1", hostile, 1)))

            assert isinstance(_must_view(storage, "r1").picture.run.params, dict)
            assert ["<b>\ufffd\ufffd\u2028'\";--"] == _messages(storage, "r1", LogQuery())

    def test_several_threads_may_write_at_once(self) -> None:
        """Nothing is lost between them, and each version is a new one."""
        with self.opened() as storage:
            batches = [[batch_of(task_ended(f"r{run}", f"t:{node}", node)) for node in range(10)] for run in range(4)]
            threads = [threading.Thread(target=_write_all, args=(storage, some)) for some in batches]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

            assert [10] * 4 == [len(_must_view(storage, f"r{run}").picture.tasks) for run in range(4)]

    # --- one run -----------------------------------------------------------------------------------------------------------------------

    def test_a_run_is_seen_as_soon_as_it_was_written(self) -> None:
        """A read never waits for the cache."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1"), task_begun("r1", "load:1", 1)))
            first = _must_view(storage, "r1")
            storage.writer.write(batch_of(task_ended("r1", "load:1", 2)))
            second = _must_view(storage, "r1")

            assert ([RUNNING], [SUCCEEDED]) == (_states(first), _states(second))
            assert first.version < second.version

    def test_a_run_nobody_named_is_not_found(self) -> None:
        """None, not an error."""
        with self.opened() as storage:
            assert wait_for(storage.reader.find_run(RunRef("nobody"))) is None
            assert wait_for(storage.reader.view_run(bytes(16))) is None

    def test_source_and_generation_tell_twins_apart(self) -> None:
        """The newest generation is the default."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", generation=1)))
            storage.writer.write(batch_of(run_begun("r1", generation=0)))

            assert run_key(SOURCE, "r1", 1) == wait_for(storage.reader.find_run(RunRef("r1")))
            assert run_key(SOURCE, "r1", 0) == wait_for(storage.reader.find_run(RunRef("r1", SOURCE, 0)))
            assert wait_for(storage.reader.find_run(RunRef("r1", "elsewhere"))) is None

    def test_a_plain_trace_is_a_run_until_a_named_run_claims_it(self) -> None:
        """Provisional: its spans go to the named run, and it is listed no more."""
        with self.opened() as storage:
            storage.writer.write(batch_of(plain_span(7, 2, "load", 1, parent=1), plain_span(7, 1, "GET /", 0)))
            _fold_all(storage)
            before = wait_for(storage.reader.list_runs(RunQuery())).items
            named = run_begun("r1", 0)
            named.trace_id, named.span_id, named.parent_span_id = bytes(15) + b"\x07", bytes(7) + b"\x09", bytes(7) + b"\x01"
            storage.writer.write(batch_of(named))
            _fold_all(storage)
            after = wait_for(storage.reader.list_runs(RunQuery())).items

            assert [(KIND_TRACE, "shop:GET /", {SUCCEEDED: 1})] == [(one.run.kind, one.run.flow_key, one.run.counts) for one in before]
            assert [(KIND_RUN, "r1")] == [(one.run.kind, one.run.run_id) for one in after]

    def test_a_trace_comes_back_as_it_was_written(self) -> None:
        """Nothing is lost between write and re-export."""
        with self.opened() as storage:
            span = plain_span(7, 1, "GET /", 0)
            span.events = [SpanEvent(at(0.5), "note", {"size": 1.0})]
            line = LogLine(span.trace_id, span.span_id, at(0.7), "hello", resource=span.resource, scope=span.scope)
            batch = batch_of(span, line, task_begun("r1", "load:1", 1))
            storage.writer.write(batch)

            facts = wait_for(storage.reader.read_trace(span.trace_id))

            assert batch.spans == facts.spans
            assert batch.logs == facts.logs
            assert {row.resource_id for row in batch.spans} == facts.resources.keys()
            assert "http" == next(iter(facts.scopes.values())).name

    # --- lists -------------------------------------------------------------------------------------------------------------------------

    def test_lists_show_what_the_run_itself_shows(self) -> None:
        """The cache equals the fold."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*_story()))
            _fold_all(storage)

            listed = wait_for(storage.reader.list_runs(RunQuery())).items[0].run
            seen = _must_view(storage, "r1").picture.run

            assert _comparable(seen) == _comparable(listed)

    def test_marks_are_folded_after_a_restart(self) -> None:
        """What a dead process had no time to fold is folded by the next."""
        if not self.durable:
            return
        storage = self.make_storage()
        storage.open()
        storage.writer.write(batch_of(run_begun("r1")))
        storage = self.reopen(storage)
        storage.open()
        _fold_all(storage)

        listed = wait_for(storage.reader.list_runs(RunQuery())).items

        storage.close()
        assert ["r1"] == [one.run.run_id for one in listed]

    def test_pages_of_runs_follow_one_another_whatever_comes_between(self) -> None:
        """Newest first, each once, none left out."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*(run_begun(f"r{number}", number) for number in range(10))))
            _fold_all(storage)
            first = wait_for(storage.reader.list_runs(RunQuery(limit=4)))
            storage.writer.write(batch_of(run_begun("newer", 100)))
            _fold_all(storage)
            second = wait_for(storage.reader.list_runs(RunQuery(limit=4, cursor=first.next_cursor)))
            third = wait_for(storage.reader.list_runs(RunQuery(limit=4, cursor=second.next_cursor)))

            found = [one.run.run_id for page in (first, second, third) for one in page.items]
            assert [f"r{number}" for number in reversed(range(10))] == found
            assert third.next_cursor is None

    def test_a_foreign_cursor_is_refused(self) -> None:
        """Never a narrower answer than was asked for."""
        with self.opened() as storage:
            for cursor in ("", "!", "bm9uc2Vuc2U", "é"):
                assert _raises(BadCursor, storage.reader.list_runs(RunQuery(cursor=cursor)))

    def test_the_catalogue_holds_the_flows_of_named_runs(self) -> None:
        """With counts by state and the newest run; a plain trace makes no flow."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*_story(), run_begun("r2", 50), plain_span(7, 1, "GET /", 0)))
            _fold_all(storage)

            flows = wait_for(storage.reader.list_flows(10, None)).items
            found = wait_for(storage.reader.find_flow("etl"))

            assert ["etl"] == [flow.flow_key for flow in flows]
            assert found is not None
            assert ({FAILED: 1, RUNNING: 1}, "r2") == (found.run_counts, found.latest.run.run_id if found.latest else "")
            assert wait_for(storage.reader.find_flow("nothing")) is None

    def test_runs_are_found_by_kind_and_flow(self) -> None:
        """Filters narrow, and together narrow further."""
        with self.opened() as storage:
            assert wait_for(storage.reader.has_runs()) is False
            storage.writer.write(batch_of(run_begun("r1"), plain_span(7, 1, "GET /", 0)))
            _fold_all(storage)

            def found(**filters: str) -> list[str]:
                return [one.run.kind for one in wait_for(storage.reader.list_runs(RunQuery(**filters))).items]  # type: ignore[arg-type]  # text fields

            assert wait_for(storage.reader.has_runs()) is True
            assert [KIND_RUN] == found(kind=KIND_RUN)
            assert [KIND_TRACE] == found(kind=KIND_TRACE)
            assert [KIND_RUN] == found(flow_key="etl")
            assert [] == found(flow_key="etl", kind=KIND_TRACE)

    # --- logs --------------------------------------------------------------------------------------------------------------------------

    def test_lines_come_in_order_of_time_and_by_level_and_node(self) -> None:
        """A node's lines are those that name it and those of its spans."""
        with self.opened() as storage:
            storage.writer.write(
                batch_of(
                    log_line("r1", "second", 2, "load:1"),
                    log_line("r1", "first", 1),
                    log_line("r1", "third", 3, "load:1", severity=17),
                    task_ended("r1", "load:1", 4),
                )
            )

            assert ["first", "second", "third"] == _messages(storage, "r1", LogQuery())
            assert ["third"] == _messages(storage, "r1", LogQuery(min_severity=13))
            assert ["second", "third"] == _messages(storage, "r1", LogQuery(node="load:1"))
            assert ["first"] == _messages(storage, "r1", LogQuery(node=""))

    def test_events_of_finished_spans_are_lines_too(self) -> None:
        """An exception is a line of level ERROR."""
        with self.opened() as storage:
            end = task_ended("r1", "load:1", 4, c.RESULT_FAILURE)
            end.events = [SpanEvent(at(3), c.EXCEPTION_EVENT, {c.EXCEPTION_TYPE: "ValueError", c.EXCEPTION_MESSAGE: "bad row"})]
            storage.writer.write(batch_of(end))

            assert ["ValueError: bad row"] == _messages(storage, "r1", LogQuery(min_severity=17, node="load:1"))

    def test_pages_of_lines_follow_one_another_from_both_ends(self) -> None:
        """A page is in order of time, whichever end it was asked from."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*(log_line("r1", str(number), number) for number in range(7))))

            forward = _all_pages(storage, newest=False)
            backward = _all_pages(storage, newest=True)

            assert [["0", "1", "2"], ["3", "4", "5"], ["6"]] == forward
            assert [["4", "5", "6"], ["1", "2", "3"], ["0"]] == backward

    # --- news --------------------------------------------------------------------------------------------------------------------------

    def test_news_since_a_cursor_name_every_run_that_got_facts(self) -> None:
        """And nothing before it."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("old")))
            cursor = wait_for(storage.reader.latest_cursor())
            storage.writer.write(batch_of(run_begun("r1"), log_line("r2", "hello", 1)))
            news = wait_for(storage.reader.changes(cursor))
            later = wait_for(storage.reader.changes(news.cursor))

            assert {run_key(SOURCE, "r1"), run_key(SOURCE, "r2")} == set(news.run_keys)
            assert not later.run_keys

    def test_lines_since_a_version_are_the_ones_that_came_after_it(self) -> None:
        """Late lines with early times too."""
        with self.opened() as storage:
            storage.writer.write(batch_of(log_line("r1", "before", 5)))
            version = _must_view(storage, "r1").version
            storage.writer.write(batch_of(log_line("r1", "late", 1)))

            assert ["late"] == _messages(storage, "r1", LogQuery(since_version=version))

    def test_a_cursor_misses_nothing_while_others_write(self) -> None:
        """Read while four threads write: every run is news once it is there."""
        with self.opened() as storage:
            cursor = wait_for(storage.reader.latest_cursor())
            some = [[batch_of(run_begun(f"r{one}-{two}")) for two in range(20)] for one in range(4)]
            threads = [threading.Thread(target=_write_all, args=(storage, batches)) for batches in some]
            found: set[bytes] = set()
            for thread in threads:
                thread.start()
            while True:
                writing = any(thread.is_alive() for thread in threads)
                news = wait_for(storage.reader.changes(cursor))
                found |= set(news.run_keys)
                cursor = news.cursor
                if not writing:
                    break

            assert {run_key(SOURCE, f"r{one}-{two}") for one in range(4) for two in range(20)} == found

    def test_a_cursor_from_elsewhere_asks_for_a_new_snapshot(self) -> None:
        """Resync or BadCursor, never an empty answer."""
        with self.opened() as storage:
            assert _raises((Resync, BadCursor), storage.reader.changes("99999999999"))
            assert _raises((Resync, BadCursor), storage.reader.changes("nonsense"))

    def test_an_open_storage_answers_a_ping(self) -> None:
        """Readiness."""
        with self.opened() as storage:
            wait_for(storage.reader.ping())


# --- what the tests above share ----------------------------------------------------------------------------------------------------------


def _story() -> list[Fact]:
    """One run with everything: two tasks, one of which fails, a line, conflicting ends."""
    return [
        run_begun("r1", 0),
        task_begun("r1", "extract:1", 1),
        task_begun("r1", "load:1", 2),
        task_ended("r1", "extract:1", 3),
        log_line("r1", "rows: 7", 3.5, "load:1"),
        task_ended("r1", "load:1", 4, c.RESULT_FAILURE),
        task_ended("r1", "load:1", 5, c.RESULT_SUCCESS),
        run_ended("r1", 6),
    ]


def _view(storage: Storage, run_id: str) -> RunView | None:
    return wait_for(storage.reader.view_run(run_key(SOURCE, run_id)))


def _must_view(storage: Storage, run_id: str) -> RunView:
    view = _view(storage, run_id)
    assert view is not None
    return view


def _states(view: RunView) -> list[str]:
    return [task.status for task in view.picture.tasks]


def _everything(storage: Storage, run_id: str) -> tuple[Any, ...]:
    """Return a run's picture, lines and facts, without what says only when a copy came."""
    view = _must_view(storage, run_id)
    facts = wait_for(storage.reader.read_trace(run_key(SOURCE, run_id)))
    spans = sorted(facts.spans, key=lambda row: (row.span_id, row.day))
    moments = sorted(facts.moments, key=lambda row: (row.span_id, row.day, row.kind, row.at))
    lines = wait_for(storage.reader.read_logs(run_key(SOURCE, run_id), LogQuery())).items
    return (view.picture, spans, moments, facts.logs, [(line.id, line.message, line.node) for line in lines])


def _messages(storage: Storage, run_id: str, query: LogQuery) -> list[str]:
    return [entry.message for entry in wait_for(storage.reader.read_logs(run_key(SOURCE, run_id), query)).items]


def _all_pages(storage: Storage, *, newest: bool) -> list[list[str]]:
    pages: list[list[str]] = []
    cursor = None
    while True:
        page = wait_for(storage.reader.read_logs(run_key(SOURCE, "r1"), LogQuery(limit=3, newest=newest, cursor=cursor)))
        pages.append([entry.message for entry in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return pages


def _fold_all(storage: Storage) -> None:
    """Fold until nothing waits. A run folded a moment ago is due again a moment later."""
    pause = threading.Event()
    while (wait_s := storage.writer.fold(at(1000))) is not None:
        pause.wait(max(wait_s, 0.0))


def _write_all(storage: Storage, batches: Iterable[Batch]) -> None:
    for batch in batches:
        storage.writer.write(batch)


def _comparable(run: Any) -> tuple[Any, ...]:
    names: Sequence[str] = ("run_id", "source", "kind", "status", "flow_key", "started_ns", "finished_ns", "counts", "error", "tasks_declared")
    return tuple(getattr(run, name) for name in names)


def _raises(kinds: type[Exception] | tuple[type[Exception], ...], answer: Coroutine[Any, Any, Any]) -> bool:
    try:
        wait_for(answer)
    except kinds:
        return True
    return False

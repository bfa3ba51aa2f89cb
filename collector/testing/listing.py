"""The promises of Writer.fold and of the lists of runs: the cache equals the fold, and pages follow one another."""

from __future__ import annotations

from collector.answers import Resync
from collector.picture import KIND_RUN, KIND_TRACE, SUCCEEDED
from collector.questions import LARGEST_PAGE, BadCursor, RunQuery, RunRef
from collector.steady import at, batch_of, plain_span, run_begun, task_ended
from collector.storage import Storage
from collector.testing.opening import OpensStorage
from collector.testing.questions import fold_all, is_refused, listed_runs, shown_in_lists, view_of, wait_for, writing_at_once
from collector.testing.stories import RUN_SPAN, TRACE, begun_in_trace, plain_begun, run_of_flow, story, trace_id_of
from otel_bridge import conventions as c
from otel_bridge.conventions import TRACE_SOURCE
from otel_bridge.facts import ProcessBeat

FOREIGN_CURSORS = ("", "!", "bm9uc2Vuc2U", "é", "MTIz", "W10")

# More than any storage folds in one round.
BURST = 450


class ListPromises(OpensStorage):
    """What fold() and list_runs() do."""

    def test_lists_show_what_the_run_itself_shows(self) -> None:
        """The cache equals the fold."""
        with self.opened() as storage:
            words = {c.PARAMS: {"day": 1}, c.TAGS: ["a"], c.METADATA: {"by": "me"}, c.TASKS_DECLARED: 3}
            storage.writer.write(batch_of(*story(), run_of_flow("r1", "etl", 0, **words)))
            fold_all(storage)

            (listed,) = listed_runs(storage)
            seen = view_of(storage, "r1")

            assert shown_in_lists(seen.run) == shown_in_lists(listed.run)
            assert listed.version <= seen.version

    def test_a_run_folded_while_it_is_written_ends_up_to_date(self) -> None:
        """Facts that come while a fold is under way are folded by the next: their mark is not taken away with the older one."""
        with self.opened() as storage:
            batches = [batch_of(task_ended(f"r{run}", f"t:{node}", node)) for run in range(60) for node in range(3)]
            with writing_at_once(storage, [batches]) as (writer,):
                while writer.is_alive():
                    storage.writer.fold(at(1000))
            fold_all(storage)

            assert [{SUCCEEDED: 3}] * 60 == [one.run.counts for one in listed_runs(storage, RunQuery(limit=60))]

    def test_a_burst_of_new_runs_is_folded_whole(self) -> None:
        """None from fold() means that nothing waits, however much there was."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*(run_begun(f"r{number}", number) for number in range(BURST))))
            fold_all(storage)

            assert BURST == len(listed_runs(storage, RunQuery(limit=LARGEST_PAGE)))

    def test_marks_are_folded_after_a_restart(self) -> None:
        """What a dead process had no time to fold is folded by the next."""
        if not self.durable:
            return
        storage = self.make_storage()
        storage.open()
        storage.writer.write(batch_of(run_begun("r1")))

        with self.reopened(storage) as again:
            fold_all(again)

            assert ["r1"] == [one.run.run_id for one in listed_runs(again)]

    def test_pages_of_runs_follow_one_another_whatever_comes_between(self) -> None:
        """Newest first, each once, none left out."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*(run_begun(f"r{number}", number) for number in range(10))))
            fold_all(storage)
            first = wait_for(storage.reader.list_runs(RunQuery(limit=4)))
            storage.writer.write(batch_of(run_begun("newer", 100)))
            fold_all(storage)
            second = wait_for(storage.reader.list_runs(RunQuery(limit=4, cursor=first.next_cursor)))
            third = wait_for(storage.reader.list_runs(RunQuery(limit=4, cursor=second.next_cursor)))

            found = [one.run.run_id for page in (first, second, third) for one in page.items]
            assert [f"r{number}" for number in reversed(range(10))] == found
            assert third.next_cursor is None

    def test_runs_of_one_instant_are_paged_each_once(self) -> None:
        """A page may end between two runs that began together; filters go on over the pages."""
        with self.opened() as storage:
            others = (run_of_flow("other", "other", -1), plain_span(TRACE, 1, "GET /", -1))
            storage.writer.write(batch_of(*(run_begun(f"r{number}") for number in range(6)), *others))
            fold_all(storage)

            pages = _all_pages(storage, RunQuery(kind=KIND_RUN, flow_key="etl", limit=2))

            assert [2, 2, 2] == [len(page) for page in pages]
            assert {f"r{number}" for number in range(6)} == {run_id for page in pages for run_id in page}

    def test_a_page_holds_at_least_one_run(self) -> None:
        """A limit of nothing would be a list without an end."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1"), run_begun("r2")))
            fold_all(storage)

            assert [1, 1] == [len(page) for page in _all_pages(storage, RunQuery(limit=0))]

    def test_a_foreign_cursor_is_refused(self) -> None:
        """Never a narrower answer than was asked for."""
        with self.opened() as storage:
            for cursor in FOREIGN_CURSORS:
                assert is_refused(BadCursor, storage.reader.list_runs(RunQuery(cursor=cursor))), cursor
                assert is_refused(BadCursor, storage.reader.list_flows(10, cursor)), cursor

    def test_runs_are_found_by_kind_and_flow(self) -> None:
        """Filters narrow, and together narrow further."""
        with self.opened() as storage:
            assert wait_for(storage.reader.has_runs()) is False
            storage.writer.write(batch_of(run_begun("r1"), plain_span(TRACE, 1, "GET /", 0)))
            fold_all(storage)

            def found(query: RunQuery) -> list[str]:
                return [one.run.kind for one in listed_runs(storage, query)]

            assert wait_for(storage.reader.has_runs()) is True
            assert [KIND_RUN] == found(RunQuery(kind=KIND_RUN))
            assert [KIND_TRACE] == found(RunQuery(kind=KIND_TRACE))
            assert [KIND_RUN] == found(RunQuery(flow_key="etl"))
            assert [] == found(RunQuery(flow_key="etl", kind=KIND_TRACE))

    def test_a_list_goes_on_after_any_of_its_runs(self) -> None:
        """A page that lets its last rows go knows where the next page begins."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*(run_begun(f"r{number}", number) for number in range(3))))
            fold_all(storage)
            newest, middle, _ = listed_runs(storage)

            assert ["r1", "r0"] == [one.run.run_id for one in listed_runs(storage, RunQuery(cursor=newest.place))]
            assert ["r0"] == [one.run.run_id for one in listed_runs(storage, RunQuery(cursor=middle.place))]

    def test_what_a_list_does_not_show_yet_is_a_change_after_its_cursor(self) -> None:
        """Though its facts were committed before: what counts is the fold."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1"), run_begun("r2", 1)))
            before = wait_for(storage.reader.list_runs(RunQuery()))
            fold_all(storage)
            changes = wait_for(storage.reader.list_changes(before.cursor))
            after = wait_for(storage.reader.list_runs(RunQuery()))
            nothing = wait_for(storage.reader.list_changes(after.cursor))

            assert ([], ["r2", "r1"]) == (before.items, [one.run.run_id for one in changes.runs])
            assert after.items == changes.runs
            assert ([], []) == (nothing.runs, nothing.gone)

    def test_a_run_that_facts_in_its_trace_change_is_a_change_of_the_lists(self) -> None:
        """They name no run; and the trace that was listed by itself until the run claimed it is listed no more."""
        with self.opened() as storage:
            storage.writer.write(batch_of(plain_span(TRACE, 2, "load", 1, parent=1)))
            fold_all(storage)
            cursor = wait_for(storage.reader.list_runs(RunQuery())).cursor
            storage.writer.write(batch_of(begun_in_trace("r1", 0)))
            fold_all(storage)
            claimed = wait_for(storage.reader.list_changes(cursor))
            storage.writer.write(batch_of(plain_span(TRACE, 3, "save", 2, parent=RUN_SPAN)))
            fold_all(storage)
            changed = wait_for(storage.reader.list_changes(claimed.cursor))

            assert [RunRef(trace_id_of(TRACE).hex(), TRACE_SOURCE, 0)] == claimed.gone
            assert ["r1"] == [one.run.run_id for one in claimed.runs]
            assert [{SUCCEEDED: 1}] == [one.run.counts for one in changed.runs]

    def test_what_time_alone_changes_is_a_change_of_the_lists(self) -> None:
        """No fact came: the fold noticed."""
        with self.opened() as storage:
            facts = (plain_span(TRACE, 1, "GET /", 0), plain_begun(2, 0.5, "p1"), ProcessBeat("p1", at(2), 1000))
            storage.writer.write(batch_of(*facts, received_s=2))
            fold_all(storage, at(3))
            cursor = wait_for(storage.reader.list_runs(RunQuery())).cursor
            fold_all(storage, at(60))

            assert [SUCCEEDED] == [one.run.status for one in wait_for(storage.reader.list_changes(cursor)).runs]

    def test_changes_miss_nothing_while_runs_are_written_and_folded(self) -> None:
        """From page to page of changes, whoever folds: together they are the list."""
        with self.opened() as storage:
            page = wait_for(storage.reader.list_runs(RunQuery(limit=LARGEST_PAGE)))
            seen, cursor = {one.run.run_key: one for one in page.items}, page.cursor
            several = [[batch_of(task_ended(f"r{one}-{run}", f"t:{node}", node)) for run in range(15) for node in range(3)] for one in range(3)]
            with writing_at_once(storage, several) as threads:
                writing = True
                while writing:
                    writing = any(thread.is_alive() for thread in threads)
                    storage.writer.fold(at(1000))
                    changes = wait_for(storage.reader.list_changes(cursor))
                    seen |= {one.run.run_key: one for one in changes.runs}
                    cursor = changes.cursor
            fold_all(storage)
            seen |= {one.run.run_key: one for one in wait_for(storage.reader.list_changes(cursor)).runs}

            assert {one.run.run_key: one for one in listed_runs(storage, RunQuery(limit=LARGEST_PAGE))} == seen

    def test_more_changes_than_a_page_holds_ask_for_a_new_list(self) -> None:
        """Rather than an answer without an end."""
        with self.opened() as storage:
            cursor = wait_for(storage.reader.latest_cursor())
            storage.writer.write(batch_of(*(run_begun(f"r{number}", number) for number in range(LARGEST_PAGE + 1))))
            fold_all(storage)

            assert is_refused(Resync, storage.reader.list_changes(cursor))

    def test_changes_since_a_cursor_from_elsewhere_are_not_told(self) -> None:
        """Resync or BadCursor, never an empty answer."""
        with self.opened() as storage:
            for cursor in ("99999999999", "nonsense", "", "-1", "1.5", "²"):
                assert is_refused((Resync, BadCursor), storage.reader.list_changes(cursor)), cursor


def _all_pages(storage: Storage, query: RunQuery) -> list[list[str]]:
    pages: list[list[str]] = []
    cursor = None
    while True:
        page = wait_for(storage.reader.list_runs(RunQuery(query.kind, query.flow_key, query.limit, cursor)))
        pages.append([one.run.run_id for one in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return pages

"""The promises of Reader about a run that is followed and paged: how much of it a view shows, its news from view to view, its task runs."""

from __future__ import annotations

from collector.answers import RunNews, RunView
from collector.picture import Extent, TaskRun
from collector.questions import LARGEST_PAGE, BadCursor, LogQuery, TaskQuery, ViewQuery
from collector.steady import SOURCE, at, batch_of, log_line, plain_span, run_begun, run_ended, task_begun, task_ended
from collector.storage import Storage
from collector.testing.listing import FOREIGN_CURSORS
from collector.testing.opening import OpensStorage
from collector.testing.questions import fold_all, is_refused, lines_of, view_of, wait_for
from collector.testing.stories import TRACE, plain_line, story, trace_id_of
from otel_bridge import conventions as c
from otel_bridge.facts import Fact
from otel_bridge.identity import run_key


class FollowingPromises(OpensStorage):
    """What read_news() and read_tasks() answer, and view_run() if not all is asked for."""

    def test_news_from_view_to_view_make_the_whole(self) -> None:
        """A watcher that takes each has every task run as it is, and every line once."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", 0)))
            view = view_of(storage, "r1")
            tasks: dict[str, TaskRun] = {}
            lines: list[str] = []
            for fact in story()[1:]:
                storage.writer.write(batch_of(fact))
                news = _news(storage, view)
                view = news.view
                tasks.update((task.node, task) for task in news.tasks)
                lines += [line.id for line in news.lines]

            assert view_of(storage, "r1").tasks == [tasks["extract:1"], tasks["load:1"]]
            assert [line.id for line in lines_of(storage, "r1")] == lines

    def test_news_tell_what_changed_and_nothing_else(self) -> None:
        """A task run that stayed as it was is none."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", 0), task_begun("r1", "a:1", 1), task_begun("r1", "b:1", 1), log_line("r1", "old", 1)))
            view = view_of(storage, "r1")
            storage.writer.write(batch_of(task_ended("r1", "b:1", 2), log_line("r1", "new", 2)))
            news = _news(storage, view)

            assert (["b:1"], ["new"]) == ([task.node for task in news.tasks], [line.message for line in news.lines])

    def test_nothing_is_no_news(self) -> None:
        """Nor is what happened to another run."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", 0), log_line("r1", "old", 1)))
            view = view_of(storage, "r1")
            nothing = wait_for(storage.reader.read_news([view]))
            storage.writer.write(batch_of(run_begun("r2", 0), log_line("r2", "elsewhere", 1)))
            fold_all(storage)
            elsewhere = wait_for(storage.reader.read_news([view])).get(view.run.run_key)

            assert {} == nothing
            assert elsewhere is None or not (elsewhere.tasks or elsewhere.lines)

    def test_an_end_of_the_run_is_news_of_its_open_task_runs(self) -> None:
        """Nobody said that they ended: it follows."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", 0), task_begun("r1", "a:1", 1)))
            view = view_of(storage, "r1")
            storage.writer.write(batch_of(run_ended("r1", 2)))

            assert [("a:1", True)] == [(task.node, task.inferred) for task in _news(storage, view).tasks]

    def test_a_task_run_that_is_no_more_asks_for_a_new_view(self) -> None:
        """Until a trace's root comes, spans whose parent nobody has seen stand for its tasks."""
        with self.opened() as storage:
            storage.writer.write(batch_of(plain_span(TRACE, 3, "inner", 2, parent=2)))
            view = wait_for(storage.reader.view_run(trace_id_of(TRACE)))
            storage.writer.write(batch_of(plain_span(TRACE, 2, "outer", 1, parent=1), plain_span(TRACE, 1, "root", 0)))

            assert view is not None
            assert ["inner"] == [task.task_name for task in view.tasks]
            assert {view.run.run_key: None} == wait_for(storage.reader.read_news([view]))

    def test_more_lines_than_a_page_ask_for_a_new_view(self) -> None:
        """Else a page left open would be sent a whole log."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", 0)))
            view = view_of(storage, "r1")
            storage.writer.write(batch_of(*_lines("r1", 0, LARGEST_PAGE)))
            fits = _news(storage, view)
            storage.writer.write(batch_of(*_lines("r1", LARGEST_PAGE, LARGEST_PAGE + 1)))

            assert LARGEST_PAGE == len(fits.lines)
            assert {view.run.run_key: None} == wait_for(storage.reader.read_news([view]))

    def test_lines_of_a_trace_that_joins_the_run_are_news_then(self) -> None:
        """They came before, and nobody knew whose they were."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", 0), plain_line("early", 1, span=5)))
            view = view_of(storage, "r1")
            joining = plain_span(TRACE, 5, "work", 1)
            joining.work = run_begun("r1").work
            storage.writer.write(batch_of(joining))

            assert ["early"] == [line.message for line in _news(storage, view).lines]

    def test_news_of_many_runs_are_those_of_each(self) -> None:
        """Since views of different moments: of one nothing is new, of one too much, of one a task run is no more."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*(run_begun(run_id, 0) for run_id in ("quiet", "early", "late", "loud", "gone"))))
            storage.writer.write(batch_of(plain_span(TRACE, 3, "inner", 2, parent=2)))
            views = {run_id: view_of(storage, run_id) for run_id in ("quiet", "early", "loud")}
            trace = wait_for(storage.reader.view_run(trace_id_of(TRACE)))
            storage.writer.write(batch_of(task_begun("early", "a:1", 1), log_line("early", "first", 1), log_line("late", "known", 1)))
            views["late"] = view_of(storage, "late")
            storage.writer.write(batch_of(log_line("early", "second", 2), log_line("late", "new", 2), task_begun("late", "b:1", 2)))
            storage.writer.write(batch_of(*_lines("loud", 0, LARGEST_PAGE + 1)))
            storage.writer.write(batch_of(plain_span(TRACE, 2, "outer", 1, parent=1), plain_span(TRACE, 1, "root", 0)))
            assert trace is not None
            told = wait_for(storage.reader.read_news([*views.values(), trace]))

            heard = {news.view.run.run_id: _said(news) for news in told.values() if news is not None}
            assert {"early": (["a:1"], ["first", "second"]), "late": (["b:1"], ["new"])} == {
                run_id: heard.get(run_id) for run_id in ("early", "late")
            }
            assert heard.get("quiet", ([], [])) == ([], [])
            assert (None, None) == (told[run_key(SOURCE, "loud")], told[trace.run.run_key])

    def test_a_view_shows_as_much_as_it_is_asked_for(self) -> None:
        """The failed task runs first, then those at work, then the earliest, in order of start; and what it says of all it says of all."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", 0), *_tasks(), log_line("r1", "first", 1), log_line("r1", "last", 9)))
            shown = _view(storage, ViewQuery(3, LogQuery(newest=True, limit=1)))
            bare = _view(storage, ViewQuery(0))

            assert ["a:1", "open:1", "bad:1"] == [task.node for task in shown.tasks]
            assert (["last"], True) == ([line.message for line in shown.lines.items], shown.lines.next_cursor is not None)
            assert ([], []) == (bare.tasks, bare.lines.items)
            assert {(Extent(at(0), at(8)), "bad:1")} == {(view.extent, view.culprit) for view in (shown, bare)}

    def test_task_runs_are_paged_in_the_order_of_a_view(self) -> None:
        """Whatever the size of the page."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", 0), *_tasks()))
            fold_all(storage)
            view = view_of(storage, "r1")

            for limit in (1, 2, 5, 100):
                assert view.tasks == _all_tasks(storage, limit), limit
            assert view.task_ids == wait_for(storage.reader.read_tasks(run_key(SOURCE, "r1"), TaskQuery())).task_ids

    def test_a_cursor_of_task_runs_is_refused_if_it_is_none(self) -> None:
        """And an unknown run has no task runs."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", 0), task_begun("r1", "a:1", 1)))

            for cursor in FOREIGN_CURSORS:
                assert is_refused(BadCursor, storage.reader.read_tasks(run_key(SOURCE, "r1"), TaskQuery(cursor=cursor))), cursor
            assert [] == wait_for(storage.reader.read_tasks(bytes(16), TaskQuery())).items


def _tasks() -> list[Fact]:
    nodes = ("a:1", "b:1", "c:1")
    begun = [task_begun("r1", node, seconds) for seconds, node in enumerate(nodes, 1)]
    ended = [task_ended("r1", node, 5) for node in nodes]
    return [*begun, *ended, task_begun("r1", "open:1", 4), task_begun("r1", "bad:1", 6), task_ended("r1", "bad:1", 8, c.RESULT_FAILURE)]


def _lines(run_id: str, first: int, end: int) -> list[Fact]:
    return [log_line(run_id, f"line {number}", 1 + number / 1000) for number in range(first, end)]


def _view(storage: Storage, query: ViewQuery) -> RunView:
    view = wait_for(storage.reader.view_run(run_key(SOURCE, "r1"), query))
    assert view is not None
    return view


def _news(storage: Storage, view: RunView) -> RunNews:
    news = wait_for(storage.reader.read_news([view]))[view.run.run_key]
    assert news is not None
    return news


def _said(news: RunNews) -> tuple[list[str], list[str]]:
    return [task.node for task in news.tasks], [line.message for line in news.lines]


def _all_tasks(storage: Storage, limit: int) -> list[TaskRun]:
    found: list[TaskRun] = []
    cursor: str | None = None
    while True:
        page = wait_for(storage.reader.read_tasks(run_key(SOURCE, "r1"), TaskQuery(limit, cursor)))
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found

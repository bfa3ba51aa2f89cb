"""What a reader says of a large run: as it was folded last, in parts, with news from fold to fold. Here every run with a span is large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event

from collector.answers import LogEntry, RunView
from collector.picture import CANCELLED, PAUSED, RUNNING, SUCCEEDED
from collector.questions import LARGEST_PAGE, WHOLE, BadCursor, LogQuery, TaskQuery, ViewQuery
from otel_bridge import conventions as c
from otel_bridge.facts import Fact, SpanEnd, SpanEvent, SpanMoment, Work
from storage_plugins.sql import large_run_owners, run_events
from storage_plugins.sql.arrivals import find_arrivals
from storage_plugins.sql.facts import find_place
from storage_plugins.sql.folding import fold_marks
from storage_plugins.sql.news import horizon
from storage_plugins.sql.pages import to_cursor
from storage_plugins.sql.reader import SqlReader
from tests.builders import MS, R1, RECEIVED_NS, TRACE, at, moment, span, work
from tests.large_runs import Store, Told, tell
from tests.large_views import FEW, ask, fold_now, mark_of, news_of, reader_of
from tests.odd_facts import DAY_MS

RUN = work(c.ROLE_RUN)
MANY = range(12)


def begun(number: int) -> SpanMoment:
    return moment(c.BEGUN, f"load{number}", "etl", ms=number, work=work(c.ROLE_TASK, f"load:{number}", attempt=0))


def ended(number: int, **columns: Any) -> SpanEnd:
    told = replace(work(c.ROLE_TASK, f"load:{number}", attempt=0), flow_key="etl", flow_name="etl")
    return span(f"load{number}", "etl", start=number, end=number + 5, work=told, **columns)


@contextmanager
def counted_rows(connection: Connection) -> Iterator[list[int]]:
    """Note how many rows each statement on a connection brings."""
    counts: list[int] = []

    def count(_: object, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
        counts.append(len(cursor.connection.execute(statement, parameters).fetchall()))

    event.listen(connection, "before_cursor_execute", count)
    yield counts
    event.remove(connection, "before_cursor_execute", count)


def view_of(told: Told, query: ViewQuery = WHOLE) -> RunView:
    view = ask(reader_of(told).view_run(R1, query))
    assert view is not None
    return view


def pages_of_lines(told: Told, query: LogQuery) -> list[list[LogEntry]]:
    page = ask(reader_of(told).read_logs(R1, query))
    if page.next_cursor is None:
        return [page.items]
    return [page.items, *pages_of_lines(told, replace(query, cursor=page.next_cursor))]


def test_a_run_is_shown_as_it_was_folded_last(either_storage: Store) -> None:
    told = tell(either_storage, [begun(number) for number in MANY])
    fold_now(told, R1)
    told.write([ended(number) for number in MANY])
    before = view_of(told)
    fold_now(told, R1)
    after = view_of(told)

    assert [True, True] == [before.is_large, after.is_large]
    assert [{RUNNING: 12}, {SUCCEEDED: 12}] == [before.run.counts, after.run.counts]
    assert [{RUNNING}, {SUCCEEDED}] == [{task.status for task in view.tasks} for view in (before, after)]
    assert before.version < after.version


def test_a_page_shows_the_failed_first_then_those_at_work(either_storage: Store) -> None:
    failed = [ended(number, result="failure", status_code=2) for number in (9, 10)]
    told = tell(either_storage, [*failed, begun(11), *[ended(number) for number in MANY[:9]], moment(c.BEGUN, "etl", work=RUN)])
    fold_now(told, R1)

    shown = [[task.node for task in view_of(told, ViewQuery(most)).tasks] for most in (2, 3, 4)]

    assert [["load:9", "load:10"], ["load:9", "load:10", "load:11"], ["load:0", "load:9", "load:10", "load:11"]] == shown


def test_the_lines_of_a_view_are_those_of_its_fold(either_storage: Store) -> None:
    told = tell(either_storage, [ended(1, events=[SpanEvent(at(2), "first")])])
    fold_now(told, R1)
    told.write([ended(2, events=[SpanEvent(at(3), "second")])])

    lines = [line.message for line in view_of(told, FEW).lines.items]
    news = [line.message for line in ask(reader_of(told).read_logs(R1, LogQuery(since=view_of(told).cursor))).items]

    assert (["first"], ["second"]) == (lines, news)


def test_nothing_is_news_until_a_large_run_is_folded_again(either_storage: Store) -> None:
    told = tell(either_storage, [begun(number) for number in MANY])
    fold_now(told, R1)
    before = view_of(told)
    told.write([ended(1, events=[SpanEvent(at(3), "done")])])
    unfolded = ask(reader_of(told).read_news([before]))
    fold_now(told, R1)
    news = ask(reader_of(told).read_news([before]))[R1]

    assert {} == unfolded
    assert news is not None
    assert (["load:1"], ["done"], 12) == ([task.node for task in news.tasks], [line.message for line in news.lines], len(news.view.tasks))
    assert {} == ask(reader_of(told).read_news([news.view]))


# R089
@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        (begun(1), span("load1", "etl", end=9), SUCCEEDED),
        (begun(1), span("load1", "etl", end=9, work=work(c.ROLE_PART)), SUCCEEDED),
        (begun(1), moment(c.PAUSED, "load1", "etl", ms=5), PAUSED),
        (begun(1), moment(c.CANCELLED, "load1", "etl", ms=5), CANCELLED),
        (replace(begun(1), kind=c.ANNOUNCED), moment(c.BEGUN, "load1", "etl", ms=5), RUNNING),
        (ended(1), moment(c.CANCELLED, "load1", "etl", ms=3), CANCELLED),
    ],
)
def test_a_fact_that_leaves_out_what_another_says_of_its_span_is_news_too(either_storage: Store, before: Fact, after: Fact, state: str) -> None:
    told = tell(either_storage, [moment(c.BEGUN, "etl", work=RUN), before, begun(2)])
    fold_now(told, R1)
    view = view_of(told)
    told.write([after])
    fold_now(told, R1)

    news = news_of(told, view)

    assert news is not None
    assert [("load:1", state)] == [(task.node, task.status) for task in news.tasks]
    assert view_of(told).tasks == news.view.tasks


# R089
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([span("query", "etl")], [begun(1), begun(2)]),
        ([ended(1), ended(2)], [replace(ended(1), end_ns=at(50), work=replace(ended(1).work, node="load:3"))]),
        ([ended(1), ended(2)], [replace(ended(1), end_ns=at(50), work=Work()), ended(3)]),
        ([ended(1)], [replace(ended(1), end_ns=at(50), work=Work())]),
    ],
)
def test_a_run_of_which_a_task_run_is_no_more_is_asked_for_anew(either_storage: Store, before: list[Fact], after: list[Fact]) -> None:
    """The first task makes plain spans none; of two ends of a span the longer one says what it is."""
    told = tell(either_storage, [moment(c.BEGUN, "etl", work=RUN), *before])
    fold_now(told, R1)
    view = view_of(told)
    told.write(after)
    fold_now(told, R1)

    assert view.is_large
    assert news_of(told, view) is None


# R089
def test_new_task_runs_beyond_those_a_view_shows_are_news_without_a_new_view(either_storage: Store) -> None:
    told = tell(either_storage, [moment(c.BEGUN, "etl", work=RUN), *[begun(number) for number in MANY]])
    fold_now(told, R1)
    view = view_of(told, ViewQuery(3))
    told.write([ended(7), ended(12)])
    fold_now(told, R1)

    news = news_of(told, view)

    assert news is not None
    assert ["load:7", "load:12"] == [task.node for task in news.tasks]


def test_a_run_that_ends_is_asked_for_anew(either_storage: Store) -> None:
    told = tell(either_storage, [begun(number) for number in MANY])
    fold_now(told, R1)
    before = view_of(told)
    told.write([span("etl", work=RUN, end=99)])
    fold_now(told, R1)

    assert news_of(told, before) is None
    assert {"CANCELLED"} == {task.status for task in view_of(told).tasks}


def test_a_run_that_becomes_large_is_asked_for_anew(either_storage: Store) -> None:
    told = tell(either_storage, [begun(1)])
    small = SqlReader(either_storage.snapshot, told.project, large_facts=1)
    before = ask(small.view_run(R1))
    told.write([begun(2)])
    assert before is not None

    assert {R1: None} == ask(small.read_news([before]))
    assert [False, True] == [before.is_large, view_of(told).is_large]


def test_more_news_than_a_message_holds_are_asked_for_anew(either_storage: Store) -> None:
    told = tell(either_storage, [begun(1)])
    fold_now(told, R1)
    before = view_of(told)
    told.write([begun(number) for number in range(2, LARGEST_PAGE + 3)])
    fold_now(told, R1)

    assert {R1: None} == ask(reader_of(told).read_news([before]))


def test_no_more_of_what_came_is_read_than_tells_that_a_run_became_large(either_storage: Store) -> None:
    told = tell(either_storage, [begun(1)])
    with either_storage.snapshot() as connection:
        claims, place = find_place(connection, told.project, R1)
        since = horizon(connection)
    told.write([*[begun(number) for number in MANY], *[ended(number) for number in MANY]])

    with either_storage.snapshot() as connection, counted_rows(connection) as counts:
        found = find_arrivals(connection, told.project, [claim.trace_id for claim in claims], place.days, since, 3)

    assert found is None
    assert [4, 4] == counts


def test_a_run_only_the_fold_can_tell_is_shown_as_a_small_one(either_storage: Store) -> None:
    told = tell(either_storage, [begun(1), span("inner", "etl", work=work(c.ROLE_RUN, run_id="r2"))])
    fold_now(told, R1)
    before = view_of(told)
    told.write([ended(1)])

    news = ask(reader_of(told).read_news([before]))[R1]

    assert not before.is_large
    assert news is not None
    assert [SUCCEEDED] == [task.status for task in news.tasks]


# R018
def test_the_catalogue_learns_from_a_large_run_what_it_learns_from_a_small_one(either_storage: Store) -> None:
    words = [{c.TASK_DESCRIPTION: f"the {number}th"} for number in MANY]
    facts = [ended(number, attributes=words[number]) for number in MANY]
    told = tell(either_storage, [*facts, span("etl", work=replace(RUN, flow_key="etl", flow_name="etl"))])
    learnt = []
    for large_facts in (0, 1_000):
        with either_storage.snapshot() as connection:
            (folded,) = fold_marks(connection, [mark_of(told, R1)], RECEIVED_NS, large_facts).folded
            learnt.append({task.task_key: task for task in folded.picture.tasks})

    assert learnt[0] == learnt[1]
    assert {"load": "the 11th"} == {key: task.description for key, task in learnt[0].items()}


def test_a_span_nested_deeper_than_anybody_walks_has_its_owner(either_storage: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_run_owners, "MOST_LEVELS", 2)
    nested = [span(f"n{number}", f"n{number - 1}" if number else "load1", start=number) for number in range(5)]
    nested[-1].events = [SpanEvent(at(9), "deep")]
    told = tell(either_storage, [ended(1), *nested])
    fold_now(told, R1)

    assert ["load:1"] == [line.node for line in view_of(told, FEW).lines.items]


def test_a_cursor_of_task_runs_that_names_no_span_is_refused(either_storage: Store) -> None:
    """The node of a task run that nobody named is its span's id."""
    told = tell(either_storage, [span("etl"), *[span(f"query{number}", "etl") for number in MANY]])
    fold_now(told, TRACE)

    with pytest.raises(BadCursor):
        ask(reader_of(told).read_tasks(TRACE, TaskQuery(2, to_cursor((5, "load:1")))))


@pytest.mark.parametrize(("newest", "before_ms", "after_ms"), [(False, 0, 9), (True, 9, 0)])
def test_events_of_a_span_that_ended_on_two_days_are_read_from_both_ends(
    either_storage: Store, monkeypatch: pytest.MonkeyPatch, *, newest: bool, before_ms: int, after_ms: int
) -> None:
    """Both begin with the same event, and between them a step of reading ends, as do those that are kept with the run."""
    monkeypatch.setattr(run_events, "MOST_KEPT", 2)
    both, one = SpanEvent(at(5), "both"), SpanEvent(at(after_ms), "one")
    ends = [ended(1, events=[both, one] if newest else [both]), ended(1, events=[both] if newest else [both, one])]
    ends[1].start_ns += DAY_MS * MS
    told = tell(either_storage, [ended(2, events=[SpanEvent(at(before_ms), "other")]), *ends])
    fold_now(told, R1)

    pages = pages_of_lines(told, LogQuery(limit=1, newest=newest))

    assert [["other"], ["both"], ["one"]] == [[line.message for line in page] for page in pages]

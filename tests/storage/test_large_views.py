"""What a reader says of a large run: as it was folded last, in parts, with news from fold to fold. Here every run with a span is large."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from collector.answers import Resync, RunView
from collector.picture import RUNNING, SUCCEEDED
from collector.questions import LARGEST_PAGE, WHOLE, LogQuery, ViewQuery
from otel_bridge import conventions as c
from otel_bridge.facts import SpanEnd, SpanEvent, SpanMoment
from storage_plugins.sql import large_run_owners
from storage_plugins.sql.folding import fold_marks
from storage_plugins.sql.reader import SqlReader
from tests.builders import R1, RECEIVED_NS, at, moment, span, work
from tests.large_runs import Store, Told, tell
from tests.large_views import FEW, ask, fold_now, mark_of, news_of, reader_of

RUN = work(c.ROLE_RUN)
MANY = range(12)


def begun(number: int) -> SpanMoment:
    return moment(c.BEGUN, f"load{number}", "etl", ms=number, work=work(c.ROLE_TASK, f"load:{number}", attempt=0))


def ended(number: int, **columns: Any) -> SpanEnd:
    told = replace(work(c.ROLE_TASK, f"load:{number}", attempt=0), flow_key="etl", flow_name="etl")
    return span(f"load{number}", "etl", start=number, end=number + 5, work=told, **columns)


def view_of(told: Told, query: ViewQuery = WHOLE) -> RunView:
    view = ask(reader_of(told).view_run(R1, query))
    assert view is not None
    return view


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
    unfolded = ask(reader_of(told).read_news(before))
    fold_now(told, R1)
    news = ask(reader_of(told).read_news(before))

    assert unfolded is None
    assert news is not None
    assert (["load:1"], ["done"], 12) == ([task.node for task in news.tasks], [line.message for line in news.lines], len(news.view.tasks))
    assert ask(reader_of(told).read_news(news.view)) is None


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

    with pytest.raises(Resync):
        ask(small.read_news(before))
    assert [False, True] == [before.is_large, view_of(told).is_large]


def test_more_news_than_a_message_holds_are_asked_for_anew(either_storage: Store) -> None:
    told = tell(either_storage, [begun(1)])
    fold_now(told, R1)
    before = view_of(told)
    told.write([begun(number) for number in range(2, LARGEST_PAGE + 3)])
    fold_now(told, R1)

    with pytest.raises(Resync):
        ask(reader_of(told).read_news(before))


def test_a_run_only_the_fold_can_tell_is_shown_as_a_small_one(either_storage: Store) -> None:
    told = tell(either_storage, [begun(1), span("inner", "etl", work=work(c.ROLE_RUN, run_id="r2"))])
    fold_now(told, R1)
    before = view_of(told)
    told.write([ended(1)])

    news = ask(reader_of(told).read_news(before))

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

"""Runs followed together from their views: told is what opening each anew would tell, and a look costs the same whatever their number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from sqlalchemy import event, update

from collector.answers import RunNews, RunView
from collector.questions import LARGEST_PAGE
from collector.steady import SOURCE, log_line, run_begun, run_ended, task_begun, task_ended
from collector.testing.questions import fold_all
from otel_bridge import conventions as c
from otel_bridge.facts import Fact, ProcessBeat
from otel_bridge.identity import run_key
from storage_plugins.sql.followed_runs import follow_runs
from storage_plugins.sql.large_runs import LARGE_FACTS
from storage_plugins.sql.reader import SqlReader
from storage_plugins.sql.small_views import Kept
from storage_plugins.sql.tables import RunEntry, table_of
from storage_plugins.sql.views import read_news
from tests.builders import R1, TRACE, at, span, work
from tests.large_runs import Store, Told, tell
from tests.large_views import ask
from tests.odd_lines import odd_facts_with_lines

R2 = run_key(c.DEFAULT_SOURCE, "r2")
RUN_IDS = [f"r{number}" for number in range(10)]
KEYS = [run_key(SOURCE, run_id) for run_id in RUN_IDS]


def _reader(told: Told) -> SqlReader:
    return SqlReader(told.storage.snapshot, told.project)


def _views(told: Told, keys: Iterable[bytes]) -> list[RunView]:
    return [view for key in keys if (view := ask(_reader(told).view_run(key))) is not None]


def _can_be_followed(told: Told, views: list[RunView]) -> set[bytes]:
    with told.storage.snapshot() as connection:
        return set(follow_runs(connection, told.project, views, LARGE_FACTS))


def _opened_anew(told: Told, views: Iterable[RunView]) -> dict[bytes, RunNews | None]:
    return _plain(ask(_reader(told).read_news([replace(view, kept=None) for view in views])))


def _plain(told: Mapping[bytes, RunNews | None]) -> dict[bytes, RunNews | None]:
    """Return news without what the storage keeps with a view for itself."""
    return {key: None if news is None else replace(news, view=replace(news.view, kept=None)) for key, news in told.items()}


# R089
@given(
    before=odd_facts_with_lines(run_ids=("r1", "r2")),
    between=odd_facts_with_lines(run_ids=("r1", "r2")),
    after=odd_facts_with_lines(run_ids=("r1", "r2")),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_news_of_followed_runs_are_those_of_runs_opened_anew(
    either_storage: Store, before: list[Fact], between: list[Fact], after: list[Fact]
) -> None:
    """One is followed from an earlier moment than the others, and spans of several may be in one trace."""
    told = tell(either_storage, [*before, span("etl", work=work(c.ROLE_RUN)), span("other", work=work(c.ROLE_RUN, run_id="r2"))])
    earlier = _views(told, [R1])
    told.write(between)
    views = [*earlier, *_views(told, [R2, TRACE])]
    told.write(after)

    assert _opened_anew(told, views) == _plain(ask(_reader(told).read_news(views)))


# R089
def test_a_followed_run_is_as_alive_as_one_opened_anew(either_storage: Store) -> None:
    """Its process says that it ends: that is no fact of the run."""
    begun = run_begun("r1")
    begun.process = "p1"
    told = tell(either_storage, [begun, ProcessBeat("p1", at(1), 5000)])
    views = _views(told, [R1])
    told.write([ProcessBeat("p1", at(2), exited=True), log_line("r1", "bye", 2)])

    assert {R1} == _can_be_followed(told, views)
    assert _opened_anew(told, views) == _plain(ask(_reader(told).read_news(views)))


# R089
def test_a_followed_run_is_folded_again_when_its_time_has_come(either_storage: Store) -> None:
    told = tell(either_storage, [run_begun("r1")])
    views = _views(told, [R1])
    anew = [replace(view, kept=None) for view in views]
    kept = views[0].kept
    assert isinstance(kept, Kept)
    kept.picture.run = replace(kept.picture.run, error="as it was then", recheck_ns=1)
    told.write([log_line("r1", "hello", 2)])

    assert {R1} == _can_be_followed(told, views)
    assert _opened_anew(told, anew) == _plain(ask(_reader(told).read_news(views)))


# R089 R156
def test_a_run_that_was_frozen_meanwhile_stays_as_it_was(either_storage: Store) -> None:
    told = tell(either_storage, [run_begun("r1"), task_begun("r1", "a:1", 1)])
    fold_all(either_storage)
    views = _views(told, [R1])
    with told.storage.writer._cache.begin() as connection:
        connection.execute(update(table_of(RunEntry)).where(table_of(RunEntry).c.project == told.project).values(frozen=1))
    told.write([run_ended("r1", 3)])

    assert _opened_anew(told, views) == _plain(ask(_reader(told).read_news(views)))


# R089
def test_a_look_at_ten_runs_costs_as_many_statements_as_at_one(either_storage: Store) -> None:
    told = tell(either_storage, (fact for run_id in RUN_IDS for fact in (run_begun(run_id), task_begun(run_id, "a:1", 1))))
    fold_all(either_storage)  # before that each asks for the ids of its tasks, which nobody has given yet
    views = _views(told, KEYS)
    told.write([fact for run_id in RUN_IDS for fact in (log_line(run_id, "hello", 2), task_ended(run_id, "a:1", 3))])

    one, few = _count_statements(told, views[:1])
    ten, many = _count_statements(told, views)

    assert (1, 10) == (one, ten)
    assert few == many < 12


# R089
def test_more_lines_than_are_read_together_are_told_all_the_same(either_storage: Store) -> None:
    told = tell(either_storage, (fact for run_id in RUN_IDS[:3] for fact in (run_begun(run_id), task_begun(run_id, "a:1", 1))))
    views = _views(told, KEYS[:3])
    told.write([log_line(run_id, str(number), 2) for run_id in RUN_IDS[:3] for number in range(LARGEST_PAGE)])

    news = ask(_reader(told).read_news(views))

    assert [LARGEST_PAGE] * 3 == [len(one.lines) for one in news.values() if one is not None]


def _count_statements(told: Told, views: list[RunView]) -> tuple[int, int]:
    """Read news; return of how many runs there are any, and how many statements that took."""
    statements: list[str] = []

    def note(*asked: Any) -> None:
        statements.append(asked[2])

    with told.storage.snapshot() as connection:
        event.listen(connection, "before_cursor_execute", note)
        news = read_news(connection, told.project, views, LARGE_FACTS)
        event.remove(connection, "before_cursor_execute", note)
    return len(news), len(statements)

"""The attempts of a task run: from spans, from numbers, from retry notices."""

from __future__ import annotations

from typing import Any

from collector.picture import CANCELLED, FAILED, PENDING, RUNNING, SUCCEEDED, TaskRun
from otel_bridge import conventions as c
from otel_bridge.facts import SpanEnd
from tests.builders import at, event, moment, picture_of, picture_of_facts, span, task_of, work


def tried(name: str, *, attempt: int | None, role: str = c.ROLE_ATTEMPT, **columns: Any) -> SpanEnd:
    """Make a span that is a try of flaky:1."""
    return span(name, work=work(role, "flaky:1", attempt=attempt), **columns)


def flaky(name: str, ms: int | None = None, node: int = 1, **fields: Any) -> dict[str, Any]:
    return event(f"task_{name}", ms, task="flaky", node=f"flaky:{node}", **fields)


def nodeless(ms: int | None, number: int | None = 1, **fields: Any) -> dict[str, Any]:
    return event("task_retry", ms, task="flaky", **({} if number is None else {"attempt": number, "max": 3}), **fields)


def tries(task: TaskRun) -> list[tuple[int, str]]:
    return [(one.number, one.status) for one in task.attempts]


def intervals(task: TaskRun) -> list[tuple[int, int]]:
    return [(one.started_ns, one.finished_ns) for one in task.attempts]


# --- from spans ------------------------------------------------------------------------------------------------------------------------


# R072
def test_numbered_spans_are_the_attempts_beside_the_task_runs_own() -> None:
    own = span("own", work=work(c.ROLE_TASK, "flaky:1", attempt=0), start=0, end=9, result="success")
    first, second = (
        tried("t1", attempt=1, start=1, end=4, result="failure", status_message="no", status_code=2),
        tried("t2", attempt=2, start=5, end=8),
    )

    task = task_of(picture_of_facts(second, own, first), "flaky:1")

    assert [(1, FAILED), (2, SUCCEEDED)] == tries(task)
    assert (SUCCEEDED, 2, ["no", ""]) == (task.status, task.attempt, [one.error for one in task.attempts])


# R072
def test_the_greatest_attempts_end_speaks_for_a_task_run_without_a_span_of_its_own() -> None:
    first, second = tried("t1", attempt=1, start=1, end=4, result="failure"), tried("t2", attempt=2, start=5, end=8, result="success")

    task = task_of(picture_of_facts(second, first), "flaky:1")

    assert (SUCCEEDED, at(1), at(8)) == (task.status, task.started_ns, task.finished_ns)


# R072
def test_an_attempt_that_says_another_follows_does_not_end_the_task_run() -> None:
    numbered = tried("t1", attempt=1, start=1, end=4, result="retry")
    unnumbered = tried("t1", attempt=None, role=c.ROLE_TASK, start=1, end=4, result="retry")

    for one in (numbered, unnumbered):
        task = task_of(picture_of_facts(one), "flaky:1")
        assert (RUNNING, [(1, FAILED)], 0) == (task.status, tries(task), task.finished_ns)


def test_one_span_without_a_number_is_the_task_run_itself() -> None:
    task = task_of(picture_of_facts(tried("own", attempt=None, role=c.ROLE_TASK, end=5)), "flaky:1")

    assert (SUCCEEDED, 1, []) == (task.status, task.attempt, tries(task))


# R072
def test_several_spans_without_a_number_are_attempts_in_order_of_start() -> None:
    later = tried("a", attempt=None, role=c.ROLE_TASK, start=5, end=8, status_code=c.STATUS_OK)
    earlier = tried("b", attempt=None, role=c.ROLE_TASK, start=1, end=4, status_code=c.STATUS_ERROR)

    task = task_of(picture_of_facts(later, earlier), "flaky:1")

    assert [(1, FAILED), (2, SUCCEEDED)] == tries(task)
    assert (SUCCEEDED, 2) == (task.status, task.attempt)


# R023 R072
def test_one_attempt_reported_by_two_spans_is_one_attempt() -> None:
    begun = moment(c.BEGUN, "live", work=work(c.ROLE_ATTEMPT, "flaky:1", attempt=1), ms=2)

    task = task_of(picture_of_facts(begun, tried("t1", attempt=1, start=1, end=4, result="success")), "flaky:1")

    assert (SUCCEEDED, [(1, SUCCEEDED)], [(at(1), at(4))]) == (task.status, tries(task), intervals(task))


# R040
def test_an_attempt_that_was_announced_is_pending_and_its_task_run_runs() -> None:
    attempt = moment(c.ANNOUNCED, "t1", work=work(c.ROLE_ATTEMPT, "flaky:1", attempt=1))

    task = task_of(picture_of_facts(attempt), "flaky:1")

    assert (RUNNING, [(1, PENDING)]) == (task.status, tries(task))


# R072
def test_open_attempts_of_a_task_run_that_is_over_are_closed_with_it() -> None:
    first, second = (moment(c.BEGUN, f"t{number}", ms=number, work=work(c.ROLE_ATTEMPT, "flaky:1", attempt=number)) for number in (1, 2))
    own = span("own", work=work(c.ROLE_TASK, "flaky:1", attempt=0), end=9, result="success")

    task = task_of(picture_of_facts(first, second, own), "flaky:1")

    assert [(1, FAILED), (2, SUCCEEDED)] == tries(task)
    assert at(9) == task.attempts[-1].finished_ns


# --- from retry notices ----------------------------------------------------------------------------------------------------------------


# R072
def test_a_retry_that_names_its_node_ends_one_try_and_begins_the_next() -> None:
    picture = picture_of(flaky("started", 1), flaky("retry", 3, attempt=1, error="E('one')"), flaky("retry", 6, attempt=2), flaky("ok", 9))

    task = task_of(picture, "flaky:1")
    assert [(1, FAILED), (2, FAILED), (3, SUCCEEDED)] == tries(task)
    assert [(at(1), at(3)), (at(3), at(6)), (at(6), at(9))] == intervals(task)
    assert (3, ["E('one')", "", ""]) == (task.attempt, [one.error for one in task.attempts])


# R072
def test_after_a_retry_the_newest_try_runs() -> None:
    task = task_of(picture_of(flaky("started", 1), flaky("retry", 3, attempt=1)), "flaky:1")

    assert (RUNNING, 2, [(1, FAILED), (2, RUNNING)]) == (task.status, task.attempt, tries(task))


# R009 R072
def test_a_task_run_known_by_a_retry_alone_is_running() -> None:
    assert RUNNING == task_of(picture_of(flaky("retry", 3, attempt=1)), "flaky:1").status


# R005 R072
def test_a_retry_without_a_node_is_given_to_the_only_open_node_of_its_task() -> None:
    picture = picture_of(flaky("started", 1), flaky("ok", 2), flaky("started", 3, node=2), event("task_started", 3, task="other"), nodeless(4))

    assert [] == tries(task_of(picture, "flaky:1"))
    assert [(1, FAILED), (2, RUNNING)] == tries(task_of(picture, "flaky:2"))


# R005 R072
def test_a_retry_without_a_node_is_nobodys_while_several_nodes_of_its_task_are_open() -> None:
    picture = picture_of(flaky("started", 1), flaky("started", 2, node=2), nodeless(3))

    assert [[], []] == [tries(task) for task in picture.tasks]


# R005 R072
def test_a_node_that_only_waits_is_not_open_for_a_retry() -> None:
    picture = picture_of(flaky("started", 1), flaky("queued", 1, node=2), flaky("announced", 1, node=3), nodeless(3))

    assert 2 == task_of(picture, "flaky:1").attempt


# R005 R072
def test_first_retries_of_two_nodes_that_ran_one_after_the_other_are_both_kept() -> None:
    one = [flaky("started", 1), nodeless(2), flaky("ok", 3)]
    other = [flaky("started", 4, node=2), nodeless(5), flaky("ok", 6, node=2)]

    picture = picture_of(*one, *other)

    assert [2, 2] == [task.attempt for task in picture.tasks]


# R011 R072
def test_a_retry_that_comes_after_its_node_has_ended_is_given_by_its_time() -> None:
    picture = picture_of(flaky("started", 1), flaky("ok", 9), flaky("started", 11, node=2), nodeless(5))

    assert [2, 1] == [task.attempt for task in picture.tasks]


# R010 R072
def test_a_retry_told_twice_is_one_try() -> None:
    twice = [flaky("retry", 3, attempt=1), flaky("retry", 4, attempt=1), nodeless(5), nodeless(5)]

    task = task_of(picture_of(flaky("started", 1), *twice), "flaky:1")

    assert [(at(1), at(3)), (at(3), 0)] == intervals(task)


# R072
def test_retries_without_numbers_are_counted_in_order_of_time() -> None:
    task = task_of(picture_of(nodeless(5, None), flaky("started", 1), nodeless(3, None), flaky("ok", 9)), "flaky:1")

    assert [(at(1), at(3)), (at(3), at(5)), (at(5), at(9))] == intervals(task)


# R015 R072
def test_a_retrys_absurd_number_counts_as_none() -> None:
    for number in (0, 10**30, "second", True, -1, 1.5e300):
        assert 2 == task_of(picture_of(flaky("started", 1), flaky("retry", 3, attempt=number)), "flaky:1").attempt


# R013 R072
def test_the_last_try_of_a_run_that_is_over_is_closed_with_its_task_run() -> None:
    for open_event in ("started", "paused"):
        picture = picture_of(flaky(open_event, 1), flaky("retry", 3, attempt=1), event("flow_failed", 9))
        assert [(1, FAILED), (2, CANCELLED)] == tries(task_of(picture, "flaky:1"))


# R072
def test_a_notice_of_a_try_that_has_its_own_span_adds_nothing() -> None:
    own = moment(c.BEGUN, "own", work=work(c.ROLE_TASK, "flaky:1", attempt=0))
    notice = moment(c.RETRIED, "own", ms=4, work=work(c.ROLE_TASK, "flaky:1", attempt=0), attributes={c.ATTEMPT: 1})
    spans = [tried("t1", attempt=1, start=1, end=4, result="retry"), tried("t2", attempt=2, start=5, end=8, result="success")]

    assert [(1, FAILED), (2, SUCCEEDED)] == tries(task_of(picture_of_facts(own, notice, *spans), "flaky:1"))

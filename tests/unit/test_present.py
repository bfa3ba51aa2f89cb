"""What the read API and the templates say of the model."""

from __future__ import annotations

import math

import pytest

from collector.answers import FlowSummary, Heard, LogEntry, RunSummary, RunView
from collector.picture import FAILED, PENDING, RUNNING, SUCCEEDED, Attempt, Run, TaskRun, choose_tasks, culprit_of, extent_of
from viewer import schemas
from viewer.addresses import run_address
from viewer.display import head_of, log_row
from viewer.present import LOST, STALE, browser_safe, flow_data, hint_of, log_data, run_data, summary_of, task_data
from viewer.texts import clip, duration_text
from viewer.waterfall import MOST_ROWS, row_id, task_line, window_of

SECOND = 10**9
START = 1_700_000_000 * SECOND


def make_run(status: str = RUNNING, run_id: str = "r1") -> Run:
    return Run(bytes(16), "flowspan", run_id, 0, "run", status, flow_key="app:etl", flow_name="etl", started_ns=START)


def make_view(run: Run, *tasks: TaskRun) -> RunView:
    extent, culprit = extent_of(run, tasks), culprit_of(tasks)
    return RunView(run, list(tasks), 7, "c", Heard(), "flow-id", {"load": "task-id"}, extent, culprit)


def make_task(node: str, status: str = RUNNING, started_s: int = 0, finished_s: int = 0) -> TaskRun:
    finished_ns = START + finished_s * SECOND if finished_s else 0
    return TaskRun(node, "load", "load", status, START + started_s * SECOND, finished_ns)


# R060, R119
def test_a_run_is_told_in_the_declared_fields_and_no_others() -> None:
    run = make_run()
    run.params, run.tasks_declared, run.counts, run.trace_ids = {"a": 1}, 4, {RUNNING: 3}, [bytes(16)]

    data = run_data(summary_of(make_view(run)), None)

    assert data == schemas.Run.model_validate(data).model_dump()
    assert ("flow-id", 4, 3) == (data["flow_id"], data["tasks_total"], data["tasks_reported"])


# R166
def test_the_head_of_a_run_leads_to_the_task_run_it_was_started_in() -> None:
    run = make_run()
    run.metadata = {"flowspan.parent.run.id": "outer/1", "flowspan.parent.node": "call:1"}
    view = make_view(run)

    parent = head_of(view, summary_of(view), None, window_of(view, START)).parent

    assert parent is not None
    assert (f"/runs/outer%2F1#{row_id('call:1')}", "outer/1", "call:1") == (parent.href, parent.run_id, parent.node)


@pytest.mark.parametrize("metadata", [None, "text", [1], {"flowspan.parent.run.id": 7}, {"flowspan.parent.node": "call:1"}])
def test_a_run_that_names_no_parent_in_text_has_none(metadata: object) -> None:
    run = make_run()
    run.metadata = metadata
    view = make_view(run)

    assert head_of(view, summary_of(view), None, window_of(view, START)).parent is None


# R014
def test_without_a_declared_number_the_total_is_what_was_reported() -> None:
    run = make_run()
    run.counts = {SUCCEEDED: 2, FAILED: 1}

    data = run_data(RunSummary(run, 1, Heard()), None)

    assert (3, None) == (data["tasks_total"], data["tasks_declared"])


# R061, R120
def test_a_task_run_is_told_in_the_declared_fields_and_no_others() -> None:
    task = make_task("load:1", FAILED, 1, 3)
    task.attempts, task.priority, task.error = [Attempt(1, FAILED, START, START + 1, "boom")], 2**60, "boom"

    data = task_data(task, "r1", "task-id")

    assert data == schemas.TaskRun.model_validate(data).model_dump()
    assert ("load:1", "task-id", 2000.0, str(2**60)) == (data["id"], data["task_id"], data["duration_ms"], data["priority"])


# R062
def test_a_log_line_is_told_in_the_declared_fields_and_no_others() -> None:
    entry = LogEntry("id", START, 9, "", "hello", "", "", {"n": math.nan})

    data = log_data(entry, "r1")

    assert data == schemas.LogLine.model_validate(data).model_dump()
    assert ("INFO", None, {"n": "NaN"}) == (data["level"], data["task_node"], data["payload"])


# R058, R121
def test_a_flow_is_told_in_the_declared_fields_and_no_others() -> None:
    flow = FlowSummary("id", "app:etl", "etl", "", [], START, START, {SUCCEEDED: 2, FAILED: 1}, None)

    data = flow_data(flow, None)

    assert data == schemas.Flow.model_validate(data).model_dump()
    assert 3 == data["runs_total"]


# R015
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (2**53 - 1, 2**53 - 1),
        (2**53, str(2**53)),
        (-(10**30), str(-(10**30))),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (b"\x00\xff", "AP8="),
        (True, True),
        ({1: [b"a", (2**64,)]}, {"1": ["YQ==", [str(2**64)]]}),
    ],
)
def test_values_no_browser_can_hold_are_told_as_text(value: object, told: object) -> None:
    assert told == browser_safe(value)


# R013
def test_a_run_whose_processes_all_stopped_beating_is_lost() -> None:
    run = make_run()
    run.processes = ["a", "b"]
    heard = Heard(START, {"a": START + 1, "b": START + 2, "of another run": START + 99 * SECOND})

    hint = hint_of(run, heard, START + SECOND, 3600)

    assert hint is not None
    assert LOST == hint["kind"]


# R013
def test_a_run_with_one_beating_process_is_not_lost() -> None:
    run = make_run()
    run.processes = ["a", "b"]

    hint = hint_of(run, Heard(START, {"a": START, "b": START + 2 * SECOND}), START + SECOND, 3600)

    assert hint is None


# R013
def test_a_run_of_processes_that_never_beat_is_not_lost() -> None:
    run = make_run()
    run.processes = ["a"]

    assert hint_of(run, Heard(START, {}), START + SECOND, 3600) is None


# R013
def test_a_run_nothing_is_heard_of_for_long_is_stale() -> None:
    hint = hint_of(make_run(), Heard(START), START + 61 * SECOND, 60)

    assert {"kind": STALE, "since": "2023-11-14T22:13:20.000000Z", "reason": "nothing was heard of it for more than 60 s"} == hint


def test_a_run_that_is_over_has_no_hint() -> None:
    assert hint_of(make_run(SUCCEEDED), Heard(START), START + 99 * SECOND, 60) is None


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (-5, "0 ms"),
        (400 * 10**6, "400 ms"),
        (1_240 * 10**6, "1.2 s"),
        (59_960 * 10**6, "1 min 0 s"),
        (184 * SECOND, "3 min 4 s"),
        (7_500 * SECOND, "2 h 5 min"),
        (100 * 86_400 * SECOND, "100 d"),
    ],
)
def test_durations_have_their_two_largest_units(duration_ns: int, text: str) -> None:
    assert text == duration_text(duration_ns)


# R109
def test_an_address_holds_any_run_id() -> None:
    assert "/runs/a%2Fb%3F%C3%BC%25?source=flowspan&generation=0" == run_address("/runs", make_run(run_id="a/b?ü%"))


# R109
def test_a_hostile_name_is_no_part_of_an_element_id() -> None:
    assert row_id('"><script>').removeprefix("t-").isalnum()


# R109
def test_a_long_name_is_clipped_to_200_characters() -> None:
    assert 200 == len(clip("x" * 5_000_000))


# R111
def test_a_bar_lies_where_its_task_ran_in_the_run() -> None:
    run = make_run(SUCCEEDED)
    run.finished_ns = START + 10 * SECOND
    task = make_task("load:1", SUCCEEDED, 5, 10)

    line = task_line(task, window_of(make_view(run, task), START + 99 * SECOND))

    assert ("500.0", "500.0") == (line.bars[0].x, line.bars[0].width)


# R111
def test_the_bar_of_a_running_task_reaches_to_now() -> None:
    task = make_task("load:1", RUNNING, 2)

    line = task_line(task, window_of(make_view(make_run(), task), START + 4 * SECOND))

    assert ("500.0", "500.0", 0) == (line.bars[0].x, line.bars[0].width, line.bars[0].end_us)


# R111
def test_every_try_of_a_retried_task_has_a_bar() -> None:
    task = make_task("load:1", SUCCEEDED, 0, 4)
    task.attempts = [Attempt(1, FAILED, START, START + SECOND, "boom"), Attempt(2, SUCCEEDED, START + 2 * SECOND, START + 4 * SECOND)]

    line = task_line(task, window_of(make_view(make_run(), task), START + 4 * SECOND))

    assert [FAILED, SUCCEEDED] == [bar.state for bar in line.bars]
    assert ["boom", ""] == [attempt.error for attempt in line.attempts]


def test_a_task_run_that_has_not_begun_shows_no_attempt() -> None:
    waiting = TaskRun("load:1", "load", "load", PENDING)
    window = window_of(make_view(make_run(), waiting), START)

    assert "–" == task_line(waiting, window).attempt
    assert "1" == task_line(make_task("load:1"), window).attempt


def test_the_traces_of_a_run_are_told_apart_by_their_first_digits() -> None:
    run = make_run()
    run.trace_ids = [bytes.fromhex("1a2b3c4d" + "00" * 12)]
    view = make_view(run)

    head = head_of(view, summary_of(view), None, window_of(view, START))

    assert "1a2b3c4d" == head.trace_hrefs[0][0]


def test_a_task_that_ended_before_it_began_still_has_a_bar() -> None:
    run, task = make_run(SUCCEEDED), make_task("load:1", SUCCEEDED, 5, 1)

    line = task_line(task, window_of(make_view(run, task), START))

    assert ("0 ms", "3.0") == (line.duration, line.bars[0].width)


# R101
def test_the_head_leads_to_the_task_run_that_failed_first() -> None:
    tasks = [make_task("a", FAILED, 0, 5), make_task("b", FAILED, 0, 3), make_task("c", SUCCEEDED, 0, 1)]
    view = make_view(make_run(FAILED), *tasks)

    head = head_of(view, summary_of(view), None, window_of(view, START))

    assert row_id("b") == head.culprit


def test_a_page_of_too_many_task_runs_keeps_the_failed_ones() -> None:
    tasks = [make_task(str(number), SUCCEEDED, number, number + 1) for number in range(MOST_ROWS + 50)]
    tasks[-1].status = FAILED

    shown = choose_tasks(tasks, MOST_ROWS)

    assert MOST_ROWS == len(shown)
    assert tasks[-1] is shown[-1]


# R103
def test_a_log_line_is_tied_to_the_row_of_its_task_run() -> None:
    row = log_row(LogEntry("id", START, 17, "", "boom", "", "load:1", None))

    assert (row_id("load:1"), "ERROR", "bad", "22:13:20.000") == (row.task_id, row.level, row.tone, row.time.text)

"""`@flow`, `@task`, `with run(...)`, `log` and `progress`: what a server shows of them, and that functions stay what they were."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from datetime import date
from typing import Any

import pytest

from otel_bridge import conventions as c
from otel_bridge import flow, log, progress, run, task
from otel_bridge.places import current
from tests import watching
from tests.watching import Told, texts_of

told = watching.told


@flow(tags=["sales"])
def nightly(day: date, limit: int = 3, *rest: int, **options: Any) -> int:
    """Sell at night."""
    return load(limit)


@task
def load(count: int) -> int:
    """Load so many."""
    return double(count)


@task(key="doubling", tags=["fast"], upstream=["load:1"], priority=2)
def double(count: int) -> int:
    return 2 * count


# R159 R167
def test_each_call_of_a_flow_is_a_run_with_its_parameters(told: Told) -> None:
    made = nightly(date(2026, 1, 2), turbo=True)

    shown = told.run_of("nightly")
    assert (6, "SUCCEEDED", "test_flows:nightly", ["sales"]) == (made, shown["status"], shown["flow_key"], shown["tags"])
    assert {"day": "2026-01-02", "limit": 3, "options": {"turbo": True}} == shown["params"]
    assert "Sell at night." == told.spans(shown["run_id"])["nightly"]["attributes"][c.FLOW_DESCRIPTION]


# R159 R166
def test_tasks_are_numbered_and_stand_under_the_task_they_are_called_in(told: Told) -> None:
    with run("nested") as r:
        load(1)
        double(2)

    spans = told.spans(r.run_id)
    assert {"load:1": "SUCCEEDED", "double:1": "SUCCEEDED", "double:2": "SUCCEEDED"} == told.states(r.run_id)
    assert spans["nested"]["spanId"] == spans["load:1"]["parentSpanId"] == spans["double:2"]["parentSpanId"]
    assert spans["load:1"]["spanId"] == spans["double:1"]["parentSpanId"]


# R167
def test_a_task_says_what_its_definition_says(told: Told) -> None:
    with run("defined") as r:
        double(1)

    (shown,) = told.run(r.run_id, "/tasks")
    assert ("doubling", "double", ["fast"], ["load:1"], 2) == tuple(
        shown[name] for name in ("task_key", "task_name", "tags", "upstream", "priority")
    )


# R166
def test_a_flow_in_a_task_is_a_run_under_it(told: Told) -> None:
    @flow
    def inner_flow() -> None: ...

    with run("outer_flow") as outer, task("start"):
        inner_flow()

    inner = told.run_of("inner_flow")
    (link,) = told.spans(inner["run_id"])["inner_flow"]["links"]
    start = told.spans(outer.run_id)["start:1"]
    assert (start["traceId"], start["spanId"]) == (link["traceId"], link["spanId"])
    assert {"start:1": "SUCCEEDED"} == told.states(outer.run_id)


def test_outside_of_a_run_a_task_is_the_function_it_was(told: Told) -> None:
    before = told.stored()

    with task("alone") as node:
        made = load(4)
        log("nobody hears this")
        progress(1, 2)

    assert (8, "", None, before) == (made, node, current(), told.stored())


ENDS = [
    (ValueError("no"), "FAILED", "failure"),
    (TimeoutError("late"), "FAILED", "timeout"),
    (SystemExit(3), "FAILED", "failure"),
    (SystemExit(0), "SUCCEEDED", "success"),
    (SystemExit(), "SUCCEEDED", "success"),
    (KeyboardInterrupt(), "CANCELLED", "cancellation"),
    (asyncio.CancelledError(), "CANCELLED", "cancellation"),
    (GeneratorExit(), "SUCCEEDED", "success"),
]


# R165
@pytest.mark.parametrize(("error", "status", "result"), ENDS, ids=lambda value: repr(value) if isinstance(value, BaseException) else "")
def test_what_leaves_a_function_says_how_it_ended_and_passes_unchanged(told: Told, error: BaseException, status: str, result: str) -> None:
    run_id = f"ended by {error!r}"

    @task
    def end() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        flow(run_id=run_id)(end)()

    assert error is raised.value
    assert ["called", "called", "end"] == [entry.name for entry in raised.traceback][1:]
    assert (status, {"end:1": status}) == (told.run(run_id)["status"], told.states(run_id))
    spans = told.spans(run_id)
    assert (result, result) == (spans["end"]["attributes"][c.PIPELINE_RESULT], spans["end:1"]["attributes"][c.TASK_RUN_RESULT])


# R165
def test_a_failure_is_told_with_its_traceback(told: Told) -> None:
    with pytest.raises(ZeroDivisionError), run("divided", run_id="divided"), task("divide"):
        assert 1 / 0

    (noted,) = told.spans("divided")["divide:1"]["events"]
    said = texts_of(noted["attributes"])
    assert ("ZeroDivisionError", True) == (said["exception.type"], "assert 1 / 0" in said["exception.stacktrace"])


def test_a_failure_that_is_dealt_with_does_not_fail_the_run(told: Told) -> None:
    with run("dealt with", run_id="dealt with"):
        with pytest.raises(ValueError, match="no"), task("try"):
            raise ValueError("no")
        log("another way then")

    assert ("SUCCEEDED", {"try:1": "FAILED"}) == (told.run("dealt with")["status"], told.states("dealt with"))


def test_arguments_that_do_not_fit_are_refused_as_by_the_function_itself(told: Told) -> None:
    def bare(day: int) -> None: ...

    with pytest.raises(TypeError) as own:
        bare(nights=1)  # type: ignore[call-arg]  # on purpose
    with pytest.raises(TypeError) as through:
        flow(bare)(nights=1)  # type: ignore[call-arg]  # on purpose

    assert str(own.value) == str(through.value)
    assert "FAILED" == told.run_of("bare")["status"]


def test_a_decorated_function_is_what_it_was() -> None:
    assert ("nightly", "Sell at night.", __name__) == (nightly.__name__, nightly.__doc__, nightly.__module__)
    assert "(day: 'date', limit: 'int' = 3, *rest: 'int', **options: 'Any') -> 'int'" == str(inspect.signature(nightly))
    assert pickle.loads(pickle.dumps(nightly)) is nightly
    assert pickle.loads(pickle.dumps(double)) is double


class Shop:
    """Has methods that are tasks and flows."""

    def __init__(self, name: str) -> None:
        self.name = name

    @flow
    def open_shop(self, hour: int) -> str:
        return self.greet() + Shop.sign()

    @task
    def greet(self) -> str:
        return self.name

    @staticmethod
    @task
    def sign() -> str:
        return "!"


def test_methods_are_decorated_like_functions(told: Told) -> None:
    made = Shop("Ann's").open_shop(9)

    shown = told.run_of("open_shop")
    assert ("Ann's!", {"hour": 9}) == (made, shown["params"])
    assert {"greet:1": "SUCCEEDED", "sign:1": "SUCCEEDED"} == told.states(shown["run_id"])

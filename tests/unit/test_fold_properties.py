"""Whatever the order, the repeats and the batches facts come in, one picture: that of the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.answers import RunView
from collector.picture import RunPicture
from otel_bridge import conventions as c
from otel_bridge.identity import run_key
from otel_bridge.lifecycle import facts_of
from tests.builders import MS, R1, RECEIVED_NS, Store, at, recorded, store_of
from tests.oracle import ExpectedRun, ExpectedTask, ExpectedTry, Payload, expect

CASES = ("linear", "fan_out", "retry", "fail_fast", "continue", "nested")
DAY_MS = 86_400_000

FLOW_VERBS = ("announced", "queued", "started", "paused", "resumed", "completed", "succeeded", "failed", "cancelled", "log")
TASK_VERBS = (
    *("announced", "queued", "started", "started", "paused", "resumed", "retry", "retry", "log"),
    *("ok", "succeeded", "err", "failed", "cancelled", "skipped"),
)
NODES = ("load:1", "load:2", "clean:1")


def told_by(picture: RunPicture | RunView) -> ExpectedRun:
    """Put a picture in the oracle's words."""
    run = picture.run
    tasks = {
        task.node: ExpectedTask(
            status=task.status,
            started_ns=task.started_ns,
            finished_ns=task.finished_ns,
            error=task.error,
            inferred=task.inferred,
            attempt=task.attempt,
            tries=tuple(ExpectedTry(one.number, one.status, one.started_ns, one.finished_ns, one.error) for one in task.attempts),
        )
        for task in picture.tasks
    }
    return ExpectedRun(run.status, run.started_ns, run.finished_ns, run.error, run.counts, tasks)


@st.composite
def stories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Make events of one run, sensible or not, in the order they happened."""
    steps = draw(st.lists(st.one_of(_flow_steps(), _task_steps()), min_size=1, max_size=14))
    gaps = draw(st.lists(st.sampled_from((1, 7, 1000)), min_size=len(steps), max_size=len(steps)))
    times = [at(sum(gaps[:place])) for place in range(1, len(gaps) + 1)]
    return [{"run_id": "r1", "flow": "etl", "ts": time, **step} for step, time in zip(steps, times, strict=True)]


def _flow_steps() -> st.SearchStrategy[dict[str, Any]]:
    plain = st.sampled_from(FLOW_VERBS).map(lambda verb: {"event": f"flow_{verb}"})
    stated = st.sampled_from(("failed", "succeeded", "cancelled")).map(lambda word: {"event": "flow_completed", "status": word})
    broken = st.just({"event": "flow_failed", "error": "OSError('disk')"})
    return st.one_of(plain, plain, stated, broken)


@st.composite
def _task_steps(draw: st.DrawFn) -> dict[str, Any]:
    verb, node = draw(st.sampled_from(TASK_VERBS)), draw(st.sampled_from(NODES))
    step: dict[str, Any] = {"event": f"task_{verb}", "task": node.partition(":")[0], "node": node}
    if verb == "retry":
        step |= {"attempt": draw(st.integers(1, 3)), "max": 3}
        if draw(st.booleans()):
            del step["node"]
    if verb in ("err", "failed"):
        step["error"] = f"ValueError('{node}')"
    if verb in ("ok", "err") and draw(st.booleans()):
        step["duration_ms"] = draw(st.sampled_from((0.5, 3.25, 2000.0)))
    return step


def deliver(data: st.DataObject, events: Sequence[Payload]) -> Store:
    """Send events shuffled, one to three times each, in batches that come in hours or days later."""
    copies = data.draw(st.lists(st.integers(1, 3), min_size=len(events), max_size=len(events)))
    doubled = [event for event, times in zip(events, copies, strict=True) for _ in range(times)]
    sent = data.draw(st.permutations(doubled))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(len(sent) - 1, 1)), max_size=4)))
    store = Store()
    for first, last in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        received_ns = RECEIVED_NS + data.draw(st.sampled_from((0, 1, DAY_MS, 40 * DAY_MS))) * MS
        store.take([fact for event in sent[first:last] for fact in facts_of(event, received_ns)], received_ns, retention_days=30)
    return store


# R008 R009 R010 R011 R013 R014 R072
@given(st.data(), stories())
@settings(max_examples=150, deadline=None)
def test_any_delivery_of_any_story_is_the_picture_the_oracle_expects(data: st.DataObject, events: list[dict[str, Any]]) -> None:
    expected = expect(event for event in events if not event["event"].endswith("_log")) if _has_spans(events) else None

    in_order, shuffled = store_of(*events).picture(R1), deliver(data, events).picture(R1)

    assert in_order.tasks == shuffled.tasks
    assert _without_days(in_order) == _without_days(shuffled)
    assert expected is None or expected == told_by(in_order)


# R010 R011
@pytest.mark.parametrize("case", CASES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_recorded_run_delivered_anyhow_is_the_picture_the_oracle_expects(case: str, data: st.DataObject) -> None:
    events = recorded(case)

    delivered = deliver(data, events)

    for run_id in {event["run_id"] for event in events}:
        expected = expect(event for event in events if event["run_id"] == run_id)
        assert expected == told_by(delivered.picture(run_key(c.DEFAULT_SOURCE, run_id)))


# R011
@given(st.data(), stories())
@settings(max_examples=150, deadline=None)
def test_a_run_that_is_over_stays_over_whatever_comes_later(data: st.DataObject, events: list[dict[str, Any]]) -> None:
    over = {"event": "flow_completed", "run_id": "r1", "flow": "etl", "ts": at(0)}
    late = data.draw(st.permutations(events))

    states = [store_of(over, *late[:count]).picture(R1).run.status for count in range(len(late) + 1)]

    assert set(states) <= {"SUCCEEDED", "FAILED"}


def _has_spans(events: Sequence[Payload]) -> bool:
    return any(not event["event"].endswith("_log") for event in events)


def _without_days(picture: RunPicture) -> tuple[Any, ...]:
    """The days are where rows lie, not what people see; they depend on when a broken clock's fact came in."""
    run = picture.run
    return (run.status, run.started_ns, run.finished_ns, run.error, run.counts, run.flow_name, run.first_ns, run.trace_ids, picture.owners)

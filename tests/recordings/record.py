"""Record what auto-workflow's event bus sends: one JSON-lines file a case, beside this script.

Run by hand, in an environment of its own (the engine is GPL: nothing of it is imported elsewhere, only these payloads are kept):
    python -m venv engine
    engine/bin/pip install --ignore-requires-python auto-workflow==0.1.2
    engine/bin/python tests/recordings/record.py
"""

# mypy: disable-error-code="import-not-found, untyped-decorator, misc, no-any-return"
from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from auto_workflow import FailurePolicy, fan_out, flow, get_context, subscribe, task

NAMES = ("flow_started", "flow_completed", "task_started", "task_succeeded", "task_failed", "task_retry", "middleware_error")

# Ids and the start are steady, so that recording again changes only what the engine does differently.
START_NS = 1_795_000_000 * 10**9
GRID_NS = 10**6


class Recorder:
    """Collects the bus's payloads in the order they came."""

    def __init__(self) -> None:
        """Subscribe once under each name: a subscriber is not told which event it gets."""
        self.lines: list[dict[str, Any]] = []
        for name in NAMES:
            subscribe(name, self._take(name))

    def _take(self, name: str) -> Callable[[dict[str, Any]], None]:
        return lambda payload: self.lines.append({"event": name, **payload, **_context(payload), "ts": time.time_ns()})

    def write(self, case: str) -> None:
        """Write what was collected with steady ids and times, and begin anew."""
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in steady(self.lines))
        Path(__file__).with_name(f"{case}.jsonl").write_text(text, encoding="utf-8")
        self.lines.clear()


def _context(payload: dict[str, Any]) -> dict[str, Any]:
    """Task events name no run; inside a subscriber the engine's context does."""
    if "run_id" in payload:
        return {}
    try:
        context = get_context()
    except RuntimeError:  # a task called outside a flow
        return {}
    return {"run_id": context.run_id, "flow": context.flow_name}


def steady(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Number the runs, and count time from START_NS in whole milliseconds, no two events at the same one."""
    ids: dict[str, str] = {}
    last = START_NS - GRID_NS
    made = []
    for line in lines:
        run_id = ids.setdefault(line["run_id"], f"00000000-0000-4000-8000-{len(ids) + 1:012}")
        since_ns = (line["ts"] - lines[0]["ts"]) // GRID_NS * GRID_NS
        last = max(START_NS + since_ns, last + GRID_NS)
        made.append({**line, "run_id": run_id, "ts": last})
    return made


def record(recorder: Recorder, case: str, run: Callable[[], Any]) -> None:
    """Run one case. A run that raises gets the final event the bridge sends for it: the engine itself sends none."""
    try:
        run()
    except Exception as error:  # noqa: BLE001  # whatever a recorded flow raises is what we came for
        started = recorder.lines[0]
        failed = {"event": "flow_failed", "flow": started["flow"], "run_id": started["run_id"], "error": repr(error)}
        recorder.lines.append({**failed, "ts": time.time_ns()})
    recorder.write(case)


# --- the cases -------------------------------------------------------------------------------------------------------------------------

_tries = {"flaky": 0}


@task
async def extract() -> list[int]:
    """Return three numbers after a while."""
    await asyncio.sleep(0.02)
    return [1, 2, 3]


@task
async def double(number: int) -> int:
    """Take longer for a greater number."""
    await asyncio.sleep(0.01 * number)
    return number * 2


@task
async def total(numbers: list[int]) -> int:
    """Add up."""
    return sum(numbers)


@task(retries=2, retry_backoff=0.01)
async def flaky() -> str:
    """Fail twice."""
    _tries["flaky"] += 1
    if _tries["flaky"] < 3:
        raise ConnectionError(f"try {_tries['flaky']} ☃")
    return "at last"


@task
async def boom() -> None:
    """Fail."""
    await asyncio.sleep(0.02)
    raise ValueError("bad ☃ <script>")


@task
async def slow() -> None:
    """Be running when its sibling fails."""
    await asyncio.sleep(0.3)


@task(run_in="thread")
def start_inner() -> Any:
    """Run a flow inside a task."""
    return linear.run()


@flow
def linear() -> Any:
    """One after the other."""
    return total(double_all(extract()))


@task
async def double_all(numbers: list[int]) -> list[int]:
    """Double each."""
    return [number * 2 for number in numbers]


@flow
def spread() -> Any:
    """Three at once."""
    return total(fan_out(double, [1, 2, 3]))


@flow
def retried() -> Any:
    """One task that needs three tries."""
    return flaky()


@flow
def broken() -> Any:
    """Two at once, of which one fails."""
    return [slow(), boom()]


@flow
def outer() -> Any:
    """A flow with a flow inside."""
    return start_inner()


def main() -> None:
    """Record every case."""
    recorder = Recorder()
    record(recorder, "linear", linear.run)
    record(recorder, "fan_out", spread.run)
    record(recorder, "retry", retried.run)
    record(recorder, "fail_fast", broken.run)
    record(recorder, "continue", lambda: broken.run(failure_policy=FailurePolicy.CONTINUE))
    record(recorder, "nested", outer.run)


if __name__ == "__main__":
    main()

"""The model as the read API speaks it: seed 000's field names, ISO times, numbers a browser can hold. Pure.

What the templates show of the same things is in display.py.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence

from collector.answers import FlowSummary, Heard, LogEntry, RunSummary, RunView, TaskPage
from collector.picture import PAUSED, RUNNING, Attempt, Run, TaskRun
from otel_bridge.timestamps import to_iso
from viewer.levels import name_severity

Data = dict[str, object]

# Above it a browser's number is no longer exact.
LARGEST_EXACT_INTEGER = 2**53 - 1

STALE, LOST = "STALE", "LOST"


def run_data(summary: RunSummary, hint: Data | None) -> Data:
    """Return a run as the API tells it. tasks_total: what the sender declared, else the task runs there are."""
    run = summary.run
    reported = sum(run.counts.values())
    return {
        "run_id": run.run_id,
        "flow_id": summary.flow_id or run.flow_id,
        "flow_key": run.flow_key,
        "flow_name": run.flow_name,
        "status": run.status,
        "params": browser_safe(run.params),
        "metadata": browser_safe(run.metadata),
        "started_at": iso(run.started_ns),
        "finished_at": iso(run.finished_ns),
        "duration_ms": duration_ms(run.started_ns, run.finished_ns),
        "tasks_total": reported if run.tasks_declared is None else browser_safe(run.tasks_declared),
        "tasks_declared": browser_safe(run.tasks_declared),
        "tasks_reported": reported,
        "counts": dict(run.counts),
        "error": run.error or None,
        "tags": browser_safe(run.tags),
        "source": run.source,
        "generation": run.generation,
        "kind": run.kind,
        "trace_ids": [trace_id.hex() for trace_id in run.trace_ids],
        "version": summary.version,
        "hint": hint,
        "partly_deleted": run.partly_deleted,
    }


def task_data(task: TaskRun, run_id: str, task_id: str) -> Data:
    """Return a task run as the API tells it. task_id: of the catalogue's task."""
    return {
        "id": task.node,
        "run_id": run_id,
        "task_id": task_id,
        "task_key": task.task_key,
        "task_name": task.task_name,
        "status": task.status,
        "started_at": iso(task.started_ns),
        "finished_at": iso(task.finished_ns),
        "duration_ms": duration_ms(task.started_ns, task.finished_ns),
        "error": task.error or None,
        "attempt": browser_safe(task.attempt),
        "attempts": [attempt_data(attempt) for attempt in task.attempts],
        "priority": browser_safe(task.priority),
        "tags": browser_safe(task.tags),
        "upstream": browser_safe(task.upstream),
        "run_in": task.run_in or None,
        "description": task.description or None,
        "inferred": task.inferred,
    }


def attempt_data(attempt: Attempt) -> Data:
    """Return one try of a task run as the API tells it."""
    return {
        "number": browser_safe(attempt.number),
        "status": attempt.status,
        "started_at": iso(attempt.started_ns),
        "finished_at": iso(attempt.finished_ns),
        "error": attempt.error or None,
    }


def task_page_data(page: TaskPage, run_id: str) -> Data:
    """Return a page of task runs as the API tells it."""
    items = [task_data(task, run_id, page.task_ids.get(task.task_key, "")) for task in page.items]
    return {"items": items, "next_cursor": page.next_cursor}


def log_data(entry: LogEntry, run_id: str) -> Data:
    """Return a log line as the API tells it. task_node is null for a line of the run itself."""
    return {
        "id": entry.id,
        "run_id": run_id,
        "task_node": entry.node or None,
        "ts": iso(entry.time_ns),
        "level": level_of(entry),
        "message": entry.message,
        "event": entry.event or None,
        "payload": browser_safe(entry.payload),
    }


def flow_data(flow: FlowSummary, latest: Data | None) -> Data:
    """Return a flow of the catalogue as the API tells it. latest: its newest run's `run_data`."""
    return {
        "id": flow.id,
        "flow_key": flow.flow_key,
        "name": flow.name,
        "description": flow.description or None,
        "tags": browser_safe(flow.tags),
        "created_at": iso(flow.created_ns),
        "updated_at": iso(flow.updated_ns),
        "runs_total": sum(flow.run_counts.values()),
        "run_counts": dict(flow.run_counts),
        "latest_run": latest,
    }


def view_data(view: RunView, hint: Data | None) -> Data:
    """Return a run read by itself as the API tells it: with the cursor its live addresses go on from."""
    return {**run_data(summary_of(view), hint), "cursor": view.cursor}


def summary_of(view: RunView) -> RunSummary:
    """Return a view without its task runs: the shape lists and heads are made of."""
    return RunSummary(view.run, view.version, view.heard, view.flow_id)


def hint_of(run: Run, heard: Heard, now_ns: int, stale_after_s: float) -> Data | None:
    """Return why a run that looks alive may not be, null if nothing speaks against it.

    LOST: every process with open spans that ever gave signs of life has stopped. STALE: nothing at all came for stale_after_s.
    """
    if run.status not in (RUNNING, PAUSED):
        return None
    beats = [heard.beating_until_ns[process] for process in run.processes if process in heard.beating_until_ns]
    if beats and max(beats) <= now_ns:
        reason = "its process stopped giving signs of life" if max(beats) else "its process ended and did not say how the run did"
        return {"kind": LOST, "since": iso(max(beats) or heard.last_ns), "reason": reason}
    if heard.last_ns and now_ns - heard.last_ns > stale_after_s * 1e9:
        return {"kind": STALE, "since": iso(heard.last_ns), "reason": f"nothing was heard of it for more than {stale_after_s:g} s"}
    return None


def seen_state(status: str, hint: Data | None) -> str:
    """Return a run's state and hint as one text: while it stays the same, a page that shows the run's version is right."""
    return f"{status} {hint['kind']} {hint['since']}" if hint else status


def level_of(entry: LogEntry) -> str:
    """Return a line's level: the sender's word, else the name of its severity number, else empty."""
    return entry.severity_text or name_severity(entry.severity_number)


def iso(time_ns: int) -> str | None:
    """Return a time in ISO 8601, null if it is unknown."""
    return to_iso(time_ns) if time_ns else None


def duration_ms(started_ns: int, finished_ns: int) -> float | None:
    """Return how long it took in ms, never less than 0 (clocks jump); null until both ends are known."""
    return max(finished_ns - started_ns, 0) / 1e6 if started_ns and finished_ns else None


def browser_safe(value: object) -> object:
    """Return a sender's value as JSON every browser reads without loss.

    Integers beyond 2^53 and doubles that are no numbers become text, bytes base64.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= LARGEST_EXACT_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_a_number(value)
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): browser_safe(item) for key, item in value.items()}
    return [browser_safe(item) for item in value] if isinstance(value, Sequence) else str(value)


def _not_a_number(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

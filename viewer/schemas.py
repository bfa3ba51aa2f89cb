"""What the read API answers, as /docs shows it. Made in present.py; seed 000's field names.

Whole numbers a browser cannot hold exactly and doubles that are no numbers are text; bytes are base64; times ISO 8601, UTC, null if unknown.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue

Whole = int | str


class Answer(BaseModel):
    """An answer says what is declared here and nothing else: a field present.py forgot or invented is an error."""

    model_config = ConfigDict(extra="forbid")


class Hint(Answer):
    """Why a run that looks alive may not be: STALE or LOST."""

    kind: str
    since: str | None
    reason: str


class Run(Answer):
    """One execution of a flow, or a plain trace (kind). tasks_total: declared if the sender said, else reported."""

    run_id: str
    flow_id: str
    flow_key: str
    flow_name: str
    status: str
    params: JsonValue
    metadata: JsonValue
    started_at: str | None
    finished_at: str | None
    duration_ms: float | None
    tasks_total: Whole
    tasks_declared: Whole | None
    tasks_reported: int
    counts: dict[str, int]
    error: str | None
    tags: list[JsonValue]
    source: str
    generation: int
    kind: str
    trace_ids: list[str]
    version: int
    hint: Hint | None
    partly_deleted: bool


class RunNow(Run):
    """A run read by itself. cursor: its live addresses, asked with it, tell what came after this answer."""

    cursor: str


class Attempt(Answer):
    """One try of a task run, counted from 1."""

    number: Whole
    status: str
    started_at: str | None
    finished_at: str | None
    error: str | None


class TaskRun(Answer):
    """A node's execution in a run. inferred: its end follows from the run's end, nobody reported it."""

    id: str
    run_id: str
    task_id: str
    task_key: str
    task_name: str
    status: str
    started_at: str | None
    finished_at: str | None
    duration_ms: float | None
    error: str | None
    attempt: Whole
    attempts: list[Attempt]
    priority: Whole | None
    tags: list[JsonValue]
    upstream: list[JsonValue]
    run_in: str | None
    description: str | None
    inferred: bool


class LogLine(Answer):
    """A line of a run's log. task_node: null for a line of the run itself."""

    id: str
    run_id: str
    task_node: str | None
    ts: str | None
    level: str
    message: str
    event: str | None
    payload: JsonValue


class Flow(Answer):
    """A flow of the catalogue. run_counts: its runs by state."""

    id: str
    flow_key: str
    name: str
    description: str | None
    tags: list[JsonValue]
    created_at: str | None
    updated_at: str | None
    runs_total: int
    run_counts: dict[str, int]
    latest_run: Run | None


class FlowDetail(Flow):
    """A flow and its newest runs."""

    latest_runs: list[Run]


class RunList(Answer):
    """Runs, newest first. next_cursor: give it as `cursor` for the next page; null on the last.

    cursor: the live addresses of lists, asked with it, tell what changed after this answer.
    """

    items: list[Run]
    next_cursor: str | None
    cursor: str


class TaskRunList(Answer):
    """All task runs of a run, in order of start."""

    items: list[TaskRun]
    next_cursor: str | None


class LogList(Answer):
    """Log lines, in order of time."""

    items: list[LogLine]
    next_cursor: str | None


class FlowList(Answer):
    """The catalogue, by flow_key."""

    items: list[Flow]
    next_cursor: str | None


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str

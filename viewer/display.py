"""Runs, flows, log lines and requests as the templates show them: every number and time ready to print. Pure.

Task runs and their bars are in waterfall.py; what the API says of the same things is in present.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from collector.answers import FlowSummary, LogEntry, RunSummary, RunView
from collector.picture import KIND_TRACE, PAUSED, RUNNING, STATES, TERMINAL, Run
from collector.receipts import Receipt
from collector.rows import DAY_NS
from otel_bridge import conventions as c
from viewer.addresses import flow_address, run_address
from viewer.present import Data, browser_safe, level_of, seen_state
from viewer.texts import TEXT_CHARS, Moment, clip, clock, elapsed_text, json_text, moment
from viewer.waterfall import Window, row_id

# Flow events call every log line so: it says nothing.
PLAIN_LINE = "task_log"


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in a list and in the head of its page. seen: state and hint as one text, which the page says when it asks for news.

    row_id: an element id that no name can break. order: text that rises from row to row, the newest is the greatest. place: RunSummary.place.
    since_us: when it began, 0 if it does not run.
    """

    row_id: str
    order: str
    place: str
    version: int
    since_us: int
    href: str
    api_href: str
    name: str
    run_id: str
    source: str
    is_trace: bool
    flow_href: str
    state: str
    is_over: bool
    hint: Data | None
    seen: str
    started: Moment
    duration: str
    tasks: str
    counts: list[tuple[str, int]]
    error: str
    tags: list[str]


@dataclass(frozen=True, slots=True)
class Parent:
    """The run that a run was started in, and which of its task runs."""

    href: str
    run_id: str
    node: str


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of a run's page has beyond its line in a list. culprit: the row of the task run that failed first."""

    run: RunLine
    version: int
    cursor: str
    start_us: int
    end_us: int
    culprit: str
    culprit_name: str
    tasks_missing: str
    parent: Parent | None
    trace_hrefs: list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of the log. task_id: the row_id of its task run, empty for the run's own lines. tone: which colour its level has."""

    row_id: str
    time: Moment
    level: str
    tone: str
    severity: int
    task_id: str
    task_name: str
    message: str
    event: str
    payload: str


@dataclass(frozen=True, slots=True)
class FlowLine:
    """A row of the catalogue. order: text that rises from row to row, as flow_key does byte by byte."""

    row_id: str
    order: str
    href: str
    name: str
    flow_key: str
    description: str
    total: int
    counts: list[tuple[str, int]]
    latest: RunLine | None


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """A request that came in, and what became of it."""

    time: Moment
    request: str
    client: str
    status: int
    refused: bool
    outcome: str


def run_line(summary: RunSummary, hint: Data | None, now_ns: int) -> RunLine:
    """Return a run as a list shows it."""
    run = summary.run
    is_open = run.status in (RUNNING, PAUSED)
    return RunLine(
        row_id=run_row_id(run.source, run.run_id, run.generation),
        order=f"{run.started_ns or run.first_ns:020}{run.run_key.hex()}",
        place=summary.place,
        version=summary.version,
        since_us=run.started_ns // 1000 if is_open else 0,
        href=run_address("/runs", run),
        api_href=run_address("/api/v1/runs", run),
        name=clip(run.flow_name or run.flow_key or run.run_id),
        run_id=clip(run.run_id),
        source=clip(run.source),
        is_trace=run.kind == KIND_TRACE,
        flow_href=flow_address(run.flow_key) if run.flow_key else "",
        state=run.status,
        is_over=run.status in TERMINAL,
        hint=hint,
        seen=seen_state(run.status, hint),
        started=moment(run.started_ns or run.first_ns),
        duration=elapsed_text(run.started_ns, run.finished_ns, now_ns, is_open=is_open),
        tasks=_tasks_text(run),
        counts=order_counts(run.counts),
        error=clip(run.error, TEXT_CHARS),
        tags=[clip(_text(tag)) for tag in run.tags],
    )


def run_row_id(source: str, run_id: str, generation: int) -> str:
    """Return the element id of a run's row."""
    return _element_id("r", source, run_id, str(generation))


def flow_row_id(flow_key: str) -> str:
    """Return the element id of a flow's row."""
    return _element_id("f", flow_key)


def _element_id(prefix: str, *parts: str) -> str:
    return f"{prefix}-{sha256(json.dumps(parts).encode()).hexdigest()[:16]}"


def head_of(view: RunView, summary: RunSummary, hint: Data | None, window: Window) -> Head:
    """Return the head of a run's page."""
    run = view.run
    return Head(
        run=run_line(summary, hint, window.now_ns),
        version=view.version,
        cursor=view.cursor,
        start_us=window.start_ns // 1000,
        end_us=window.end_ns // 1000 if run.status in TERMINAL else 0,
        culprit=row_id(view.culprit) if view.culprit else "",
        culprit_name=clip(view.culprit),
        tasks_missing=_missing_text(run),
        parent=_parent_of(run),
        trace_hrefs=[(trace_id.hex()[:8], trace_id.hex(), f"/api/v1/traces/{trace_id.hex()}") for trace_id in run.trace_ids],
    )


def _parent_of(run: Run) -> Parent | None:
    """Who issued the parent's id is not said: where it has twins, the address leads to the newest."""
    stated = run.metadata.get(c.PARENT_RUN_ID) if isinstance(run.metadata, Mapping) else None
    if not isinstance(stated, str) or not stated:
        return None
    node = run.metadata.get(c.PARENT_NODE)
    anchor = f"#{row_id(node)}" if isinstance(node, str) and node else ""
    return Parent(f"/runs/{quote(stated, safe='')}{anchor}", clip(stated), clip(_text(node)) if node else "")


def deleted_text(run: Run, retention_days: int, now_ns: int) -> str:
    """Return what the page of a run says of its facts that were too old to be kept; empty if it has them all."""
    older = f"older than {retention_days} {'day' if retention_days == 1 else 'days'}" if retention_days else "too old"
    if run.partly_deleted:
        return f"Some of this run is {older} and has been deleted."
    if retention_days and run.first_ns // DAY_NS < now_ns // DAY_NS - retention_days:
        return f"Log lines of this run that are {older} have been deleted."
    return ""


def flow_line(flow: FlowSummary, latest: RunLine | None) -> FlowLine:
    """Return a flow as the catalogue shows it."""
    return FlowLine(
        row_id=flow_row_id(flow.flow_key),
        order=flow.flow_key.encode("utf-8", "replace").hex(),
        href=flow_address(flow.flow_key),
        name=clip(flow.name or flow.flow_key),
        flow_key=clip(flow.flow_key),
        description=clip(flow.description),
        total=sum(flow.run_counts.values()),
        counts=order_counts(flow.run_counts),
        latest=latest,
    )


def order_counts(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return counts by state in the order of a life, those that are none left out."""
    return [(state, counts[state]) for state in STATES if counts.get(state)]


def _tasks_text(run: Run) -> str:
    reported = sum(run.counts.values())
    if run.tasks_declared is None or run.tasks_declared == reported:
        return f"{reported:,}"
    return f"{reported:,} of {clip(str(run.tasks_declared), 20)}"


def _missing_text(run: Run) -> str:
    reported = sum(run.counts.values())
    if run.tasks_declared is None or run.tasks_declared == reported:
        return ""
    return f"The sender declared {clip(str(run.tasks_declared), 20)} task runs, {reported:,} were reported."


def log_row(entry: LogEntry) -> LogRow:
    """Return a log line as a row of the log."""
    return LogRow(
        row_id="l-" + sha256(entry.id.encode("utf-8", "replace")).hexdigest()[:16],
        time=clock(entry.time_ns),
        level=clip(level_of(entry), 20),
        tone=_tone(entry.severity_number),
        severity=entry.severity_number,
        task_id=row_id(entry.node) if entry.node else "",
        task_name=clip(entry.node),
        message=clip(entry.message, TEXT_CHARS),
        event="" if entry.event == PLAIN_LINE else clip(entry.event),
        payload=json_text(entry.payload),
    )


def receipt_line(receipt: Receipt) -> ReceiptLine:
    """Return a request that came in as a row of the table of requests."""
    records = f"{receipt.records:,} record" + ("" if receipt.records == 1 else "s")
    return ReceiptLine(
        time=clock(receipt.time_ns),
        request=clip(f"{receipt.method} {receipt.path}"),
        client=clip(f"{receipt.client} {receipt.user_agent}".strip()),
        status=receipt.status,
        refused=bool(receipt.reason) or receipt.status >= 400,
        outcome="; ".join(text for text in (records if receipt.records else "", clip(receipt.reason)) if text) or "no records",
    )


def _tone(severity: int) -> str:
    return "bad" if severity >= 17 else "warn" if severity >= 13 else "quiet" if 0 < severity < 9 else "plain"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(browser_safe(value), ensure_ascii=False)

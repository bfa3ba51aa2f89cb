"""What is stored: the columns of the fact tables. batch.py carries them.

How facts become rows is in rows.py, what people see of them in picture.py.
Times are int64 ns since the epoch, 0 = unknown; ids are bytes; JSON columns are text (collector/attributes.py).
"""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_PROJECT = 1

# Where starts go that deserve no day of their own: a broken clock's, and those older than what is kept.
ODD_DAY = 0


class SpanRow(NamedTuple):
    """A finished span as stored. Key: project, trace_id, span_id, day; of several ends the greatest (rank, weight, digest) stays."""

    project: int
    trace_id: bytes
    span_id: bytes
    day: int
    rank: int
    weight: int
    digest: bytes
    received_ns: int
    parent_span_id: bytes
    trace_state: str
    flags: int
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: str
    dropped_attributes: int
    events: str
    dropped_events: int
    links: str
    dropped_links: int
    status_code: int
    status_message: str
    resource_id: bytes
    scope_id: bytes
    source: str
    run_id: str
    generation: int
    run_key: bytes
    flow_key: str
    flow_name: str
    task_key: str
    task_name: str
    node: str
    attempt: int | None
    role: str
    dialect: str
    result: str
    error: str


class MomentRow(NamedTuple):
    """A moment of a span as stored. Key: project, trace_id, span_id, day, kind, at.

    at: 0 for the kinds that happen once (of several the one with its own time stays, then the least time), else what tells repeats apart:
    the time, for a retry its content too; the event_id of a moment without a time of its own.
    """

    project: int
    trace_id: bytes
    span_id: bytes
    day: int
    kind: str
    at: int
    rank: int
    time_ns: int
    digest: bytes
    received_ns: int
    name: str
    parent_span_id: bytes
    start_ns: int
    process: str
    attributes: str
    resource_id: bytes
    source: str
    run_id: str
    generation: int
    run_key: bytes
    flow_key: str
    flow_name: str
    task_key: str
    task_name: str
    node: str
    attempt: int | None
    role: str
    dialect: str


class LogRow(NamedTuple):
    """A log record as stored. Key: project, trace_id, time_ns, digest, twin, day.

    twin: n-th identical record of its request. stamped: 1 if time_ns is our receipt and digest stands for the sender's event_id;
    of those, one digest a trace is stored, and day is ODD_DAY. body is JSON.
    """

    project: int
    trace_id: bytes
    time_ns: int
    digest: bytes
    twin: int
    day: int
    stamped: int
    own_time_ns: int
    observed_ns: int
    received_ns: int
    span_id: bytes
    severity_number: int
    severity_text: str
    body: str
    event_name: str
    flags: int
    attributes: str
    dropped_attributes: int
    resource_id: bytes
    scope_id: bytes
    source: str
    run_id: str
    generation: int
    run_key: bytes
    node: str


class ResourceRow(NamedTuple):
    """Who sent it, stored once a content. Key: project, resource_id; resource_id: blake2b-128 of the other columns."""

    project: int
    resource_id: bytes
    attributes: str
    dropped_attributes: int
    schema_url: str
    entity_refs: str


class ScopeRow(NamedTuple):
    """Which library made it, stored once a content. Key: project, scope_id; scope_id: blake2b-128 of the other columns."""

    project: int
    scope_id: bytes
    name: str
    version: str
    attributes: str
    dropped_attributes: int
    schema_url: str


class ProcessRow(NamedTuple):
    """When a sender's process was last heard; exited_ns is 0 while it has not said that it ends. Key: project, process; greatest times stay."""

    project: int
    process: str
    heard_ns: int
    interval_ms: int
    exited_ns: int


class FoldSpan(NamedTuple):
    """The columns of a finished span that the fold reads. attributes is empty for a span with no role in a run."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    rank: int
    weight: int
    digest: bytes
    day: int
    name: str
    start_ns: int
    end_ns: int
    status_code: int
    result: str
    error: str
    attributes: str
    source: str
    run_id: str
    generation: int
    run_key: bytes
    flow_key: str
    flow_name: str
    task_key: str
    task_name: str
    node: str
    attempt: int | None
    role: str


class FoldMoment(NamedTuple):
    """The columns of a moment that the fold reads."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    kind: str
    at: int
    rank: int
    time_ns: int
    digest: bytes
    day: int
    name: str
    start_ns: int
    process: str
    attributes: str
    source: str
    run_id: str
    generation: int
    run_key: bytes
    flow_key: str
    flow_name: str
    task_key: str
    task_name: str
    node: str
    attempt: int | None
    role: str

"""What the bridge and every door know about a span, before it is columns: plain dataclasses and the text they may hold.

Facts only accumulate: a moment of a span, its end, a log line. Times are int nanoseconds since the epoch, UTC, 0 = unknown; ids are bytes.
Not frozen: a frozen dataclass costs 3.6 times as much to make, and the decoder makes one a span.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

Attributes = Mapping[str, Any]

NO_PARENT = b""

# Who timed a fact. The greatest wins: the finished OTLP span, then an event with its own time, then one we stamped at receipt.
RANK_STAMPED = 0
RANK_TIMED = 1
RANK_OTLP = 2


@dataclass(slots=True)
class Work:
    """What a span or log line is in a workflow: which run, which task run, which attempt, and who said so. Facts may share one: it is replaced,
    never changed.

    run_key: 16 bytes, empty where only an ancestor names the run. attempt: None where the sender gave no number.
    role: one of conventions.ROLES. dialect: the table that recognised it.
    """

    source: str = ""
    run_id: str = ""
    generation: int = 0
    run_key: bytes = b""
    flow_key: str = ""
    flow_name: str = ""
    task_key: str = ""
    task_name: str = ""
    node: str = ""
    attempt: int | None = None
    role: str = ""
    dialect: str = ""


@dataclass(slots=True)
class Resource:
    """Who sent it: an OTel Resource. schema_url belongs to the resource's envelope on the wire."""

    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0
    schema_url: str = ""
    entity_refs: Sequence[Attributes] = ()


@dataclass(slots=True)
class Scope:
    """Which library made it: an OTel InstrumentationScope."""

    name: str = ""
    version: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0
    schema_url: str = ""


@dataclass(slots=True)
class SpanEvent:
    """A timed note on a finished span."""

    time_ns: int
    name: str
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0


@dataclass(slots=True)
class SpanLink:
    """A finished span's pointer to another span, perhaps of another trace."""

    trace_id: bytes
    span_id: bytes
    trace_state: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0
    flags: int = 0


@dataclass(slots=True)
class SpanMoment:
    """Something that happened to a span before its end: announced, queued, begun, paused, resumed, cancelled, retried.

    start_ns: when the span began, where the sender said so beside the moment's own time. rank: RANK_STAMPED or RANK_TIMED.
    event_id: the sender's name for it, so that a repeat without a time of its own is known as one.
    """

    trace_id: bytes
    span_id: bytes
    kind: str
    time_ns: int
    rank: int
    work: Work = field(default_factory=Work)
    name: str = ""
    parent_span_id: bytes = NO_PARENT
    start_ns: int = 0
    process: str = ""
    event_id: str = ""
    attributes: Attributes = field(default_factory=dict)
    resource: Resource = field(default_factory=Resource)


@dataclass(slots=True)
class SpanEnd:
    """A finished span, whole: everything OTLP has, and what it is in a workflow.

    result: one of conventions.RESULTS, or empty where the end says nothing but that it is one.
    """

    trace_id: bytes
    span_id: bytes
    end_ns: int
    rank: int
    work: Work = field(default_factory=Work)
    result: str = ""
    start_ns: int = 0
    parent_span_id: bytes = NO_PARENT
    trace_state: str = ""
    flags: int = 0
    name: str = ""
    kind: int = 0
    status_code: int = 0
    status_message: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0
    events: Sequence[SpanEvent] = ()
    dropped_events: int = 0
    links: Sequence[SpanLink] = ()
    dropped_links: int = 0
    resource: Resource = field(default_factory=Resource)
    scope: Scope = field(default_factory=Scope)


@dataclass(slots=True)
class LogLine:
    """One log record. time_ns: its own time, 0 if it has none. event_id: the sender's name for it, where it has no time of its own."""

    trace_id: bytes
    span_id: bytes
    time_ns: int
    body: Any
    work: Work = field(default_factory=Work)
    observed_ns: int = 0
    severity_number: int = 0
    severity_text: str = ""
    event_name: str = ""
    event_id: str = ""
    flags: int = 0
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0
    resource: Resource = field(default_factory=Resource)
    scope: Scope = field(default_factory=Scope)


@dataclass(slots=True)
class ProcessBeat:
    """A sign of life of a sender's process, or its word that it ends. interval_ms: when the next one is due; 0 = not said."""

    process: str
    time_ns: int
    interval_ms: int = 0
    exited: bool = False


Fact = SpanMoment | SpanEnd | LogLine | ProcessBeat

# A key longer than this is cut and told apart by its digest: a B-tree of Postgres takes 2,704 bytes a key, and a name can be 5 MB.
KEY_CHARS = 512
DIGEST_CHARS = 16


def short_key(text: str) -> str:
    """Return text as it may stand in an index: itself, or its beginning and 16 hex digits of its sha256.

    A short key is its own short key: it may have been made by the bridge already.
    """
    if len(text) <= KEY_CHARS:
        return text
    return f"{text[: KEY_CHARS - DIGEST_CHARS - 1]}~{sha256(text.encode()).hexdigest()[:DIGEST_CHARS]}"


def harmless(text: str) -> str:
    """Return text with NUL and lone surrogates as U+FFFD: databases refuse the first, UTF-8 the second, for ever."""
    if text.isascii() and "\x00" not in text:
        return text
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return paired.replace("\x00", "\ufffd")

"""One log record of a request becomes a fact: a moment of a span or a sign of life if its event name is one of ours, else a log line."""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector.otlp.spans import SPAN_ID_BYTES, TRACE_ID_BYTES, BadRecord, process_of, usable_id, usable_time
from collector.otlp.values import read_attributes, read_value
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_STAMPED, RANK_TIMED, Fact, LogLine, ProcessBeat, Resource, Scope, SpanMoment

# Where SDKs older than the event_name field (opentelemetry-proto 1.5) put it.
EVENT_NAME_ATTRIBUTE: Final = "event.name"

# A process that promises a sign of life less often than daily promises nothing.
LONGEST_INTERVAL_MS = 86_400_000

_MOMENT_OF_EVENT = {c.SPAN_EVENT_PREFIX + kind: kind for kind in c.MOMENT_KINDS}


@dataclass(frozen=True, slots=True)
class LogReader:
    """Reads log records of one request. received_ns stands in for the time of a lifecycle record that has none."""

    received_ns: int

    def read(self, record: LogRecord, resource: Resource, scope: Scope) -> Fact:
        """Return what a log record says. Raises BadRecord for a lifecycle record that does not say whose it is; never for any other."""
        attributes = read_attributes(record.attributes)
        event = record.event_name or attributes.get(EVENT_NAME_ATTRIBUTE)
        if event in (c.PROCESS_HEARTBEAT, c.PROCESS_EXIT):
            return self._beat(record, attributes, resource, exited=event == c.PROCESS_EXIT)
        if isinstance(event, str) and event in _MOMENT_OF_EVENT:
            return self._moment(record, _MOMENT_OF_EVENT[event], attributes, resource)
        return _line(record, attributes, resource, scope)

    def _moment(self, record: LogRecord, kind: str, attributes: Mapping[str, Any], resource: Resource) -> SpanMoment:
        trace_id, span_id = usable_id(record.trace_id, TRACE_ID_BYTES), usable_id(record.span_id, SPAN_ID_BYTES)
        if not trace_id or not span_id:
            raise BadRecord(f"{c.SPAN_EVENT_PREFIX}{kind} needs the traceId and spanId of its span")
        time_ns = _time_of(record)
        name = attributes.get(c.SPAN_NAME)
        return SpanMoment(
            trace_id=trace_id,
            span_id=span_id,
            kind=kind,
            time_ns=time_ns or self.received_ns,
            rank=RANK_TIMED if time_ns else RANK_STAMPED,
            name=name if isinstance(name, str) else "",
            parent_span_id=_hex_id(attributes.get(c.SPAN_PARENT_ID)),
            start_ns=usable_time(_whole(attributes.get(c.SPAN_START_NS))),
            process=process_of(resource),
            attributes=attributes,
            resource=resource,
        )

    def _beat(self, record: LogRecord, attributes: Mapping[str, Any], resource: Resource, *, exited: bool) -> ProcessBeat:
        process = process_of(resource)
        if not process:
            raise BadRecord(f"a process's heartbeat or exit needs {c.SERVICE_INSTANCE_ID} on its resource")
        interval_ms = max(_whole(attributes.get(c.HEARTBEAT_INTERVAL_MS)), 0)
        return ProcessBeat(process, _time_of(record) or self.received_ns, min(interval_ms, LONGEST_INTERVAL_MS), exited)


def _line(record: LogRecord, attributes: Mapping[str, Any], resource: Resource, scope: Scope) -> LogLine:
    """Ids that are none mean "no trace": a receiver must not refuse the record for them (logs.proto)."""
    return LogLine(
        trace_id=usable_id(record.trace_id, TRACE_ID_BYTES),
        span_id=usable_id(record.span_id, SPAN_ID_BYTES),
        time_ns=usable_time(record.time_unix_nano),
        body=read_value(record.body),
        observed_ns=usable_time(record.observed_time_unix_nano),
        severity_number=record.severity_number,
        severity_text=record.severity_text,
        event_name=record.event_name,
        flags=record.flags,
        attributes=attributes,
        dropped_attributes=record.dropped_attributes_count,
        resource=resource,
        scope=scope,
    )


def _time_of(record: LogRecord) -> int:
    return usable_time(record.time_unix_nano) or usable_time(record.observed_time_unix_nano)


def _hex_id(value: Any) -> bytes:
    try:
        return usable_id(unhexlify(value), SPAN_ID_BYTES) if isinstance(value, str) else b""
    except ValueError:
        return b""


def _whole(value: Any) -> int:
    """Return an integer, or its decimal text, as an integer; anything else is 0. JavaScript has no 64-bit integers but text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0

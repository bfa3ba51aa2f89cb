"""Requests as a sender makes them, and what each of them says: so that a store can be asked whether it kept its word.

Every id and text is unique to its request, so the same seed makes the same requests and nothing else has their contents.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_bridge import conventions as c
from otel_bridge.identity import run_key, run_span_id, task_span_id

PROTOBUF, JSON = "application/x-protobuf", "application/json"

MS = 10**6
# 2026-11-18 11:46:40 UTC.
START_NS = 1_795_000_000 * 10**9

# ("span", trace id, span id), ("moment", trace id, span id, kind) or ("log", text).
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One request: where it goes, what it says (each fact and how often it must be stored), and its body."""

    path: str
    media: str
    body: bytes
    facts: Counter[Key]


class RequestMaker:
    """Makes small requests about one run at a time: OTLP spans and logs of it, of plain traces, and its flow events."""

    def __init__(self, seed: str) -> None:
        """seed: what keeps this maker's ids apart from every other's."""
        self._rng = random.Random(seed)
        self._seed = seed
        self._made = 0

    def make(self) -> Request:
        """Return the next request, of any kind."""
        self._made += 1
        return self._rng.choice((self.named_spans, self.plain_spans, self.logs, self.events))()

    def named_spans(self) -> Request:
        """Three finished task runs of the run."""
        run_id = self._run_id()
        trace_id = run_key(c.DEFAULT_SOURCE, run_id)
        spans = [self._task_span(trace_id, run_id, f"step:{self._made}-{place}") for place in range(3)]
        return _traces(spans)

    def _task_span(self, trace_id: bytes, run_id: str, node: str) -> Span:
        span = self._span(trace_id, run_span_id(trace_id), "step")
        span.attributes.extend([text(c.PIPELINE_RUN_ID, run_id), text(c.PIPELINE_NAME, "crash"), text(c.TASK_NAME, "step")])
        span.attributes.append(text(c.TASK_RUN_ID, node))
        return span

    def plain_spans(self) -> Request:
        """A trace of its own that names no run: two spans and their root."""
        trace_id = self._rng.randbytes(16)
        root = self._span(trace_id, b"", "plain")
        return _traces([*(self._span(trace_id, root.span_id, "part") for _ in range(2)), root])

    def _span(self, trace_id: bytes, parent: bytes, name: str) -> Span:
        start_ns = START_NS + self._made * MS
        return Span(
            trace_id=trace_id,
            span_id=self._rng.randbytes(8),
            parent_span_id=parent,
            name=name,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + self._rng.randrange(MS),
        )

    def logs(self) -> Request:
        """Two different lines, one line twice, and a span's beginning."""
        trace_id, span_id = run_key(c.DEFAULT_SOURCE, self._run_id()), self._rng.randbytes(8)
        request = ExportLogsServiceRequest()
        envelope = request.resource_logs.add(resource=_resource())
        group = envelope.scope_logs.add()
        facts: Counter[Key] = Counter()
        for body in (self._words("first"), self._words("second"), self._words("twin"), self._words("twin")):
            record = group.log_records.add(trace_id=trace_id, span_id=span_id, time_unix_nano=START_NS + self._made * MS)
            record.body.string_value = body
            facts[("log", body)] += 1
        begun = group.log_records.add(trace_id=trace_id, span_id=span_id, time_unix_nano=START_NS + self._made * MS)
        begun.event_name = c.SPAN_EVENT_PREFIX + c.BEGUN
        facts[_moment_key(trace_id, span_id, c.BEGUN)] += 1
        return Request("/v1/logs", PROTOBUF, request.SerializeToString(), facts)

    def events(self) -> Request:
        """A task of the run begins, says something and ends."""
        run_id, node, line = self._run_id(), f"event:{self._made}", self._words("event")
        about = {"run_id": run_id, "flow": "crash", "task": "event", "node": node, "ts": START_NS + self._made * MS}
        told = [
            {**about, "event": "task_started"},
            {**about, "event": "task_log", "level": "INFO", "message": line},
            {**about, "event": "task_ok", "duration_ms": 1},
        ]
        trace_id = run_key(c.DEFAULT_SOURCE, run_id)
        span_id = task_span_id(trace_id, node)
        facts = Counter({_span_key(trace_id, span_id): 1, _moment_key(trace_id, span_id, c.BEGUN): 1, ("log", line): 1})
        return Request("/api/v1/events", JSON, json.dumps(told).encode(), facts)

    def _run_id(self) -> str:
        """A run gets about ten requests, so that it is folded again and again."""
        return f"{self._seed}-{self._made // 10}"

    def _words(self, what: str) -> str:
        return f"{what} line {self._seed}-{self._made}"


class LineMaker:
    """Makes requests that each add a task and a line of it to one run."""

    def __init__(self, run_id: str, seed: str) -> None:
        """seed: what keeps this maker's lines apart from every other's."""
        self._run_id = run_id
        self._seed = seed
        self._made = 0

    def make(self) -> Request:
        """Return the next request."""
        self._made += 1
        name = f"{self._seed}-{self._made}"
        line, node = f"line {name} of {self._run_id}", f"line:{name}"
        about = {"run_id": self._run_id, "flow": "watched", "task": "line", "node": node, "ts": START_NS + self._made * MS}
        told = [{**about, "event": "task_started"}, {**about, "event": "task_log", "level": "INFO", "message": line}]
        trace_id = run_key(c.DEFAULT_SOURCE, self._run_id)
        facts = Counter({_moment_key(trace_id, task_span_id(trace_id, node), c.BEGUN): 1, ("log", line): 1})
        return Request("/api/v1/events", JSON, json.dumps(told).encode(), facts)


def _traces(spans: list[Span]) -> Request:
    request = ExportTraceServiceRequest()
    envelope = request.resource_spans.add(resource=_resource())
    envelope.scope_spans.add().spans.extend(spans)
    facts = Counter(_span_key(span.trace_id, span.span_id) for span in spans)
    return Request("/v1/traces", PROTOBUF, request.SerializeToString(), facts)


def large_request(seed: int, spans: int, padding: int = 0) -> Request:
    """Return spans of one flow as the exporters batch them: 8 attributes each, several traces, a request of its own for each seed.

    padding: extra characters in one attribute of each span, to fill a disk sooner.
    """
    rng = random.Random(seed)
    made: list[Span] = []
    while len(made) < spans:
        made += _one_trace(rng, min(rng.randint(8, 80), spans - len(made)), seed, padding)
    return _traces(made)


def _one_trace(rng: random.Random, size: int, seed: int, padding: int) -> list[Span]:
    trace_id, root = rng.randbytes(16), rng.randbytes(8)
    made = []
    for place in range(size):
        start_ns = START_NS + (seed * 1000 + place) * MS
        span = Span(trace_id=trace_id, name=f"task {place % 12}", kind=Span.SPAN_KIND_INTERNAL, flags=0x101)
        span.span_id, span.parent_span_id = (rng.randbytes(8), root) if place < size - 1 else (root, b"")
        span.start_time_unix_nano, span.end_time_unix_nano = start_ns, start_ns + rng.randrange(10**9)
        span.status.code = Span().status.STATUS_CODE_OK
        span.attributes.extend(_eight_attributes(rng, padding))
        made.append(span)
    return made


def _eight_attributes(rng: random.Random, padding: int) -> list[KeyValue]:
    pairs = [text("http.route", "/orders/{id}"), text("user.id", f"u{rng.randrange(20_000):05d}"), text("note", "x" * padding or "none")]
    pairs += [text("queue", rng.choice(("default", "high", "low"))), KeyValue(key="cache.hit"), KeyValue(key="cpu.ratio")]
    pairs += [KeyValue(key="rows.count"), KeyValue(key="try")]
    pairs[4].value.bool_value = rng.random() < 0.5
    pairs[5].value.double_value = rng.random()
    pairs[6].value.int_value = rng.randrange(10**7)
    pairs[7].value.int_value = rng.randrange(4)
    return pairs


def text(key: str, value: str) -> KeyValue:
    """Return an attribute that is text."""
    pair = KeyValue(key=key)
    pair.value.string_value = value
    return pair


def _resource() -> Resource:
    return Resource(attributes=[text(c.SERVICE_NAME, "crash")])


def _span_key(trace_id: bytes, span_id: bytes) -> Key:
    return ("span", trace_id.hex(), span_id.hex())


def _moment_key(trace_id: bytes, span_id: bytes, kind: str) -> Key:
    return ("moment", trace_id.hex(), span_id.hex(), kind)

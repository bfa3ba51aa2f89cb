"""What columns must equal: the rows of the same bodies, one by one; and requests with everything in them that the two could see differently."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collector.batch import Batch
from collector.dialects import Dialect, pipeline, plain
from collector.dialects.table import Table
from collector.errors import FlowspanError
from collector.otlp.columns import decode_trace_columns
from collector.otlp.terms import TraceTerms
from collector.verdict import Decoded
from otel_bridge.timestamps import LATEST_NS
from tests.otlp_bodies import END_NS, PARENT_ID, RECEIVED_NS, SPAN_ID, START_NS, TRACE_ID, any_value

MILL = Table(
    default_source="mill",
    run_id=("mill.run", "mill.id"),
    flow_name=("mill.flow", "cicd.pipeline.name"),
    task_name=("mill.step",),
    node=("mill.use", "mill.step"),
    attempt=("mill.try", "flowspan.attempt"),
)
MILL_DIALECT = Dialect("mill", 100, MILL.recognise)

ALL_DIALECTS: tuple[tuple[Dialect, ...], ...] = (
    (pipeline.DIALECT, plain.DIALECT),
    (pipeline.DIALECT, MILL_DIALECT, plain.DIALECT),
    (MILL_DIALECT, pipeline.DIALECT),
    (),
)


def assert_equal_to_rows(bodies: Sequence[bytes], terms: TraceTerms) -> list[Decoded | FlowspanError]:
    """Assert that bodies decoded together are what each is alone, and return what they are."""
    received_ns = [RECEIVED_NS + place for place in range(len(bodies))]

    found = decode_trace_columns(bodies, received_ns, terms)

    expected = [terms.decode_by_rows(body, ns) for body, ns in zip(bodies, received_ns, strict=True)]
    assert [_comparable(one) for one in expected] == [_comparable(one) for one in found]
    assert [0] * len(good(found)) == [len(decoded.batch.spans) for decoded in good(found)], "a sound body went by rows"
    assert [one.batch.touched() for one in good(expected)] == [one.batch.touched() for one in good(found)]
    return found


def _comparable(one: Decoded | FlowspanError) -> Decoded | str:
    return repr(one) if isinstance(one, FlowspanError) else replace(one, batch=one.batch.as_rows())


def good(found: Sequence[Decoded | FlowspanError]) -> list[Decoded]:
    """Return what could be read."""
    return [one for one in found if isinstance(one, Decoded)]


def together(found: Sequence[Decoded | FlowspanError]) -> Batch:
    """Return the facts of all bodies as the batcher puts them together."""
    batch = Batch()
    for decoded in good(found):
        batch.extend(decoded.batch)
    return batch


# --- requests ----------------------------------------------------------------------------------------------------------------------------

DAY_NS = 86_400 * 10**9

_TEXTS = (
    *(
        "",
        "a",
        "load",
        "load:3",
        'quo"te',
        "back\\slash",
        "li\nne",
        "grüße",
        "😀",
        "\x7f\u2028",
        "\x00",
        "n\x00l",
        "n\ufffdl",
        "$double",
        "exception",
    ),
    *("x" * 511, "x" * 512, "x" * 513, "ü" * 300, "ü" * 600, "x" * 1300),
    *("success", "failure", "skip", "task", "run", "attempt", "0", "2", "٣", "2147483648"),
)
_KEYS = (
    *("cicd.pipeline.run.id", "cicd.pipeline.name", "cicd.pipeline.task.name", "cicd.pipeline.task.run.id", "cicd.pipeline.result"),
    *("cicd.pipeline.task.run.result", "flowspan.source", "flowspan.generation", "flowspan.flow.key", "flowspan.task.key", "flowspan.node"),
    *("flowspan.attempt", "flowspan.role", "service.name", "service.instance.id", "error.type", "exception.type", "exception.message"),
    *("mill.run", "mill.id", "mill.step", "mill.flow", "mill.try", "", "a", "b", 'a"', "ä"),
)
_ODD_KEYS = ("$a", "$map", "a\x00", "a\ufffd", "a")
_INTEGERS = (0, 1, 2, -1, 2**31 - 1, 2**31, 2**63 - 1, -(2**63))
_DOUBLES = (
    *(0.0, -0.0, 1.0, 1e-4, 9.999e-5, 1e-5, 999999999.0, 1e9, 1e15, 1e16, 123456.789, 5e-324, 1e308, 123456789012345.6),
    *(float("nan"), float("inf"), float("-inf")),
)
_TIMES = (
    *(0, 1, START_NS, END_NS, RECEIVED_NS + 2 * DAY_NS, RECEIVED_NS + 2 * DAY_NS + 9, RECEIVED_NS - 30 * DAY_NS, RECEIVED_NS - 30 * DAY_NS - 1),
    *(LATEST_NS, LATEST_NS + 1, 2**63, 2**64 - 1),
)


@dataclass(frozen=True, slots=True)
class AnyRequest:
    """Makes a request of anything. Two in three spans are plain finished ones, as columns take them."""

    rng: Random

    def body(self) -> bytes:
        """Return a request as protobuf."""
        return ExportTraceServiceRequest(resource_spans=self._some(self._envelope, 2)).SerializeToString()

    def _some(self, make: Callable[[], Any], most: int) -> list[Any]:
        return [make() for _ in range(self.rng.randint(0, most))]

    def _envelope(self) -> ResourceSpans:
        url = self.rng.choice(("", "https://example.org/schema"))
        return ResourceSpans(resource=Resource(attributes=self._attributes()), scope_spans=self._some(self._group, 3), schema_url=url)

    def _group(self) -> ScopeSpans:
        scope = InstrumentationScope(name=self.rng.choice(_TEXTS), attributes=self._attributes())
        return ScopeSpans(
            scope=scope, spans=[self._span() if self.rng.random() < 0.33 else self._plain_span() for _ in range(self.rng.randint(0, 6))]
        )

    def _plain_span(self) -> Span:
        code = self.rng.choice((Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR))
        return Span(
            trace_id=self.rng.choice((TRACE_ID, b"u" * 16)),
            span_id=self.rng.randbytes(7) + b"\1",
            parent_span_id=self.rng.choice((b"", PARENT_ID)),
            name=self.rng.choice(_TEXTS).replace("\x00", ""),
            start_time_unix_nano=self.rng.choice((START_NS, RECEIVED_NS - 31 * DAY_NS)),
            end_time_unix_nano=END_NS,
            attributes=[self._pair(key, nested=False) for key in self.rng.sample(_KEYS, self.rng.randint(0, 6))],
            events=self._some(self._plain_event, 1),
            status=Status(code=code, message=self.rng.choice(("", "broke"))),
        )

    def _plain_event(self) -> Span.Event:
        attributes = [self._pair(key, nested=True) for key in self.rng.sample(_KEYS, 2)]
        return Span.Event(time_unix_nano=START_NS, name=self.rng.choice(_TEXTS), attributes=attributes)

    def _span(self) -> Span:
        choose = self.rng.choice
        return Span(
            trace_id=choose((TRACE_ID, TRACE_ID, bytes(16), b"short", b"")),
            span_id=choose((SPAN_ID, SPAN_ID, bytes(8), b"short", b"")),
            trace_state=choose(_TEXTS),
            parent_span_id=choose((b"", PARENT_ID, bytes(8), b"short")),
            flags=choose((0, 2**32 - 1)),
            name=choose(_TEXTS),
            kind=choose((Span.SPAN_KIND_INTERNAL, Span.SPAN_KIND_SERVER, 99, -1)),  # type: ignore[arg-type]  # any int32 comes in
            start_time_unix_nano=choose(_TIMES),
            end_time_unix_nano=choose(_TIMES),
            attributes=self._attributes(),
            dropped_attributes_count=choose((0, 2**32 - 1)),
            events=self._some(self._event, 2),
            dropped_events_count=choose((0, 1)),
            links=self._some(self._link, 2),
            dropped_links_count=choose((0, 1)),
            status=choose((None, Status(code=choose((0, 1, 2, 7)), message=choose(_TEXTS)))),  # type: ignore[arg-type]  # any int32 comes in
        )

    def _event(self) -> Span.Event:
        time_ns, name = self.rng.choice(_TIMES), self.rng.choice(("exception", *_TEXTS))
        return Span.Event(time_unix_nano=time_ns, name=name, attributes=self._attributes(), dropped_attributes_count=self.rng.choice((0, 1)))

    def _link(self) -> Span.Link:
        trace_id, span_id = self.rng.choice((TRACE_ID, bytes(16))), self.rng.choice((SPAN_ID, b"short"))
        return Span.Link(trace_id=trace_id, span_id=span_id, trace_state=self.rng.choice(_TEXTS), attributes=self._attributes())

    def _attributes(self) -> list[KeyValue]:
        """Keys may come twice, be the same once harmless, or look like tags."""
        return [
            self._pair(self.rng.choice(_KEYS if self.rng.random() < 0.9 else _ODD_KEYS), nested=True) for _ in range(self.rng.randint(0, 4))
        ]

    def _pair(self, key: str, *, nested: bool) -> KeyValue:
        return KeyValue(key=key, value=any_value(self._value(3 if nested else 0)))

    def _value(self, depth: int) -> Any:
        kind = self.rng.randrange(12)
        if kind == 0 and depth:
            return self._deep(self.rng.randint(1, 28))
        if kind == 1 and depth:
            return [self._value(depth - 1) for _ in range(self.rng.randint(0, 3))]
        if kind == 2 and depth:
            return {self.rng.choice((*_KEYS, *_ODD_KEYS)): self._value(depth - 1) for _ in range(self.rng.randint(0, 2))}
        return self._scalar(kind)

    def _scalar(self, kind: int) -> Any:
        if kind < 4:
            return self.rng.choice((*_DOUBLES, self.rng.uniform(-10, 10), *struct.unpack("<d", self.rng.randbytes(8))))
        if kind < 6:
            return self.rng.choice((*_INTEGERS, self.rng.randrange(10)))
        return self.rng.choice((True, False, None, b"", b"\x00\xff")) if kind == 6 else self.rng.choice(_TEXTS)

    def _deep(self, depth: int) -> Any:
        """As many levels as upb takes below lists and maps of `_value`, whole messages at 100."""
        value: Any = "deep"
        for place in range(depth):
            value = [value] if place % 2 else {"$k": value}
        return value

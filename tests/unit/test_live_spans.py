"""Which beginnings of a program's own spans are told, and when; real spans of the SDK, no server."""

from __future__ import annotations

import gc
import gzip
from collections.abc import Iterator

import pytest
from opentelemetry.context import Context
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ScopeLogs
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import set_span_in_context

from otel_bridge.encoding import Encoder
from otel_bridge.live_spans import LiveSpans
from otel_bridge.parcels import LOGS_PATH, TRACES_PATH
from otel_bridge.places import Place
from otel_bridge.runs import Run, RunName
from otel_bridge.span_news import Begun, Ended, Pace

SOON, LATER = Pace(min_age_s=0, most_a_second=0), Pace(min_age_s=1, most_a_second=0)
INSTANCE = "instance-1"


class Watched:
    """A program's provider and what is told of its spans. Times are seconds of a clock that begins at 1,000."""

    def __init__(self, *, is_sampled: bool = True) -> None:
        self.encoder = Encoder()
        self.live = LiveSpans(self.encoder, INSTANCE)
        resource = Resource({"service.name": "app"})
        self.provider = TracerProvider(ALWAYS_ON if is_sampled else ALWAYS_OFF, resource, shutdown_on_exit=False)

    def begin(self, name: str, at_s: float, pace: Pace = SOON, place: Place | None = None, parent: Span | None = None) -> Span:
        context = set_span_in_context(parent) if parent is not None else Context()
        span = self.provider.get_tracer("app").start_span(name, context)
        if isinstance(span, Span):
            self.live.begin(Begun(span, place, 1_000 + at_s, pace))
        return span  # type: ignore[return-value]  # one that is not sampled is asked for its name only

    def end(self, span: Span, *, is_told: bool = True) -> None:
        span.end()
        self.live.end(Ended(span, is_told))

    def told(self, at_s: float = 0.0) -> list[LogRecord]:
        """Return the beginnings that are told by then."""
        self.live.tell_due(1_000 + at_s)
        return [record for scope in self._scopes() for record in scope.log_records]

    def ended(self) -> list[SpanMessage]:
        bodies = [gzip.decompress(parcel.body) for parcel in self.encoder.take_parcels() if parcel.path == TRACES_PATH]
        requests = [ExportTraceServiceRequest.FromString(body) for body in bodies]
        return [span for request in requests for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]

    def _scopes(self) -> Iterator[ScopeLogs]:
        for parcel in self.encoder.take_parcels():
            assert LOGS_PATH == parcel.path
            for one in ExportLogsServiceRequest.FromString(gzip.decompress(parcel.body)).resource_logs:
                attributes = {pair.key: pair.value.string_value for pair in one.resource.attributes}
                assert {"service.name": "app", "service.instance.id": INSTANCE} == attributes
                yield from one.scope_logs


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_beginning_says_which_span_began_when_and_under_what(watched: Watched) -> None:
    outer = watched.begin("outer", 0)
    inner = watched.begin("inner", 0, parent=outer)

    first, second = watched.told()

    assert inner.start_time is not None
    attributes = {pair.key: pair.value for pair in second.attributes}
    assert ("flowspan.span.begun", "outer") == (
        first.event_name,
        {pair.key: pair.value for pair in first.attributes}["flowspan.span.name"].string_value,
    )
    assert inner.context.trace_id.to_bytes(16, "big") == second.trace_id
    assert inner.context.span_id.to_bytes(8, "big") == second.span_id
    assert (f"{outer.context.span_id:016x}", inner.start_time) == (
        attributes["flowspan.span.parent_id"].string_value,
        attributes["flowspan.span.start_ns"].int_value,
    )


def test_a_span_that_ends_before_its_time_is_told_by_its_end_alone(watched: Watched) -> None:
    short, long = watched.begin("short", 0, LATER), watched.begin("long", 0.5, LATER)
    watched.end(short)
    ends = watched.ended()

    assert [[], ["long"]] == [_names(watched.told(1.4)), _names(watched.told(1.5))]
    assert (["short"], 1) == ([span.name for span in ends], watched.live.open_spans)
    assert long.end_time is None


def test_the_next_beginning_is_due_when_its_span_is_old_enough(watched: Watched) -> None:
    nothing = watched.live.next_due_s(1_000)
    watched.end(watched.begin("short", 0, LATER))
    watched.begin("long", 0.5, LATER)

    assert (None, 1_001.5) == (nothing, watched.live.next_due_s(1_000))


def test_beyond_its_rate_a_beginning_waits_and_the_ends_do_not(watched: Watched) -> None:
    pace = Pace(min_age_s=0, most_a_second=10)
    spans = [watched.begin(f"s{number}", 0, pace) for number in range(25)]

    at_once = _names(watched.told(0))
    watched.end(spans[10])
    ended = len(watched.ended())
    then = [_names(watched.told(seconds)) for seconds in (0.05, 0.1, 1.1, 2.1)]

    assert (10, 1) == (len(at_once), ended)
    assert [0, 1, 10, 3] == [len(names) for names in then]
    assert {f"s{number}" for number in range(25)} - {"s10"} == {name for names in [at_once, *then] for name in names}


def test_a_span_nobody_sampled_is_not_told() -> None:
    watched = Watched(is_sampled=False)

    watched.begin("unsampled", 0)

    assert ([], 0) == (watched.told(), watched.live.open_spans)


def test_a_span_in_a_task_is_told_as_part_of_it_and_stays_as_it_was(watched: Watched) -> None:
    place = Place(Run(RunName("r1", "etl", source="mine", generation=2)), "load:1")
    span = watched.begin("GET", 0, place=place)
    (begun,) = watched.told()
    watched.end(span)
    (ended,) = watched.ended()

    named = {"cicd.pipeline.run.id": "r1", "flowspan.source": "mine", "flowspan.node": "load:1", "flowspan.role": ""}
    for told in (begun, ended):
        attributes = {pair.key: pair.value for pair in told.attributes}
        assert named == {key: attributes[key].string_value for key in named}
        assert 2 == attributes["flowspan.generation"].int_value
    assert {} == dict(span.attributes or {})


def test_an_end_that_somebody_else_sends_is_not_sent_twice(watched: Watched) -> None:
    watched.end(watched.begin("GET", 0), is_told=False)

    assert ([], 0) == (watched.ended(), watched.live.open_spans)


def _names(records: list[LogRecord]) -> list[str]:
    return [{pair.key: pair.value.string_value for pair in record.attributes}["flowspan.span.name"] for record in records]


def test_a_beginning_that_waits_for_its_turn_is_due_later_than_now(watched: Watched) -> None:
    spans = [watched.begin(f"s{number}", 0, Pace(min_age_s=0, most_a_second=0.5)) for number in range(3)]
    told = _names(watched.told(0))

    due_s = watched.live.next_due_s(1_000)

    assert (["s0"], 3) == (told, len(spans))
    assert 1_002 == due_s


def test_beginnings_of_another_pace_are_not_waited_for(watched: Watched) -> None:
    slow = watched.begin("slow", 0, Pace(min_age_s=30, most_a_second=0))
    quick = watched.begin("quick", 1, SOON)

    assert ["quick"] == _names(watched.told(1))
    assert slow.end_time is quick.end_time is None


def test_a_span_that_nobody_holds_is_forgotten(watched: Watched) -> None:
    watched.begin("held by nobody", 0)
    held = watched.begin("held", 0)
    gc.collect()

    for _ in range(2):
        watched.live.forget_lost()

    assert (1, None) == (watched.live.open_spans, held.end_time)


def test_a_span_whose_end_was_dropped_is_forgotten_not_at_once(watched: Watched) -> None:
    span = watched.begin("GET", 0)
    span.end()

    left = []
    for _ in range(2):
        watched.live.forget_lost()
        left.append(watched.live.open_spans)

    assert [1, 0] == left

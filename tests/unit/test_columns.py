"""Columns of OTLP traces: what a group of bodies is, which of them fail alone, and what goes the way of rows."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.attributes import from_json
from collector.dialects import Dialect, LogLine, SpanEnd, SpanMoment, Work, pipeline, plain
from collector.errors import FlowspanError, Rejected, TooLarge
from collector.model import SpanRow
from collector.otlp.columns import SPAN_SCHEMA, decode_trace_columns, warm_up
from collector.otlp.columns.decode import CALL_BYTES, decode_call
from collector.otlp.columns.envelopes import REPEATED_BYTES, open_request
from collector.otlp.columns.wire import NotColumnar, parse_spans
from collector.otlp.terms import TraceTerms
from collector.verdict import Decoded
from tests.bench.requests import large_request
from tests.columns import ALL_DIALECTS, MILL_DIALECT, assert_equal_to_rows, good, together
from tests.otlp_bodies import DIALECTS, RECEIVED_NS, START_NS, a_span, full_traces, pairs, span_request

TERMS = TraceTerms(DIALECTS)


def _columns(*bodies: bytes) -> list[Decoded | FlowspanError]:
    return decode_trace_columns(bodies, [RECEIVED_NS] * len(bodies), TERMS)


def _names(found: Sequence[Decoded | FlowspanError]) -> list[list[str]]:
    """Return the names of each body's spans that are columns."""
    return [[name for columns in one.batch.span_columns for name in columns.arrow["name"].to_pylist()] for one in good(found)]


def _body(*spans: Span, **resource: Any) -> bytes:
    body: bytes = span_request(*spans, **resource).SerializeToString()
    return body


def _only_row(span: Span) -> SpanRow:
    (decoded,) = good(assert_equal_to_rows([_body(span, service__name="shop")], TERMS))
    (row,) = decoded.batch.as_rows().spans
    return row


def test_the_columns_are_those_of_a_row() -> None:
    assert list(SpanRow._fields) == SPAN_SCHEMA.names
    assert ["attempt"] == [field.name for field in SPAN_SCHEMA if field.nullable]


# R079
def test_bodies_decoded_together_are_what_each_is_alone() -> None:
    bodies = [large_request(seed, 40).body for seed in range(4)]

    found = assert_equal_to_rows([*bodies, full_traces().SerializeToString(), b""], TraceTerms(DIALECTS, 30))

    assert [40, 40, 40, 40, 1, 0] == [len(one.batch) for one in good(found)]


def test_neighbours_are_one_record_batch_again_when_they_are_put_together() -> None:
    bodies = [large_request(seed, 4).body for seed in range(4)]

    found = _columns(bodies[0], bodies[1], b"\xff" * 9, b"", bodies[2], bodies[3])

    assert [16] == [len(columns) for columns in together(found).span_columns]


def test_parts_that_do_not_stand_side_by_side_stay_apart() -> None:
    first, second, third = good(_columns(*(_body(a_span(name=name)) for name in "abc")))
    first.batch.extend(third.batch)
    first.batch.extend(second.batch)

    assert ["a", "c", "b"] == [row.name for row in first.batch.as_rows().spans]


# R079
def test_a_bad_body_fails_alone() -> None:
    found = _columns(_body(a_span(name="before")), b"\xff" * 9, _body(a_span(name="after")))

    assert isinstance(found[1], Rejected)
    assert [["before"], ["after"]] == _names(found)


def test_a_body_of_too_many_spans_is_refused_by_its_count() -> None:
    few = TraceTerms(DIALECTS, max_records=1)

    found = decode_trace_columns([_body(a_span(), a_span()), _body(a_span(name="one"))], [RECEIVED_NS] * 2, few)

    assert isinstance(found[0], TooLarge)
    assert [["one"]] == _names(found)


def test_more_bodies_than_one_call_takes_are_several_calls() -> None:
    bodies = [large_request(seed, 4, padding=CALL_BYTES // 10).body for seed in range(4)]

    found = assert_equal_to_rows(bodies, TERMS)

    assert [8, 8] == [len(columns) for columns in together(found).span_columns]


def test_no_body_is_no_span() -> None:
    assert [] == _columns()


# R064
def test_refused_spans_are_counted_by_their_place_in_their_own_body() -> None:
    bodies = [_body(a_span(name="a"), a_span(span_id=b"")), _body(a_span(trace_id=bytes(16)), a_span(name="b"))]

    found = assert_equal_to_rows(bodies, TERMS)

    assert [[1], [0]] == [[refusal.place for refusal in decoded.refused] for decoded in good(found)]
    assert [["a"], ["b"]] == _names(found)


# R021
def test_a_span_without_an_end_is_a_moment_of_its_body() -> None:
    running = a_span(end_time_unix_nano=0, name="running")

    found = assert_equal_to_rows([_body(a_span()), _body(running, service__instance__id="p1")], TERMS)

    assert [["work"], []] == _names(found)
    assert ["running"] == [moment.name for moment in together(found).moments]
    assert ["p1"] == [process.process for process in together(found).processes]


# --- values ------------------------------------------------------------------------------------------------------------------------------


# R064
def test_every_double_is_written_as_python_writes_it() -> None:
    rng = Random(1)
    doubles = [*struct.unpack("<3000d", rng.randbytes(24_000)), *(rng.uniform(-1, 1) * 10 ** rng.randint(-8, 18) for _ in range(3000))]
    doubles += [float(rng.randrange(10**12)) for _ in range(500)]
    span = a_span(attributes=[*pairs({f"d{place}": double for place, double in enumerate(doubles)})])

    assert repr(doubles) == repr([*from_json(_only_row(span).attributes).values()])


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ([], "{}"),
        ([KeyValue(key="nothing")], '{"nothing":null}'),
        (pairs({"text": 'a"b\\c\n', "list": [1, "x"], "yes": True}), '{"text":"a\\"b\\\\c\\n","list":[1,"x"],"yes":true}'),
        ([*pairs({"a": 1, "b": 2}), *pairs({"a": 3})], '{"a":3,"b":2}'),
        (pairs({"$double": "a trap"}), '{"$map":{"$double":"a trap"}}'),
        (pairs({"k\x00": "v\x00"}), '{"k\ufffd":"v\ufffd"}'),
    ],
)
def test_attributes_are_text_that_keeps_types_and_order(attributes: list[KeyValue], text: str) -> None:
    assert text == _only_row(a_span(attributes=attributes)).attributes


def test_spans_that_need_care_stand_where_they_stood() -> None:
    twice = [*pairs({"a": 1}), *pairs({"a": 2})]
    names = [_body(a_span(name="1"), a_span(name="2", attributes=twice), a_span(name="3")), _body(a_span(name="4\x00"), a_span(name="5"))]

    assert [["1", "2", "3"], ["4\ufffd", "5"]] == _names(assert_equal_to_rows(names, TERMS))


def test_the_last_exception_is_the_error_of_its_span() -> None:
    events = [
        Span.Event(name="exception", attributes=pairs({"exception.type": kind, "exception.message": message}))
        for kind, message in (("KeyError", "k"), ("ValueError", "bad row"))
    ]

    assert "ValueError: bad row" == _only_row(a_span(events=events)).error


def test_a_resource_too_long_to_be_repeated_goes_by_rows() -> None:
    (found,) = good(_columns(_body(*(a_span() for _ in range(80)), long="x" * (REPEATED_BYTES // 70))))

    assert (80, []) == (len(found.batch.spans), found.batch.span_columns)


# --- dialects ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialects", ALL_DIALECTS)
def test_tables_are_read_in_order_from_spans_and_resources(dialects: tuple[Dialect, ...]) -> None:
    named: list[dict[str, Any]] = [{"cicd.pipeline.run.id": "r1"}, {"mill.step": "grind", "mill.try": 1}, {}]
    named.append({"cicd.pipeline.task.name": "load", "mill.run": 7})
    spans = [a_span(attributes=pairs(attributes)) for attributes in named]

    assert_equal_to_rows([_body(*spans), _body(*spans, mill__id="m"), _body(*spans, cicd__pipeline__name="nightly")], TraceTerms(dialects))


def _by_hand(fact: SpanEnd | SpanMoment | LogLine, /) -> Work | None:
    return None


def test_a_dialect_that_is_a_function_needs_rows() -> None:
    assert TraceTerms((pipeline.DIALECT, MILL_DIALECT, plain.DIALECT)).allow_columns()
    assert not TraceTerms((pipeline.DIALECT, Dialect("by hand", 100, _by_hand))).allow_columns()


def test_a_dialect_keeps_its_table_when_it_is_wrapped() -> None:
    wrapped = replace(pipeline.DIALECT, recognise=lambda fact: pipeline.TABLE.recognise(fact))

    assert pipeline.TABLE is wrapped.table


# --- what ptars does ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [b"\x0a", b"\x0a\x14\x12\x12\x12\x10\x2a"])
def test_a_panic_of_ptars_is_an_error_like_any_other(tag: bytes) -> None:
    with pytest.raises(NotColumnar):
        parse_spans([tag + b"\xff" * 9 + b"\x01"])


def test_a_body_that_ptars_alone_refuses_costs_its_neighbours_nothing() -> None:
    sound, other = (open_request(_body(a_span(name=name)), START_NS, 10) for name in ("sound", "other"))
    assert sound is not None
    assert other is not None
    other.body = b"\xff"

    decoded = decode_call([sound, other], TERMS)

    assert [["sound"]] == _names(decoded)
    assert isinstance(decoded[1], Rejected)


def test_what_is_decoded_to_warm_up_is_columns(caplog: pytest.LogCaptureFixture) -> None:
    warm_up(TERMS)

    assert "" == caplog.text

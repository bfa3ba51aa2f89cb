"""OTLP/JSON: the four deviations from the proto3 mapping, and the traps of Python's json."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collector.attributes import from_json
from collector.errors import Rejected
from collector.otlp import Encoding, decode_traces
from collector.verdict import Decoded, Refusal
from tests.otlp_bodies import END_NS, PARENT_ID, SPAN_ID, START_NS, TRACE_ID, as_json, full_logs, full_traces, logs, traces

SPAN = {
    "traceId": TRACE_ID.hex(),
    "spanId": SPAN_ID.hex(),
    "name": "work",
    "startTimeUnixNano": str(START_NS),
    "endTimeUnixNano": str(END_NS),
}


def _request(*spans: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [*spans]}]}]}


def _log_request(*records: Any) -> dict[str, Any]:
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [*records]}]}]}


def _attribute(value: Any) -> dict[str, Any]:
    return _request({**SPAN, "attributes": [{"key": "a", "value": value}]})


def _stored(decoded: Decoded) -> Any:
    assert [] == decoded.refused
    return from_json(decoded.batch.spans[0].attributes)["a"]


# R019
def test_every_field_means_the_same_in_json_and_protobuf() -> None:
    assert traces(full_traces()) == traces(as_json(full_traces()))
    assert logs(full_logs()) == logs(as_json(full_logs()))


# --- the deviations --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spell", [str.upper, str.lower])
def test_ids_are_hex_in_either_case_everywhere(spell: Any) -> None:
    ids = {"traceId": spell(TRACE_ID.hex()), "spanId": spell(SPAN_ID.hex())}
    span = {**SPAN, **ids, "parentSpanId": spell(PARENT_ID.hex()), "links": [ids]}

    (row,) = traces(_request(span)).batch.spans
    (line,) = logs(_log_request(ids)).batch.logs

    assert (TRACE_ID, SPAN_ID, PARENT_ID) == (row.trace_id, row.span_id, row.parent_span_id)
    assert [TRACE_ID.hex(), SPAN_ID.hex()] == from_json(row.links)[0][:2]
    assert (TRACE_ID, SPAN_ID) == (line.trace_id, line.span_id)


@pytest.mark.parametrize("trace_id", ["", "zz" * 16, "0" * 32, TRACE_ID.hex()[:-1], TRACE_ID.hex() + "00", "CvdlGRbNQ92ESOshHIAxnA==", "   "])
def test_a_trace_id_that_is_none_refuses_only_its_span(trace_id: str) -> None:
    decoded = traces(_request({**SPAN, "traceId": trace_id}, SPAN))

    assert [Refusal(0, "traceId must be 16 bytes, in JSON 32 hex digits, and not all zero")] == decoded.refused
    assert 1 == len(decoded.batch.spans)


def test_a_parent_or_link_or_log_id_that_is_none_costs_nothing_else() -> None:
    span = {**SPAN, "parentSpanId": "nothex", "links": [{"traceId": "nothex", "spanId": SPAN_ID.hex()}]}

    (row,) = traces(_request(span)).batch.spans
    (line,) = logs(_log_request({"traceId": "nothex", "spanId": "12"})).batch.logs

    assert (b"", "[]") == (row.parent_span_id, row.links)
    assert (b"", b"") == (line.trace_id, line.span_id)


@pytest.mark.parametrize(("kind", "stored"), [(3, 3), ("SPAN_KIND_CLIENT", 3), ("3", 3), (99, 99), (None, 0)])
def test_enums_are_integers_and_names_are_taken(kind: object, stored: int) -> None:
    assert stored == traces(_request({**SPAN, "kind": kind})).batch.spans[0].kind


def test_unknown_fields_are_ignored_at_every_level() -> None:
    document = {"x": 1, "resourceSpans": [{"y": [2], "scopeSpans": [{"z": {}, "spans": [{**SPAN, "name2": "no", "trace_state": "no"}]}]}]}

    decoded = traces(document)

    assert ([], "", "") == (decoded.refused, decoded.warning, decoded.batch.spans[0].trace_state)


@pytest.mark.parametrize(
    "document", [{"resource_spans": [{}]}, {"resourceSpans": [{"scope_spans": [{"spans": [SPAN]}]}]}, {"resourceLogs": [{}]}]
)
def test_a_request_in_which_only_unknown_keys_are_found_is_warned_about(document: dict[str, Any]) -> None:
    decoded = traces(document)

    assert 0 == decoded.received
    assert decoded.warning.startswith("no spans found")
    assert decoded.warning.endswith("keys must be lowerCamelCase, as in resourceSpans")


# --- values ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({"intValue": "9223372036854775807"}, 2**63 - 1),
        ({"intValue": -(2**63)}, -(2**63)),
        ({"intValue": 5.0}, 5),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": "1.5"}, 1.5),
        ({"doubleValue": "-Infinity"}, float("-inf")),
        ({"bytesValue": "-_8="}, b"\xfb\xff"),
        ({"bytesValue": "+/8"}, b"\xfb\xff"),
        ({"stringValue": None}, None),
        ({}, None),
        (None, None),
        ({"stringValueStrindex": 3}, None),
        ({"arrayValue": {}}, []),
        ({"arrayValue": {"values": [{"intValue": "1"}, {}, None]}}, [1, None, None]),
        ({"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": False}}]}}, {"k": False}),
        ({"stringValue": "a\ud800\x00b"}, "a\ufffd\ufffdb"),
        ({"stringValue": "\U0001f600"}, "\U0001f600"),
    ],
)
def test_a_value_is_read_as_the_proto3_mapping_says(value: Any, stored: Any) -> None:
    found = _stored(traces(_attribute(value)))

    assert (stored, type(stored)) == (found, type(found))


def test_nan_is_text_and_stays_a_double() -> None:
    assert "nan" == str(_stored(traces(_attribute({"doubleValue": "NaN"}))))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"intValue": 10**30}, "attributes[0].value.intValue must be an integer between"),
        ({"intValue": "1e3"}, "attributes[0].value.intValue must be an integer"),
        ({"intValue": True}, "attributes[0].value.intValue must be an integer"),
        ({"intValue": 0.5}, "attributes[0].value.intValue must be an integer"),
        ({"doubleValue": "many"}, "attributes[0].value.doubleValue must be a number"),
        ({"doubleValue": 10**400}, "attributes[0].value.doubleValue must be a number"),
        ({"bytesValue": "!"}, "attributes[0].value.bytesValue must be base64"),
        ({"bytesValue": 3}, "attributes[0].value.bytesValue must be base64"),
        ({"stringValue": 5}, "attributes[0].value.stringValue must be text"),
        ({"boolValue": "true"}, "attributes[0].value.boolValue must be true or false"),
        ({"arrayValue": {"values": {}}}, "attributes[0].value.arrayValue.values must be a list"),
        ({"arrayValue": {"values": [{}, 7]}}, "attributes[0].value.arrayValue.values[1] must be an object"),
        ("bare", "attributes[0].value must be an object"),
    ],
)
def test_a_wrong_value_refuses_only_its_span_and_names_the_field(value: Any, reason: str) -> None:
    document = _request(SPAN, *_attribute(value)["resourceSpans"][0]["scopeSpans"][0]["spans"], SPAN)

    decoded = traces(document)

    assert (3, 2) == (decoded.received, len(decoded.batch.spans))
    assert [1] == [refusal.place for refusal in decoded.refused]
    assert decoded.refused[0].reason.startswith(reason)


@pytest.mark.parametrize(
    "span", [5, "x", [], None, {**SPAN, "startTimeUnixNano": -1}, {**SPAN, "endTimeUnixNano": 2**64}, {**SPAN, "kind": "BAD"}]
)
def test_a_span_of_a_wrong_shape_refuses_only_itself(span: Any) -> None:
    decoded = traces(_request(span, SPAN))

    assert [0] == [refusal.place for refusal in decoded.refused]
    assert 1 == len(decoded.batch.spans)


def test_a_log_record_of_a_wrong_shape_refuses_only_itself() -> None:
    decoded = logs(_log_request({"body": "bare"}, {"body": {"stringValue": "fine"}}))

    assert [Refusal(0, "body must be an object")] == decoded.refused
    assert ['"fine"'] == [row.body for row in decoded.batch.logs]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "the body must be an object"),
        ("x", "the body must be an object"),
        (None, "the body must be an object"),
        ({"resourceSpans": {}}, "resourceSpans must be a list"),
        ({"resourceSpans": [5]}, r"resourceSpans\[0\] must be an object"),
        ({"resourceSpans": [{"resource": []}]}, r"resourceSpans\[0\].resource must be an object"),
        ({"resourceSpans": [{}, {"scopeSpans": [{"spans": {}}]}]}, r"resourceSpans\[1\].scopeSpans\[0\].spans must be a list"),
        ({"resourceSpans": [{"scopeSpans": [{"scope": {"name": 5}}]}]}, r"resourceSpans\[0\].scopeSpans\[0\].scope.name must be text"),
        ({"resourceSpans": [{"resource": {"entityRefs": [{"idKeys": [5]}]}}]}, r"entityRefs\[0\].idKeys\[0\] must be text"),
    ],
)
def test_a_wrong_envelope_rejects_the_request_and_names_the_field(document: Any, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        traces(json.dumps(document))


# --- Python's traps ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"\xff\xfe\xfd",
        b"{}{}",
        b'{"x": NaN}',
        b'{"x": -Infinity}',
        b'{"x": ' + b"1" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\x0a\x00",
    ],
)
def test_a_body_that_is_no_json_is_rejected(body: bytes) -> None:
    with pytest.raises(Rejected):
        decode_traces(body, Encoding.JSON, (), 1, 0)


@pytest.mark.parametrize(("levels", "refused"), [(47, 0), (48, 1), (200, 1)])
def test_json_is_read_as_deep_as_protobuf(levels: int, refused: int) -> None:
    value: Any = {"stringValue": "core"}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}

    assert refused == len(traces(_attribute(value)).refused)


def test_hostile_text_is_stored_harmless_everywhere() -> None:
    bad = "a\ud800\x00"
    event = {"name": bad, "timeUnixNano": "1", "attributes": [{"key": bad, "value": {"stringValue": bad}}]}
    document = _request({**SPAN, "name": bad, "traceState": bad, "status": {"message": bad}, "events": [event]})

    (row,) = traces(document).batch.spans

    good = "a\ufffd\ufffd"
    assert (good, good, good) == (row.name, row.trace_state, row.status_message)
    assert [[1, good, {good: good}, 0]] == from_json(row.events)

"""Whatever a body holds, decoding it ends soon: with rows, with refusals, or with Rejected. Nothing else is ever raised."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from collector.errors import Rejected
from collector.otlp import Encoding, Signal, decode_logs, decode_metrics, decode_traces, encode_response, encode_trace
from collector.verdict import Decoded, Verdict
from tests.otlp_bodies import DIALECTS, RECEIVED_NS, a_span, any_value, as_json, as_read, full_logs, full_traces, pairs, span_request, traces

quickly = settings(max_examples=100, deadline=None)

_LIFECYCLE = {"flowspan.span.parent_id": "00f067aa0ba902b7", "flowspan.span.start_ns": "5", "flowspan.attempt": 1}
_NAMED = {"cicd.pipeline.run.id": "r1", "cicd.pipeline.task.name": "load", "cicd.pipeline.task.run.result": "failure", **_LIFECYCLE}


def _named_traces() -> bytes:
    """Two requests one after the other are one, in protobuf."""
    body: bytes = full_traces().SerializeToString()
    return body + span_request(a_span(attributes=pairs(_NAMED))).SerializeToString()


BODIES = [_named_traces(), full_logs().SerializeToString()]
TEXTS = [json.dumps(as_json(full_traces())), json.dumps(as_json(full_logs()))]


@st.composite
def _damaged(draw: st.DrawFn, bodies: list[bytes]) -> bytes:
    """Return a real body, cut, with bytes changed, doubled or left out."""
    body = bytearray(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, max(len(body) - 1, 0)))
        size = draw(st.integers(0, 8))
        body[place : place + size] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(body[place : place + 40]))))
    return bytes(body[: draw(st.integers(0, len(body)))]) if draw(st.booleans()) else bytes(body)


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from(["NaN", "00f067aa0ba902b7", "0af7651916cd43dd8448eb211c80319c", "flowspan.span.begun", "cicd.pipeline.run.id", "9" * 30]),
)


def _keys_in(found: Any) -> set[str]:
    inner = [*found.values()] if isinstance(found, dict) else found if isinstance(found, list) else []
    return set(found if isinstance(found, dict) else ()).union(*(_keys_in(part) for part in inner))


_KEYS = st.sampled_from(sorted({"resourceMetrics", "resource_spans"}.union(*(_keys_in(json.loads(text)) for text in TEXTS))))
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=30,
)


@st.composite
def _edited(draw: st.DrawFn) -> Any:
    """Return a real OTLP/JSON document in which some parts are replaced by anything."""
    document = json.loads(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 4))):
        part: Any = document
        while isinstance(part, (dict, list)) and part:
            key = draw(st.sampled_from(sorted(part))) if isinstance(part, dict) else draw(st.integers(0, len(part) - 1))
            if not isinstance(part[key], (dict, list)) or draw(st.integers(0, 5)) == 0:
                part[key] = draw(_DOCUMENTS)
                break
            part = part[key]
    return document


@quickly
@given(st.one_of(st.binary(max_size=200), _damaged(BODIES)))
def test_any_bytes_are_decoded_or_rejected_as_protobuf(body: bytes) -> None:
    _decode_every_way(body, Encoding.PROTOBUF)


@quickly
@given(st.one_of(st.binary(max_size=50), _damaged([text.encode() for text in TEXTS])))
def test_any_bytes_are_decoded_or_rejected_as_json(body: bytes) -> None:
    _decode_every_way(body, Encoding.JSON)


@quickly
@given(st.one_of(_DOCUMENTS, _edited()))
def test_any_document_is_decoded_or_rejected(document: Any) -> None:
    _decode_every_way(json.dumps(document).encode(), Encoding.JSON)


_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.binary(max_size=8),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=20,
)


# R064
@quickly
@given(st.dictionaries(st.text(max_size=8), _VALUES, max_size=5))
def test_any_attributes_mean_the_same_in_both_encodings_and_come_back(attributes: dict[str, Any]) -> None:
    request = span_request(a_span(attributes=pairs(attributes)))

    protobuf, in_json = traces(request), traces(as_json(request))
    batch = protobuf.batch
    back = traces(encode_trace(as_read(batch)))

    assert protobuf == in_json
    assert protobuf.batch == back.batch


@quickly
@given(_VALUES)
def test_any_log_body_is_read(body: Any) -> None:
    value: AnyValue = any_value(body)
    request = full_logs()
    request.resource_logs[0].scope_logs[0].log_records[0].body.CopyFrom(value)

    (decoded,) = _decode_every_way(request.SerializeToString(), Encoding.PROTOBUF)[1:]

    assert decoded is not None
    assert 1 == len(decoded.batch.logs)


def _decode_every_way(body: bytes, encoding: Encoding) -> tuple[Decoded | None, Decoded | None]:
    """Decode a body as traces, logs and metrics, and encode what is to be answered. None where it was rejected."""
    found: list[Decoded | None] = []
    for signal, decode in ((Signal.TRACES, decode_traces), (Signal.LOGS, decode_logs)):
        try:
            decoded = decode(body, encoding, DIALECTS, RECEIVED_NS, 30)
        except Rejected as error:
            assert str(error)
            found.append(None)
            continue
        assert decoded.received == len(decoded.refused) + len(decoded.batch.spans) + len(decoded.batch.logs) + _signs(decoded)
        encode_response(signal, encoding, Verdict(0, decoded.refused, decoded.warning))
        json.dumps(encode_trace(as_read(decoded.batch)), allow_nan=False).encode()
        found.append(decoded)
    _count_points(body, encoding)
    return found[0], found[1]


def _signs(decoded: Decoded) -> int:
    """Count moments and beats; a moment with a process is also heard of it."""
    return len(decoded.batch.moments) + len(decoded.batch.processes) - sum(1 for moment in decoded.batch.moments if moment.process)


def _count_points(body: bytes, encoding: Encoding) -> None:
    try:
        assert decode_metrics(body, encoding) >= 0
    except Rejected as error:
        assert str(error)

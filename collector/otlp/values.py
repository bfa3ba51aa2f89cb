"""OTLP's AnyValue and the Python value it stands for, both ways."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

_SCALARS = frozenset({"string_value", "bool_value", "int_value", "double_value", "bytes_value"})


def read_attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Return an attribute list as a map. Of a key that comes twice, which OTLP forbids, the last stands."""
    return {pair.key: read_value(pair.value) for pair in pairs}


def read_value(found: AnyValue) -> Any:
    """Return an AnyValue as str, bool, int, float, bytes, None, or lists and maps of them.

    None for an empty one, and for `string_value_strindex`, which only profiles may use (common.proto).
    """
    kind = found.WhichOneof("value")
    if kind in _SCALARS:
        return getattr(found, kind)
    if kind == "array_value":
        return [read_value(value) for value in found.array_value.values]
    return read_attributes(found.kvlist_value.values) if kind == "kvlist_value" else None


def attributes_json(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a map as the JSON of an attribute list."""
    return [{"key": key, "value": value_json(value)} for key, value in attributes.items()]


def value_json(value: Any) -> dict[str, Any]:
    """Return a value as the JSON of an AnyValue: 64-bit integers and what is no finite double as text, bytes as base64."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return _integer_json(value)
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
    if isinstance(value, bytes):
        return {"bytesValue": b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": attributes_json(value)}}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {"arrayValue": {"values": [value_json(item) for item in value]}}
    return {"stringValue": str(value)}


def _integer_json(value: int) -> dict[str, Any]:
    """A flow event may hold integers that OTLP has no room for: they go out as text."""
    return {"intValue" if -(2**63) <= value < 2**63 else "stringValue": str(value)}


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

"""Attribute values as JSON text that keeps their types, and back.

What JSON has no word for is tagged: {"$double": "NaN"}, {"$bytes": base64}; a map whose only key begins with "$" is wrapped in {"$map": ...}.
Doubles always carry "." or an exponent, so an integer and a double never meet. Text is stored harmless.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from otel_bridge.facts import Attributes, harmless

MAX_DEPTH = 64
TOO_DEEP = "(nested too deeply)"

# The longest integer Python turns into text without being asked twice (sys.int_info.default_max_str_digits is 4300).
MAX_INTEGER_BITS = 4096


def to_json(value: Any) -> str:
    """Return value as JSON text with types kept: str, bool, int, float, bytes, None, lists and maps of them; anything else as its str()."""
    text = _quick_json(value)
    return _JSON.encode(_plain(value, 0)) if text is None else text


_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
# A text this short holds no integer of MAX_INTEGER_BITS.
QUICK_CHARS = 1200


def _quick_json(value: Any) -> str | None:
    """Return the text of a small value that needs no care, as nearly all are: a walk in Python over each costs four times as much."""
    try:
        text = _JSON.encode(value)
    except (TypeError, ValueError, RecursionError):
        return None
    if len(text) > QUICK_CHARS or "\\u0000" in text or '{"$' in text or not text.isascii():
        return None
    return text if text.count("{") + text.count("[") < MAX_DEPTH else None


def from_json(text: str) -> Any:
    """Return the value `to_json` was given; tuples come back as lists."""
    value = json.loads(text) if text else {}
    return _untag(value) if '"$' in text else value


def attributes_from_json(text: str) -> Attributes:
    """Return the attribute map stored in a column."""
    value = from_json(text)
    return value if isinstance(value, dict) else {}


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, int):
        return value if value.bit_length() <= MAX_INTEGER_BITS else f"(integer of {value.bit_length()} bits)"
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$double": _not_finite(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": b64encode(value).decode()}
    return _nested(value, depth)


def _nested(value: Any, depth: int) -> Any:
    if depth >= MAX_DEPTH:
        return TOO_DEEP
    if isinstance(value, Mapping):
        plain = {harmless(str(key)): _plain(item, depth + 1) for key, item in value.items()}
        return {"$map": plain} if _looks_tagged(plain) else plain
    if isinstance(value, Sequence):
        return [_plain(item, depth + 1) for item in value]
    return harmless(str(value))


def _looks_tagged(plain: dict[str, Any]) -> bool:
    return len(plain) == 1 and next(iter(plain)).startswith("$")


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _untag(found: Any) -> Any:
    """From the outside in: what stands in a "$map" is a map, whatever its keys look like."""
    if isinstance(found, list):
        return [_untag(item) for item in found]
    if not isinstance(found, dict):
        return found
    if _looks_tagged(found):
        return _value_of_tag(*next(iter(found.items())))
    return {key: _untag(value) for key, value in found.items()}


def _value_of_tag(tag: str, value: Any) -> Any:
    if tag == "$double":
        return float(value.replace("Infinity", "inf"))
    if tag == "$bytes":
        return b64decode(value)
    return {key: _untag(item) for key, item in value.items()}

"""Protobuf's wire format and OTLP's attribute values, written. Pure. Its library takes 50 ms of a program's time to load, and longer to write.

A field is a tag, number << 3 | wire type, and its content (protobuf.dev, Encoding). Tags are given as the bytes they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

# What is told names few runs, nodes and attributes, again and again; a pair that is remembered costs a tenth. At most 2 MB, 5 of emoji.
MOST_PAIRS = 2048
MOST_REMEMBERED_CHARS = 128

_DOUBLE = Struct("<Bd").pack
_SMALL = tuple(bytes((number,)) for number in range(0x80))
# The fields of an AnyValue, of a KeyValue, and of the lists and maps of them.
_STRING, _BOOL, _INT, _FLOAT, _LIST, _MAP, _BYTES = b"\x0a", b"\x10", b"\x18", 0x21, b"\x2a", b"\x32", b"\x3a"
_KEY, _VALUE, _ITEM = b"\x0a", b"\x12", b"\x0a"


def varint(number: int) -> bytes:
    """Return an integer; a negative one takes ten bytes."""
    if 0 <= number < 0x80:
        return _SMALL[number]
    number &= 0xFFFF_FFFF_FFFF_FFFF
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def field(tag: bytes, content: bytes) -> bytes:
    """Return a field of bytes: text, bytes or a message."""
    size = len(content)
    return tag + (_SMALL[size] if size < 0x80 else varint(size)) + content


def number_field(tag: bytes, number: int) -> bytes:
    """Return a field of an integer; nothing for 0, which is what its absence means."""
    return tag + varint(number) if number else b""


def text_field(tag: bytes, text: str) -> bytes:
    """Return a field of text; nothing for none. A lone surrogate, which UTF-8 has no bytes for, is a question mark."""
    return field(tag, text.encode(errors="replace")) if text else b""


def attribute_fields(tag: bytes, attributes: Mapping[str, Any]) -> bytes:
    """Return attributes as repeated KeyValues."""
    return b"".join(
        [
            _remembered_pair(tag, key, value)
            if type(value) is str is type(key) and len(value) <= MOST_REMEMBERED_CHARS and len(key) <= MOST_REMEMBERED_CHARS
            else _pair(tag, key, value)
            for key, value in attributes.items()
        ]
    )


def any_value(value: Any) -> bytes:
    """Return a value as the content of an AnyValue: text, numbers, bytes, and lists and maps of them; anything else as its text."""
    if isinstance(value, str):
        return field(_STRING, value.encode(errors="replace"))
    if isinstance(value, bool):
        return _BOOL + _SMALL[value]
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return _INT + varint(value)
    if isinstance(value, float):
        return _DOUBLE(_FLOAT, value)
    if isinstance(value, bytes):
        return field(_BYTES, value)
    if isinstance(value, (list, tuple)):
        return field(_LIST, b"".join([field(_ITEM, any_value(item)) for item in value]))
    if isinstance(value, Mapping):
        return field(_MAP, attribute_fields(_ITEM, {str(key): item for key, item in value.items()}))
    return b"" if value is None else any_value(_text_of(value))


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return type(value).__name__


def _pair(tag: bytes, key: str, value: Any) -> bytes:
    return field(tag, field(_KEY, key.encode(errors="replace")) + field(_VALUE, any_value(value)))


_remembered_pair = lru_cache(MOST_PAIRS)(_pair)

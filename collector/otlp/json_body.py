"""OTLP/JSON becomes a protobuf message: the proto3 JSON mapping with OTLP's deviations, by the message's descriptor.

Deviations (opentelemetry-proto docs/specification.md, JSON Protobuf Encoding): ids are hex, enums are integers (names are taken too),
unknown keys are ignored, and snake_case is unknown.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode
from binascii import Error as NotBinary
from binascii import unhexlify
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple, NoReturn

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from collector.errors import Rejected
from otel_bridge.facts import harmless

# As many messages inside each other as upb takes in protobuf.
MAX_DEPTH = 100

# Lists whose elements are refused one by one: a wrong value in one of them costs its neighbours nothing.
RECORD_TYPES = frozenset({"opentelemetry.proto.trace.v1.Span", "opentelemetry.proto.logs.v1.LogRecord"})

_ID_FIELDS = frozenset({"trace_id", "span_id", "parent_span_id"})
_INTEGER = re.compile(r"-?[0-9]{1,20}")


def load(body: bytes) -> Any:
    """Return the JSON document in body. Raises Rejected if it is none, has bare NaN or Infinity, or is nested beyond reading."""
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise Rejected("the JSON body is nested too deeply") from error
    except ValueError as error:
        raise Rejected(f"the body is not JSON: {harmless(str(error))}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is not JSON; as the value of a double it is the text "{name}"')


class BadValue(ValueError):
    """A JSON value cannot stand where it stands. `path` grows from the inside out while the error rises."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path = ""

    def inside(self, step: str) -> BadValue:
        """Return the error as seen from one level further out."""
        self.path = f"{step}.{self.path}".replace(".[", "[").removesuffix(".")
        return self

    def __str__(self) -> str:
        return f"{self.path or 'the body'} {self.args[0]}"


class _Field(NamedTuple):
    """How one field is read. read: JSON value -> Python value, None for a field that is a message."""

    name: str
    repeated: bool
    read: Callable[[Any], Any] | None
    is_record: bool


class JsonFiller:
    """Fills one request from its JSON. refused: running number of a record -> why; unknown_key: the first key nobody knows."""

    def __init__(self) -> None:
        self.refused: dict[int, str] = {}
        self.unknown_key = ""
        self._records = 0

    def fill_request(self, message: Message, document: Any) -> None:
        """Fill an empty request. A record that cannot be read stays in it as an empty message; raises Rejected for anything around records."""
        try:
            self._fill(message, document, 0)
        except BadValue as error:
            raise Rejected(str(error)) from error

    def _fill(self, message: Message, found: Any, depth: int) -> None:
        if not isinstance(found, dict):
            raise BadValue("must be an object")
        if depth > MAX_DEPTH:
            raise BadValue("is nested too deeply")
        fields = _fields_of(message.DESCRIPTOR)
        for key, value in found.items():
            field = fields.get(key)
            if field is None:
                self.unknown_key = self.unknown_key or key
            elif value is not None:  # null is the default: nothing to do
                self._set(message, field, key, value, depth)

    def _set(self, message: Message, field: _Field, key: str, value: Any, depth: int) -> None:
        try:
            if field.repeated:
                self._extend(getattr(message, field.name), field, value, depth)
            elif field.read is None:
                part = getattr(message, field.name)
                part.SetInParent()
                self._fill(part, value, depth + 1)
            else:
                setattr(message, field.name, field.read(value))
        except BadValue as error:
            raise error.inside(key) from None

    def _extend(self, target: Any, field: _Field, values: Any, depth: int) -> None:
        if not isinstance(values, list):
            raise BadValue("must be a list")
        add = self._add_record if field.is_record else self._add
        for place, value in enumerate(values):
            try:
                add(target, field, value, depth)
            except BadValue as error:
                raise error.inside(f"[{place}]") from None

    def _add(self, target: Any, field: _Field, value: Any, depth: int) -> None:
        if field.read is None:
            self._fill(target.add(), {} if value is None else value, depth + 1)
        else:
            target.append(field.read(value))

    def _add_record(self, target: Any, field: _Field, value: Any, depth: int) -> None:
        place, self._records = self._records, self._records + 1
        record = target.add()
        try:
            self._fill(record, value, depth + 1)
        except BadValue as error:
            record.Clear()
            self.refused[place] = str(error)


# --- how each field is read: made once a message type -------------------------------------------------------------------------------------


@cache
def _fields_of(descriptor: Descriptor) -> Mapping[str, _Field]:
    return {field.json_name: _describe(field) for field in descriptor.fields}


def _describe(field: FieldDescriptor) -> _Field:
    is_record = field.message_type is not None and field.message_type.full_name in RECORD_TYPES
    return _Field(field.name, field.is_repeated, _reader_of(field), is_record)


def _reader_of(field: FieldDescriptor) -> Callable[[Any], Any] | None:
    if field.message_type is not None:
        return None
    if field.enum_type is not None:
        return partial(_read_enum, field.enum_type)
    if field.cpp_type in _INTEGER_RANGES:
        return partial(_read_integer, *_INTEGER_RANGES[field.cpp_type])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _read_id if field.name in _ID_FIELDS else _read_bytes
    return {
        FieldDescriptor.CPPTYPE_STRING: _read_text,
        FieldDescriptor.CPPTYPE_BOOL: _read_bool,
        FieldDescriptor.CPPTYPE_DOUBLE: _read_double,
    }[field.cpp_type]


_INTEGER_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadValue("must be text")
    return harmless(value)


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadValue("must be true or false")
    return value


def _read_integer(least: int, greatest: int, value: Any) -> int:
    """Read a number or its decimal text; 1e3 and 5.0 are integers too, as in the proto3 mapping."""
    is_whole = _INTEGER.fullmatch(value) if isinstance(value, str) else isinstance(value, float) and value.is_integer()
    if is_whole:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= greatest:
        raise BadValue(f"must be an integer between {least} and {greatest}")
    return value


def _read_enum(enum: EnumDescriptor, value: Any) -> int:
    named = enum.values_by_name.get(value) if isinstance(value, str) else None
    return named.number if named is not None else _read_integer(*_INTEGER_RANGES[FieldDescriptor.CPPTYPE_INT32], value)


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _read_double(value: Any) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadValue('must be a number, "NaN", "Infinity" or "-Infinity"')
    return number


def _read_id(value: Any) -> bytes:
    """Read hex. What is not hex is no id; whether the record can do without one is not known here."""
    if not isinstance(value, str):
        raise BadValue("must be hex digits as text")
    try:
        return unhexlify(value)
    except ValueError:
        return b""


def _read_bytes(value: Any) -> bytes:
    """Read base64, standard or URL-safe, padded or not."""
    if not isinstance(value, str):
        raise BadValue("must be base64 as text")
    standard = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (NotBinary, ValueError):
        raise BadValue("must be base64 as text") from None

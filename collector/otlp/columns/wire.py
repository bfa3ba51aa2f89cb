"""OTLP's wire as Arrow sees it: ptars turns a list of messages into columns in one call.

Our own descriptor, not OTLP's: key-values, events and links stay bytes, so that equal ones are found before they are parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, Protocol

import ptars
import pyarrow as pa
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

_TEXT, _BYTES, _INT32, _INT64 = (
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_BYTES,
    FieldDescriptorProto.TYPE_INT32,
    FieldDescriptorProto.TYPE_INT64,
)
_UINT32, _FIXED32, _FIXED64 = FieldDescriptorProto.TYPE_UINT32, FieldDescriptorProto.TYPE_FIXED32, FieldDescriptorProto.TYPE_FIXED64
_BOOL, _DOUBLE, _MESSAGE = FieldDescriptorProto.TYPE_BOOL, FieldDescriptorProto.TYPE_DOUBLE, FieldDescriptorProto.TYPE_MESSAGE

PACKAGE = "flowspan.columns"


class _Field(NamedTuple):
    """A field of a message. message: what it holds, where that is a message read in the same call."""

    name: str
    number: int
    type: FieldDescriptorProto.Type.ValueType
    repeated: bool = False
    message: str = ""


# What is not listed is skipped as unknown: resources and scopes are few, and read by rows.
_MESSAGES: dict[str, tuple[_Field, ...]] = {
    "AnyValue": (
        _Field("text", 1, _TEXT),
        _Field("bool", 2, _BOOL),
        _Field("int", 3, _INT64),
        _Field("double", 4, _DOUBLE),
        _Field("list", 5, _BYTES),
        _Field("map", 6, _BYTES),
        _Field("bytes", 7, _BYTES),
        _Field("strindex", 8, _INT32),
    ),
    "KeyValue": (_Field("key", 1, _TEXT), _Field("value", 2, _MESSAGE, message="AnyValue")),
    "Event": (
        _Field("time", 1, _FIXED64),
        _Field("name", 2, _TEXT),
        _Field("attributes", 3, _BYTES, repeated=True),
        _Field("dropped", 4, _UINT32),
    ),
    "Status": (_Field("message", 2, _TEXT), _Field("code", 3, _INT32)),
    "Span": (
        _Field("trace_id", 1, _BYTES),
        _Field("span_id", 2, _BYTES),
        _Field("trace_state", 3, _TEXT),
        _Field("parent_span_id", 4, _BYTES),
        _Field("name", 5, _TEXT),
        _Field("kind", 6, _INT32),
        _Field("start", 7, _FIXED64),
        _Field("end", 8, _FIXED64),
        _Field("attributes", 9, _BYTES, repeated=True),
        _Field("dropped_attributes", 10, _UINT32),
        _Field("events", 11, _BYTES, repeated=True),
        _Field("dropped_events", 12, _UINT32),
        _Field("links", 13, _BYTES, repeated=True),
        _Field("dropped_links", 14, _UINT32),
        _Field("status", 15, _MESSAGE, message="Status"),
        _Field("flags", 16, _FIXED32),
    ),
    "ScopeSpans": (_Field("spans", 2, _MESSAGE, repeated=True, message="Span"),),
    "ResourceSpans": (_Field("scope_spans", 2, _MESSAGE, repeated=True, message="ScopeSpans"),),
    "Request": (_Field("resource_spans", 1, _MESSAGE, repeated=True, message="ResourceSpans"),),
}


class MessageHandler(Protocol):
    """What ptars gives for a type of message; it has no types of its own."""

    def list_to_record_batch(self, messages: list[bytes], /) -> pa.RecordBatch:
        """Parse messages, a row each."""

    def array_to_record_batch(self, messages: pa.Array, /) -> pa.RecordBatch:
        """Parse a binary column of messages, a row each."""


class NotColumnar(Exception):
    """These bodies cannot be columns, though they may be rows: decode them one by one, or by rows."""


class Spans(NamedTuple):
    """The spans of several bodies, in their order. groups: which scopeSpans of all bodies each is in; fields: by the names of the wire."""

    groups: pa.Array
    fields: dict[str, pa.Array]


def parse_spans(bodies: Sequence[bytes]) -> Spans:
    """Return the spans of some ExportTraceServiceRequests, which upb has found sound."""
    requests = _call(lambda: _handler("Request").list_to_record_batch(list(bodies)))
    scope_spans = _fields(_fields(requests["resource_spans"].flatten())["scope_spans"].flatten())
    fields = _fields(scope_spans["spans"].flatten())
    fields |= {f"status_{name}": field for name, field in _fields(fields.pop("status")).items()}
    return Spans(scope_spans["spans"].value_parent_indices(), fields)


def parse_events(events: pa.Array) -> dict[str, pa.Array]:
    """Return the fields of some span events."""
    return _columns(_call(lambda: _handler("Event").array_to_record_batch(events)))


def parse_pairs(pairs: pa.Array) -> tuple[pa.Array, dict[str, pa.Array]]:
    """Return the keys of some key-values, and their values by kind: of one value, all kinds but its own are null."""
    batch = _columns(_call(lambda: _handler("KeyValue").array_to_record_batch(pairs)))
    return batch["key"], _fields(batch["value"])


def _fields(found: pa.StructArray) -> dict[str, pa.Array]:
    """Return a struct's fields. `flatten` honours the nulls of the struct itself, which `field` ignores."""
    return dict(zip((field.name for field in found.type), found.flatten(), strict=True))


def _columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def _call(parse: Callable[[], pa.RecordBatch]) -> pa.RecordBatch:
    try:
        return parse()
    except Exception as error:
        raise NotColumnar(str(error)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust: not an Exception, and not the end of the process either
            raise
        raise NotColumnar(str(error)) from error


@cache
def _handler(message: str) -> MessageHandler:
    descriptor = _pool().FindMessageTypeByName(f"{PACKAGE}.{message}")
    handler: MessageHandler = ptars.HandlerPool([descriptor.file]).get_for_message(descriptor)
    return handler


@cache
def _pool() -> DescriptorPool:
    file = FileDescriptorProto(name="flowspan/columns.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        _describe(file.message_type.add(name=name), fields)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _describe(message: DescriptorProto, fields: Sequence[_Field]) -> None:
    for field in fields:
        label = FieldDescriptorProto.LABEL_REPEATED if field.repeated else FieldDescriptorProto.LABEL_OPTIONAL
        made = message.field.add(name=field.name, number=field.number, type=field.type, label=label)
        if field.message:
            made.type_name = f".{PACKAGE}.{field.message}"
        if message.name == "AnyValue":  # only in a oneof do proto3's scalars say whether they are there
            made.oneof_index = 0
    if message.name == "AnyValue":
        message.oneof_decl.add(name="value")

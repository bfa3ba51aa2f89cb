"""A request's body becomes a protobuf message, whichever encoding it came in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from collector.errors import Rejected
from collector.otlp.json_body import JsonFiller, load

Request = TypeVar("Request", bound=Message)


class Encoding(Enum):
    """How a body is written. The value is its media type."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


@dataclass(slots=True)
class Parsed(Generic[Request]):
    """A request as a message. refused: running number of a record -> why it could not be read; it stands in the message as an empty one.

    unknown_key: a key that OTLP/JSON does not have, empty if there was none.
    """

    message: Request
    refused: dict[int, str] = field(default_factory=dict)
    unknown_key: str = ""


def parse(message: Request, body: bytes, encoding: Encoding) -> Parsed[Request]:
    """Fill an empty request from its body. Raises Rejected, with the reason, if the body as a whole cannot be read."""
    if encoding is Encoding.PROTOBUF:
        return _parse_protobuf(message, body)
    filler = JsonFiller()
    filler.fill_request(message, load(body))
    return Parsed(message, filler.refused, filler.unknown_key)


def _parse_protobuf(message: Request, body: bytes) -> Parsed[Request]:
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        problem = str(error).rpartition(": ")[2]
        raise Rejected(f"the body is not a protobuf {message.DESCRIPTOR.name}: {problem}") from error
    return Parsed(message)

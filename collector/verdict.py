"""What a request's body turned out to be, and what became of it: the words between a door, the codec and the batcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.batch import Batch
from collector.errors import FlowspanError


class Refusal(NamedTuple):
    """A record that was left out, by its place in the request, and why."""

    place: int
    reason: str


@dataclass(slots=True)
class Decoded:
    """What a request's body turned out to be. warning: something the sender should know though nothing was refused."""

    batch: Batch
    received: int
    refused: list[Refusal] = field(default_factory=list)
    warning: str = ""


@dataclass(slots=True)
class Verdict:
    """What became of a request after its commit."""

    accepted: int
    refused: list[Refusal]
    warning: str = ""


# Turns a body into rows, in a writer's thread. Raises Rejected if the body as a whole cannot be read.
Decode = Callable[[], Decoded]


@dataclass(frozen=True, slots=True)
class Joint:
    """How bodies of one kind are decoded in one call, in a writer's thread, which pays from worth_bytes on, of all of them together.

    decode: takes the bodies and when each came in; returns for each, in order, what it turned out to be or why it cannot be read.
    """

    decode: Callable[[Sequence[bytes], Sequence[int]], Sequence[Decoded | FlowspanError]]
    worth_bytes: int


class JointBody(NamedTuple):
    """A body that may be decoded with others of its kind. received_ns: when it came in."""

    kind: Joint
    body: bytes
    received_ns: int

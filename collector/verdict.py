"""What a request's body turned out to be, and what became of it: the words between a door, the codec and the batcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.model import Batch


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


# Turns a body into rows, in the writer's thread. Raises Rejected if the body as a whole cannot be read.
Decode = Callable[[], Decoded]

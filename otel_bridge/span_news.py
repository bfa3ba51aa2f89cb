"""What LiveSpanProcessor tells of a program's spans: that one has begun, that one is finished, and how many beginnings are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_bridge.places import Place

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_bridge.mapper import Tools

# A span shorter than this is over before anybody has seen it begin; only its end is told.
MIN_AGE_S = 0.25
# Beginnings a second; beyond, those that stay open are told when there is room.
MOST_BEGINNINGS = 200.0


@dataclass(frozen=True)
class Pace:
    """How many beginnings are told. min_age_s: of spans that have not ended by then. most_a_second: 0 = no limit."""

    min_age_s: float = MIN_AGE_S
    most_a_second: float = MOST_BEGINNINGS


@dataclass(frozen=True, slots=True)
class Begun:
    """A span that has begun. place: the run and task it began in, if this program has any."""

    span: ReadableSpan
    place: Place | None
    at_s: float
    pace: Pace

    def tell(self, tools: Tools) -> None:
        """Hand over, in the mapper's thread."""
        tools.live.begin(self)


@dataclass(frozen=True, slots=True)
class Ended:
    """A span that is finished. is_told: False where an exporter of the program sends it to the Flowspan server already."""

    span: ReadableSpan
    is_told: bool

    def tell(self, tools: Tools) -> None:
        """Hand over, in the mapper's thread."""
        tools.live.end(self)

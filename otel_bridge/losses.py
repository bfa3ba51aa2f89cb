"""What never reached the server, counted and said in words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields

from otel_bridge import conventions as c
from otel_bridge.facts import LogLine
from otel_bridge.identity import run_span_id
from otel_bridge.worth import Worth


@dataclass(frozen=True)
class Losses:
    """Records lost in this process so far. lines, starts, spans, ends: dropped because more was told than could be kept.

    refused: by the server, for good. unmappable: nobody could make sense of what was told.
    """

    lines: int = 0
    starts: int = 0
    spans: int = 0
    ends: int = 0
    refused: int = 0
    unmappable: int = 0

    @property
    def total(self) -> int:
        """Return how many they are."""
        return sum(getattr(self, field.name) for field in fields(self))

    def since(self, before: Losses) -> Losses:
        """Return what was lost since then."""
        return Losses(**{field.name: getattr(self, field.name) - getattr(before, field.name) for field in fields(self)})

    def __str__(self) -> str:
        """Return what was lost, for people."""
        counts = ((getattr(self, name), words) for name, words in _WORDS.items())
        return ", ".join(f"{count} {words}" for count, words in counts if count) or "nothing"


# SeverityNumber of the OpenTelemetry logs data model.
_WARN = 13

_WORDS = {
    "lines": "log lines (more was told than could be kept)",
    "starts": "beginnings (more was told than could be kept)",
    "spans": "spans (more was told than could be kept)",
    "ends": "ends (more was told than could be kept)",
    "refused": "records that the server refused",
    "unmappable": "that could not be understood",
}


def losses_of(*dropped: Mapping[Worth, int], refused: int = 0, unmappable: int = 0) -> Losses:
    """Return what these counts come to. dropped: by each of the places where something waits."""
    lines, starts, spans, ends = (sum(counts.get(worth, 0) for counts in dropped) for worth in Worth)
    return Losses(lines, starts, spans, ends, refused, unmappable)


def loss_line(losses: Losses, run_key: bytes) -> LogLine:
    """Return the log line that says so in a run."""
    return LogLine(
        trace_id=run_key,
        span_id=run_span_id(run_key),
        time_ns=time.time_ns(),
        body=f"the bridge lost {losses}, of this run or of others in this process",
        severity_number=_WARN,
        severity_text="WARN",
        event_name=c.BRIDGE_DROPPED,
    )

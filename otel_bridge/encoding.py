"""Finished spans and log records become parcels, by what they are worth."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from otel_bridge.facts import LogLine, SpanEnd
from otel_bridge.messages import Message, record_message, request, span_message
from otel_bridge.parcels import LOGS_PATH, TRACES_PATH, Parcel
from otel_bridge.worth import Worth

# A server takes 100,000 records a request; a smaller one is answered sooner, and what is lost with one it refuses is less.
MOST_RECORDS = 500
# Level 1 halves the time of level 6 and makes 5 % more bytes of what spans repeat.
GZIP_LEVEL = 1


class Encoder:
    """Collects what is to be sent next. Used by one thread."""

    def __init__(self, *, is_wanted: bool = True) -> None:
        """is_wanted: False where there is no Flowspan server to send to; then nothing is encoded, and nothing collected."""
        self._is_wanted = is_wanted
        self._collected: dict[tuple[str, Worth], list[Message]] = {}

    def add_span(self, span: SpanEnd, worth: Worth) -> None:
        """Collect a finished span. Raises struct.error for one that OTLP has no room for."""
        if self._is_wanted:
            self._collected.setdefault((TRACES_PATH, worth), []).append(span_message(span))

    def add_record(self, line: LogLine, worth: Worth) -> None:
        """Collect a log record. Raises struct.error for one that OTLP has no room for."""
        if self._is_wanted:
            self._collected.setdefault((LOGS_PATH, worth), []).append(record_message(line))

    def take_parcels(self) -> Iterator[Parcel]:
        """Make requests of what was collected: starts before ends, so that a live page sees both."""
        collected, self._collected = self._collected, {}
        for (path, worth), messages in sorted(collected.items(), key=lambda entry: entry[0]):
            for first in range(0, len(messages), MOST_RECORDS):
                some = messages[first : first + MOST_RECORDS]
                yield Parcel(path, gzip.compress(request(some), GZIP_LEVEL, mtime=0), worth, len(some))

    def take_beat(self) -> Parcel | None:
        """Make a request of the one record that was collected, a sign of life."""
        return next((Parcel(p.path, p.body, p.worth, p.records, is_beat=True) for p in self.take_parcels()), None)

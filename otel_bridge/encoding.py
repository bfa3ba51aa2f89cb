"""Finished spans and log records become parcels, by what they are worth."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import NamedTuple

from otel_bridge.facts import LogLine, Resource, Scope, SpanEnd
from otel_bridge.messages import Message, record_message, request, resource_fields, scope_fields, span_message
from otel_bridge.parcels import LOGS_PATH, TRACES_PATH, Parcel
from otel_bridge.worth import Worth

# A server takes 100,000 records a request; a smaller one is answered sooner, and what is lost with one it refuses is less.
MOST_RECORDS = 500
# Level 1 halves the time of level 6 and makes 5 % more bytes of what spans repeat.
GZIP_LEVEL = 1
# Resources and scopes that are remembered, encoded: a program has a few.
MOST_ENVELOPES = 100


class Encoder:
    """Collects what is to be sent next. Used by one thread."""

    def __init__(self, *, is_wanted: bool = True) -> None:
        """is_wanted: False where there is no Flowspan server to send to; then nothing is encoded, and nothing collected."""
        self._is_wanted = is_wanted
        self._collected: dict[tuple[str, Worth], list[Message]] = {}
        self._envelopes: dict[tuple[int, int], _Envelope] = {}

    def add_span(self, span: SpanEnd, worth: Worth) -> None:
        """Collect a finished span. Raises if OTLP has no room for it or its envelope: it is left out, and only it."""
        if self._is_wanted:
            self._add(TRACES_PATH, worth, self._envelope_of(span.resource, span.scope), span_message(span))

    def add_record(self, line: LogLine, worth: Worth) -> None:
        """Collect a log record. Raises as `add_span`."""
        if self._is_wanted:
            self._add(LOGS_PATH, worth, self._envelope_of(line.resource, line.scope), record_message(line))

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

    def _add(self, path: str, worth: Worth, envelope: _Envelope, content: bytes) -> None:
        self._collected.setdefault((path, worth), []).append(Message(envelope.resource_fields, envelope.scope_fields, content))

    def _envelope_of(self, resource: Resource, scope: Scope) -> _Envelope:
        known = self._envelopes.get((id(resource), id(scope)))
        if known is None:
            if len(self._envelopes) >= MOST_ENVELOPES:
                self._envelopes.clear()
            known = _Envelope(resource, scope, resource_fields(resource), scope_fields(scope))
            self._envelopes[id(resource), id(scope)] = known
        return known


class _Envelope(NamedTuple):
    """A resource and a scope, kept so that their ids stay their own, and encoded."""

    resource: Resource
    scope: Scope
    resource_fields: bytes
    scope_fields: bytes

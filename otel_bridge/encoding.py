"""Finished spans and log records of the SDK become parcels, by what they are worth."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_bridge.parcels import LOGS_PATH, TRACES_PATH, Parcel
from otel_bridge.worth import Worth

logger = logging.getLogger(__name__)

# A server takes 100,000 records a request; a smaller one is answered sooner, and what is lost with one it refuses is less.
MOST_RECORDS = 500
# Level 1 halves the time of level 6 and makes 5 % more bytes of what spans repeat.
GZIP_LEVEL = 1

Encode = Callable[[Sequence[Any]], Any]
_ENCODERS: dict[str, Encode] = {TRACES_PATH: encode_spans, LOGS_PATH: encode_logs}


class Encoder:
    """Collects what is to be sent next. Used by one thread."""

    def __init__(self, *, is_wanted: bool = True) -> None:
        """is_wanted: False where there is no Flowspan server to send to; then nothing is collected, and nothing encoded."""
        self._is_wanted = is_wanted
        self._collected: dict[tuple[str, Worth], list[Any]] = {}
        # What could not be encoded: somebody put into an attribute what protobuf cannot hold.
        self.unencodable = 0

    def add_span(self, span: Any, worth: Worth) -> None:
        """Collect a finished span: a ReadableSpan."""
        self._add(TRACES_PATH, worth, span)

    def add_record(self, record: Any, worth: Worth) -> None:
        """Collect a log record, in the shape that this version of the SDK gives to exporters."""
        self._add(LOGS_PATH, worth, record)

    def take_parcels(self) -> Iterator[Parcel]:
        """Encode what was collected: starts before ends, so that a live page sees both."""
        collected, self._collected = self._collected, {}
        for (path, worth), records in sorted(collected.items()):
            for first in range(0, len(records), MOST_RECORDS):
                yield from self._encode(path, worth, records[first : first + MOST_RECORDS])

    def take_beat(self) -> Parcel | None:
        """Encode the one record that was collected, a sign of life."""
        return next((Parcel(p.path, p.body, p.worth, p.records, is_beat=True) for p in self.take_parcels()), None)

    def _add(self, path: str, worth: Worth, record: Any) -> None:
        if self._is_wanted:
            self._collected.setdefault((path, worth), []).append(record)

    def _encode(self, path: str, worth: Worth, records: Sequence[Any]) -> Iterator[Parcel]:
        try:
            body = _ENCODERS[path](records).SerializeToString()
        except Exception as error:  # noqa: BLE001  # one value in one record spoils the whole request
            if len(records) > 1:
                for record in records:
                    yield from self._encode(path, worth, [record])
                return
            if not self.unencodable:
                logger.warning("a record cannot be encoded and is left out: %s", error)
            self.unencodable += 1
            return
        yield Parcel(path, gzip.compress(body, GZIP_LEVEL, mtime=0), worth, len(records))

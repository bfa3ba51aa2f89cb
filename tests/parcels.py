"""What the bridge makes of facts, as a server gets it."""

from __future__ import annotations

import gzip

from otel_bridge.encoding import Encoder
from otel_bridge.facts import LogLine, SpanEnd
from otel_bridge.worth import Worth


def body_of(*facts: SpanEnd | LogLine) -> bytes:
    """Return the one request that carries these facts, all spans or all log records, in their order."""
    encoder = Encoder()
    for fact in facts:
        if isinstance(fact, SpanEnd):
            encoder.add_span(fact, Worth.END)
        else:
            encoder.add_record(fact, Worth.LINE)
    (parcel,) = encoder.take_parcels()
    return gzip.decompress(parcel.body)

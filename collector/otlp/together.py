"""Trace bodies of a group commit are decoded together, a column at a time, once it pays. Until the libraries for that are loaded, and for
dialects that are functions, each goes by rows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from collector.dialects import Dialect
from collector.errors import FlowspanError
from collector.otlp.terms import TraceTerms
from collector.verdict import Decoded, Joint

log = logging.getLogger(__name__)

# From how many bytes of bodies on, together, columns cost less than rows. A call costs 2.6-4.4 ms of CPU whatever is in it, a span as rows
# 37-49 us against 4.8-6.4: they meet at 100 to 130 spans, 24 to 45 KB.
SMALLEST_GROUP_BYTES = 32 * 1024

# The thread that loads what columns need.
LOADER = "flowspan-columns"


def joint_traces(dialects: Sequence[Dialect], retention_days: int, max_records: int) -> Joint:
    """Return how OTLP/protobuf trace bodies are decoded together. Arguments as of `decode_traces`."""
    return Joint(TogetherDecoder(TraceTerms(dialects, retention_days, max_records)).decode, SMALLEST_GROUP_BYTES)


@dataclass(slots=True)
class TogetherDecoder:
    """Loads what columns need when the first group that is worth it comes: 0.3 s and 45 MB, which a small server never spends."""

    terms: TraceTerms
    _is_loaded: bool = False
    _first: threading.Lock = field(default_factory=threading.Lock)

    def decode(self, bodies: Sequence[bytes], received_ns: Sequence[int]) -> Sequence[Decoded | FlowspanError]:
        """See collector.verdict.Joint."""
        if not self.terms.allow_columns() or not self._can_use_columns():
            return [self.terms.decode_by_rows(body, ns) for body, ns in zip(bodies, received_ns, strict=True)]
        from collector.otlp.columns import decode_trace_columns

        return decode_trace_columns(bodies, received_ns, self.terms)

    def _can_use_columns(self) -> bool:
        """Whoever asks first has them loaded for those after it, and never gives the lock back."""
        is_loaded = self._is_loaded
        if not is_loaded and self._first.acquire(blocking=False):
            threading.Thread(target=self._load, name=LOADER).start()
        return is_loaded

    def _load(self) -> None:
        try:
            from collector.otlp.columns import warm_up

            warm_up(self.terms)
            self._is_loaded = True
        except Exception:
            log.exception("traces cannot be decoded as columns and go by rows, at a tenth of the speed")

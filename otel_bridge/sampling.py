"""Whether a run is told: what the sampler says that OTEL_TRACES_SAMPLER names. A run is told whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otel_bridge.guard import harmlessly

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

# Decisions that are remembered: one a run.
MOST_DECISIONS = 10_000
# These take everything, and nobody needs to be asked.
_ALWAYS = frozenset({"", "always_on", "parentbased_always_on"})


class Sampling:
    """Asks once a trace. Used by one thread."""

    def __init__(self) -> None:
        """Read the environment."""
        self._sampler = _named_sampler() if _is_asked_for() else None
        self._decisions: dict[bytes, bool] = {}

    def has(self, trace_id: bytes, name: str) -> bool:
        """Return whether this trace is told. name: of the span that is asked for."""
        if self._sampler is None:
            return True
        known = self._decisions.get(trace_id)
        if known is None:
            if len(self._decisions) >= MOST_DECISIONS:
                self._decisions.clear()
            decision = self._sampler.should_sample(None, int.from_bytes(trace_id, "big"), name).decision
            known = self._decisions[trace_id] = decision.is_sampled()  # type: ignore[no-untyped-call]
        return known


def _is_asked_for() -> bool:
    """Return whether the environment names a sampler that may leave something out."""
    return os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() not in _ALWAYS


@harmlessly
def _named_sampler() -> Sampler:
    """Return the sampler that the environment names; where it cannot be had, None, and everything is told."""
    from opentelemetry.sdk.trace import TracerProvider

    return TracerProvider(shutdown_on_exit=False).sampler  # the one that the environment names

"""Plain traces: whatever no other dialect speaks of. A trace is a run, its root names the flow; both are decided at read (lineage.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from collector.dialects import Dialect
from otel_bridge import conventions as c
from otel_bridge.facts import LogLine, Resource, SpanEnd, SpanMoment, Work, harmless, short_key


@dataclass(frozen=True, slots=True)
class PlainTraces:
    """Recognises everything, and of a root span its flow."""

    def recognise(self, fact: SpanEnd | SpanMoment | LogLine, /) -> Work:
        """Return a Work that names no run; of a root span, the flow `service.name:root name`."""
        if isinstance(fact, LogLine) or not _is_root(fact):
            return Work()
        service = service_of(fact.resource)
        if not service:
            return Work()
        name = harmless(fact.name)
        return Work(flow_key=short_key(f"{service}:{name}"), flow_name=name)


def service_of(resource: Resource) -> str:
    """Return the name of the sender's service, empty if it has none."""
    service = resource.attributes.get(c.SERVICE_NAME)
    return harmless(service) if isinstance(service, str) else ""


def _is_root(fact: SpanEnd | SpanMoment) -> bool:
    """A pause may come without the parent that the beginning had: only beginnings and ends with a name tell roots."""
    if fact.parent_span_id or not fact.name:
        return False
    return isinstance(fact, SpanEnd) or fact.kind in c.ONCE_KINDS


DIALECT: Final = Dialect("plain", 1000, PlainTraces().recognise)

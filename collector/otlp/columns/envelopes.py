"""Sound bodies before their spans are columns: the parsed message is kept, for resources, scopes, and every span that only rows can read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.batch import Batch
from collector.otlp.spans import read_resource, read_scope
from collector.rows import RowMaker
from otel_bridge.facts import Resource, Scope

# A resource's words are written on each of its spans. Rows share one text among them, columns repeat it: beyond this it is rows.
REPEATED_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Request:
    """One body that upb has found sound, and when it came in."""

    body: bytes
    received_ns: int
    message: ExportTraceServiceRequest
    size: int


def open_request(body: bytes, received_ns: int, max_records: int) -> Request | None:
    """Parse a body; None if it must go the way of rows: it cannot be parsed, is too large, or its resources are.

    upb says what is protobuf, and ptars only sees what is: it takes mismatched groups and tags of six bytes, and panics at negative lengths.
    """
    message = ExportTraceServiceRequest()
    try:
        message.ParseFromString(body)
    except DecodeError:
        return None
    sizes = [sum(len(group.spans) for group in envelope.scope_spans) for envelope in message.resource_spans]
    repeated = sum(size * envelope.resource.ByteSize() for size, envelope in zip(sizes, message.resource_spans, strict=True))
    if sum(sizes) > max_records or repeated > REPEATED_BYTES:
        return None
    return Request(body, received_ns, message, sum(sizes))


@dataclass(slots=True)
class Group:
    """The spans of one scopeSpans. request: whose it is; sender: which of `Envelopes.resources` its resource is."""

    request: int
    spans: Sequence[Span]
    sender: int
    scope: Scope


@dataclass(slots=True)
class Envelopes:
    """What stands around the spans of some requests. groups: in order; begins: the number of each one's first span, and of the last's end."""

    groups: list[Group] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    _ids: RowMaker = field(default_factory=lambda: RowMaker(0))
    _senders: dict[tuple[bytes, str], int] = field(default_factory=dict)
    _scopes: dict[tuple[bytes, str], Scope] = field(default_factory=dict)

    def resource_ids(self) -> list[bytes]:
        """Return the key of each group's resource."""
        ids = [self._ids.resource_id(resource) for resource in self.resources]
        return [ids[group.sender] for group in self.groups]

    def scope_ids(self) -> list[bytes]:
        """Return the key of each group's scope."""
        return [self._ids.scope_id(group.scope) for group in self.groups]

    def keep(self, group: Group, batch: Batch) -> None:
        """Put the rows of a group's resource and scope into a batch."""
        resource_id, scope_id = self._ids.resource_id(self.resources[group.sender]), self._ids.scope_id(group.scope)
        batch.resources[resource_id] = self._ids.batch.resources[resource_id]
        batch.scopes[scope_id] = self._ids.batch.scopes[scope_id]

    def find(self, number: int) -> tuple[Group, Span]:
        """Return the span with this number in all requests, and its group."""
        place = bisect_right(self.begins, number) - 1
        return self.groups[place], self.groups[place].spans[number - self.begins[place]]

    def add(self, request: int, message: ExportTraceServiceRequest) -> None:
        """Add a request's groups. Equal resources and scopes are read once for all requests."""
        for envelope in message.resource_spans:
            sender = self._sender(envelope.resource, envelope.schema_url)
            for group in envelope.scope_spans:
                self.groups.append(Group(request, group.spans, sender, self._scope(group.scope, group.schema_url)))

    def _sender(self, found: resource_pb2.Resource, schema_url: str) -> int:
        known = (found.SerializeToString(), schema_url)
        if known not in self._senders:
            self._senders[known] = len(self.resources)
            self.resources.append(read_resource(found, schema_url))
        return self._senders[known]

    def _scope(self, found: InstrumentationScope, schema_url: str) -> Scope:
        known = (found.SerializeToString(), schema_url)
        if known not in self._scopes:
            self._scopes[known] = read_scope(found, schema_url)
        return self._scopes[known]


def read_envelopes(requests: Sequence[Request]) -> Envelopes:
    """Return what stands around the spans of some requests."""
    envelopes = Envelopes()
    for number, request in enumerate(requests):
        envelopes.add(number, request.message)
    envelopes.begins = [*accumulate((len(group.spans) for group in envelopes.groups), initial=0)]
    return envelopes

"""The OTLP/HTTP door: /v1/traces, /v1/logs, /v1/metrics. Here errors become status codes, in one table, in the request's own encoding.

Rules and their sources: docs/otlp.md. The codec is collector/otlp, the limits collector/intake.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from collector import otlp
from collector.access import Outcome, header, note_outcome
from collector.batcher import Reservation
from collector.credentials import unauthorized_because
from collector.doors import Collector, Door
from collector.errors import FlowspanError, Full, Rejected, TooLarge, TooSlow, Unauthorized, Unavailable
from collector.hookspecs import hookimpl
from collector.intake import UnknownEncoding, drain, read_body
from collector.otlp import Encoding, Signal
from collector.straight_in import OwnAddress
from collector.verdict import Decoded, Joint, JointBody, Refusal, Verdict

PROTOBUF, JSON = "application/x-protobuf", "application/json"

# Where exporters with a wrong endpoint send to: they are told the right one.
WRONG_PATHS = ("/", "/v1/{rest:path}", "/v1development/{rest:path}", *(f"/{signal.value}" for signal in Signal))

# google.rpc.Code
INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED = 3, 4, 5, 8
UNIMPLEMENTED, UNAVAILABLE, UNAUTHENTICATED = 12, 14, 16


class UnknownMedia(Rejected):
    """OTLP comes as application/x-protobuf or application/json: set the Content-Type."""


class WrongMethod(Rejected):
    """OTLP is sent with POST."""


class WrongPath(Rejected):
    """Nothing listens at this address: OTLP goes to /v1/traces and /v1/logs."""


# What each error is on the wire: (HTTP status, google.rpc.Code, the word in /metrics). The first that fits. A full queue is 503, not 429:
# older Python exporters drop what was answered with 429, every one resends after 503 (facts: 1.27 and 1.45.2).
STATUS: tuple[tuple[type[FlowspanError], int, int, str], ...] = (
    (Unauthorized, 401, UNAUTHENTICATED, "unauthorized"),
    (WrongPath, 404, NOT_FOUND, "wrong_path"),
    (WrongMethod, 405, UNIMPLEMENTED, "wrong_method"),
    (TooLarge, 413, RESOURCE_EXHAUSTED, "too_large"),
    (UnknownMedia, 415, INVALID_ARGUMENT, "unknown_media_type"),
    (UnknownEncoding, 415, INVALID_ARGUMENT, "unknown_encoding"),
    (Rejected, 400, INVALID_ARGUMENT, "unreadable"),
    (TooSlow, 408, DEADLINE_EXCEEDED, "too_slow"),
    (Full, 503, UNAVAILABLE, "full"),
    (Unavailable, 503, UNAVAILABLE, "store_down"),
)


@hookimpl
def make_doors(collector: Collector) -> list[Door]:
    """Open the OTLP door."""
    settings = collector.settings
    receiver = Receiver(collector, otlp.joint_traces(collector.dialects, settings.retention_days, settings.max_records))
    signals = [OwnAddress(f"/v1/{signal.value}{slash}", SignalDoor(receiver, signal)) for signal in Signal for slash in ("", "/")]
    elsewhere = [Route(path, receiver.refuse_path, methods=["POST"]) for path in WRONG_PATHS]
    return [Door("otlp", routes=[*signals, *elsewhere])]


@dataclass(frozen=True, slots=True)
class SignalDoor:
    """Answers at one signal's address. An ASGI application: every method comes in, so that a wrong one is refused in OTLP's own words."""

    receiver: Receiver
    signal: Signal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self.receiver.receive(self.signal, Request(scope, receive))
        await response(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Answers OTLP requests. joint: how trace bodies are decoded together."""

    collector: Collector
    joint: Joint

    async def receive(self, signal: Signal, request: Request) -> Response:
        """Take one export request; answer after the commit."""
        encoding = Encoding.JSON
        try:
            if unauthorized_because(request.scope):
                encoding = _encoding_or_json(request)
                raise Unauthorized(unauthorized_because(request.scope))
            if request.method != "POST":
                raise WrongMethod
            encoding = encoding_of(header(request.scope, b"content-type"))
            verdict = await self._take(signal, encoding, request)
        except FlowspanError as error:
            return await self._refuse(signal, error, encoding, request)
        return self._accept(signal, encoding, verdict, request)

    async def refuse_path(self, request: Request) -> Response:
        """Tell an exporter with a wrong endpoint which one is right."""
        return await self._refuse("unknown", WrongPath(), _encoding_or_json(request), request)

    async def _take(self, signal: Signal, encoding: Encoding, request: Request) -> Verdict:
        settings, batcher = self.collector.settings, self.collector.batcher
        received_ns = time.time_ns()
        with batcher.reserve() as reservation:
            body = await self._read(request, reservation)
            if signal is Signal.METRICS:
                return _refuse_points(await asyncio.to_thread(otlp.decode_metrics, body, encoding))
            decode = otlp.decode_traces if signal is Signal.TRACES else otlp.decode_logs
            dialects, days, most = self.collector.dialects, settings.retention_days, settings.max_records

            def decode_body() -> Decoded:
                return decode(body, encoding, dialects, received_ns, days, most)

            joins = signal is Signal.TRACES and encoding is Encoding.PROTOBUF
            return await batcher.submit(signal, decode_body, len(body), JointBody(self.joint, body, received_ns) if joins else None)

    async def _read(self, request: Request, reservation: Reservation) -> bytes:
        settings = self.collector.settings
        try:
            return await read_body(request, reservation, settings.max_body_bytes, settings.body_timeout_s)
        except (TooLarge, Full):
            await drain(request, settings.max_body_bytes)
            raise

    def _accept(self, signal: Signal, encoding: Encoding, verdict: Verdict, request: Request) -> Response:
        if verdict.refused:
            self.collector.metrics.refused.labels(signal, "record").inc(len(verdict.refused))
        reason = verdict.refused[0].reason if verdict.refused else verdict.warning
        note_outcome(request.scope, Outcome(verdict.accepted, reason))
        return Response(otlp.encode_response(signal, encoding, verdict), 200, media_type=_media(encoding))

    async def _refuse(self, signal: str, error: FlowspanError, encoding: Encoding, request: Request) -> Response:
        status, code, word = next((status, code, word) for kind, status, code, word in STATUS if isinstance(error, kind))
        self.collector.metrics.refused.labels(signal, word).inc()
        note_outcome(request.scope, Outcome(0, str(error)))
        headers = _headers(status, self.collector.settings.retry_after_s)
        return Response(otlp.encode_status(code, str(error), encoding), status, headers, media_type=_media(encoding))


def encoding_of(content_type: str) -> Encoding:
    """Return the encoding a media type names; parameters and case do not matter (RFC 9110, 8.3.1). Raises UnknownMedia."""
    media = content_type.partition(";")[0].strip().lower()
    if media == PROTOBUF:
        return Encoding.PROTOBUF
    if media == JSON:
        return Encoding.JSON
    raise UnknownMedia


def _encoding_or_json(request: Request) -> Encoding:
    try:
        return encoding_of(header(request.scope, b"content-type"))
    except UnknownMedia:
        return Encoding.JSON


def _media(encoding: Encoding) -> str:
    return JSON if encoding is Encoding.JSON else PROTOBUF


def _headers(status: int, retry_after_s: int) -> Mapping[str, str]:
    return {
        401: {"WWW-Authenticate": "Bearer"},
        405: {"Allow": "POST"},
        503: {"Retry-After": str(retry_after_s)},
    }.get(status, {})


def _refuse_points(points: int) -> Verdict:
    """Metrics are taken and not stored: 200, so that a default exporter does not log an error each minute, with the truth in it."""
    return Verdict(0, [Refusal(0, otlp.METRICS_NOT_STORED)] * points)

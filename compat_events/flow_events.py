"""The flow events door: POST /api/v1/events (and /api/events) as JSON object, array, {"events": [...]} or NDJSON.

What an event means is otel_bridge/lifecycle.py; the format and its answers are docs/flow_events.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from collector.access import Outcome, header, note_outcome
from collector.credentials import unauthorized_because
from collector.doors import Collector, Door
from collector.errors import FlowspanError, Full, Rejected, TooLarge, TooSlow, Unauthorized, Unavailable
from collector.hookspecs import hookimpl
from collector.intake import UnknownEncoding, drain, read_body
from collector.rows import RowMaker
from collector.settings import Settings
from collector.straight_in import OwnAddress
from collector.verdict import Decoded, Refusal, Verdict
from otel_bridge.flow_event import BadEvent
from otel_bridge.lifecycle import facts_of

SIGNAL = "events"
PATHS = ("/api/v1/events", "/api/events")
MEDIA = frozenset({"application/json", "application/x-ndjson", "application/ndjson", "application/jsonl"})

# Refusals listed in one answer; the rest is counted.
MOST_LISTED = 1000


class WrongMethod(Rejected):
    """Flow events are sent with POST."""


class UnknownMedia(Rejected):
    """Flow events come as JSON: set 'Content-Type: application/json' (or application/x-ndjson)."""


# What is answered most: made once.
_TAKEN = JSONResponse({"ok": True})

# What each error is on the wire: (HTTP status, the word in /metrics). The first that fits.
STATUS: tuple[tuple[type[FlowspanError], int, str], ...] = (
    (Unauthorized, 401, "unauthorized"),
    (WrongMethod, 405, "wrong_method"),
    (TooLarge, 413, "too_large"),
    (UnknownMedia, 415, "unknown_media_type"),
    (UnknownEncoding, 415, "unknown_encoding"),
    (Rejected, 400, "unreadable"),
    (TooSlow, 408, "too_slow"),
    (Full, 429, "full"),
    (Unavailable, 503, "store_down"),
)


@hookimpl
def make_doors(collector: Collector) -> list[Door]:
    """Open the flow events door."""
    door = FlowEvents(collector)
    return [Door("flow events", routes=[OwnAddress(path + slash, door) for path in PATHS for slash in ("", "/")])]


@dataclass(frozen=True, slots=True)
class FlowEvents:
    """Answers flow events requests. An ASGI application: every method comes in, so that a wrong one is refused in the shape of the others."""

    collector: Collector

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self.receive(Request(scope, receive))
        await response(scope, receive, send)

    async def receive(self, request: Request) -> Response:
        """Take one request's events; answer after the commit."""
        try:
            if unauthorized_because(request.scope):
                raise Unauthorized(unauthorized_because(request.scope))
            if request.method != "POST":
                raise WrongMethod
            verdict = await self._take(request)
        except FlowspanError as error:
            return self._refuse(error, request)
        return self._accept(verdict, request)

    async def _take(self, request: Request) -> Verdict:
        settings, batcher = self.collector.settings, self.collector.batcher
        received_ns = time.time_ns()
        if header(request.scope, b"content-type").partition(";")[0].strip().lower() not in MEDIA:
            raise UnknownMedia
        with batcher.reserve() as reservation:
            try:
                body = await read_body(request, reservation, settings.max_body_bytes, settings.body_timeout_s)
            except (TooLarge, Full):
                await drain(request, settings.max_body_bytes)
                raise
            return await batcher.submit(SIGNAL, lambda: decode_events(body, received_ns, settings), len(body))

    def _accept(self, verdict: Verdict, request: Request) -> Response:
        if not verdict.refused:
            note_outcome(request.scope, Outcome(verdict.accepted))
            return _TAKEN
        note_outcome(request.scope, Outcome(verdict.accepted, verdict.refused[0].reason))
        self.collector.metrics.refused.labels(SIGNAL, "record").inc(len(verdict.refused))
        listed = [_as_json(refusal) for refusal in verdict.refused[:MOST_LISTED]]
        answer: dict[str, Any] = {"ok": False, "accepted": verdict.accepted, "rejected": listed}
        if len(verdict.refused) > MOST_LISTED:
            answer["rejected_total"] = len(verdict.refused)
        return JSONResponse(answer, 200 if verdict.accepted else 400)

    def _refuse(self, error: FlowspanError, request: Request) -> Response:
        status, word = next((status, word) for kind, status, word in STATUS if isinstance(error, kind))
        self.collector.metrics.refused.labels(SIGNAL, word).inc()
        note_outcome(request.scope, Outcome(0, str(error)))
        headers = {"Retry-After": str(self.collector.settings.retry_after_s)} if status in (429, 503) else {}
        headers |= {401: {"WWW-Authenticate": "Bearer"}, 405: {"Allow": "POST"}}.get(status, {})
        return JSONResponse({"ok": False, "accepted": 0, "rejected": [], "error": str(error)}, status, headers)


def _as_json(refusal: Refusal) -> dict[str, Any]:
    """Of a record that only the store refused nobody knows the place."""
    return {"index": refusal.place if refusal.place >= 0 else None, "error": refusal.reason}


def decode_events(body: bytes, received_ns: int, settings: Settings) -> Decoded:
    """Turn one request's body into rows.

    An event that says nothing usable is refused by its place and costs the others nothing.
    Raises Rejected if the body is no JSON at all, TooLarge for more than settings.max_records events.
    """
    maker = RowMaker(received_ns, retention_days=settings.retention_days)
    decoded = Decoded(maker.batch, received=0)
    for place, event in enumerate(_events_in(body)):
        decoded.received += 1
        if decoded.received > settings.max_records:
            raise TooLarge(f"more than {settings.max_records} events in one request: send it in parts")
        try:
            if not isinstance(event, dict):
                raise event if isinstance(event, BadEvent) else BadEvent("an event must be a JSON object")
            maker.add_all(facts_of(event, received_ns))
        except BadEvent as error:
            decoded.refused.append(Refusal(place, str(error)))
    return decoded


def _events_in(body: bytes) -> Iterator[Any]:
    """Yield the events of a body, whichever of the four shapes it has; a bad line of NDJSON as the BadEvent it is."""
    text = _text_of(body)
    try:
        whole = _parse(text)
    except BadEvent as error:
        lines = [line for line in text.split("\n") if line.strip()]  # not splitlines: text may hold U+2028 and the like
        if len(lines) < 2:
            raise Rejected(f"the body is not JSON: {error}") from error
        yield from map(_parse_line, lines)
        return
    if isinstance(whole, list):
        yield from whole
    elif isinstance(whole, dict) and "event" not in whole and isinstance(whole.get("events"), list):
        yield from whole["events"]
    else:
        yield whole


def _text_of(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Rejected(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error


def _parse(text: str) -> Any:
    """Python's json takes NaN, which Python clients write: it is kept as the number it is, tagged in storage."""
    try:
        return json.loads(text)
    except RecursionError:
        raise BadEvent("nested too deeply") from None
    except ValueError as error:
        raise BadEvent(str(error)) from error


def _parse_line(line: str) -> Any:
    try:
        return _parse(line)
    except BadEvent as error:
        return error

"""One line, one count and one request id for every request; a receipt for each that tried to bring something in."""

from __future__ import annotations

import logging
import re
import time
from contextvars import ContextVar
from functools import lru_cache
from random import getrandbits
from typing import NamedTuple
from urllib.parse import quote

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.metrics import Metrics
from collector.receipts import LONGEST_REASON, Receipt, Receipts

log = logging.getLogger(__name__)

request_id: ContextVar[str] = ContextVar("request_id", default="")

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OUTCOME = "flowspan.outcome"
OUR_FAULT = "the server failed, by a fault of its own: send it again later"
_BRING_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
_NO_DOORS = frozenset({"/login", "/logout"})


class Outcome(NamedTuple):
    """What a door did with a request: records stored, and why the rest was refused."""

    records: int = 0
    reason: str = ""


_NOTHING_NOTED = Outcome()
# Paths come again and again; what is kept of them is bounded, in number and in length.
_quoted = lru_cache(maxsize=256)(quote)
LONGEST_KEPT = 256


def header(scope: Scope, name: bytes) -> str:
    """Return a request's header, empty if it has none; of several the first. A third of what starlette's Headers cost. name: lower-case."""
    for given, value in scope["headers"]:
        if given == name:
            return str(value, "latin-1")
    return ""


def note_outcome(scope: Scope, outcome: Outcome) -> None:
    """Tell the access log and the receipts what became of this request."""
    scope[_OUTCOME] = outcome


class Access:
    """ASGI middleware, outermost: nothing answers a request without passing here."""

    def __init__(self, app: ASGIApp, metrics: Metrics, receipts: Receipts, retry_after_s: int) -> None:
        """Wrap app. What no door expected becomes 503, not 500: the OTLP exporters resend after it, and drop the batch after a 500."""
        self._app = app
        self._retry_after_s = retry_after_s
        self._metrics = metrics
        self._receipts = receipts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and account for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        given = header(scope, b"x-request-id")
        own_id = given if _SAFE_ID.fullmatch(given) else f"{getrandbits(64):016x}"
        token = request_id.set(own_id)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", own_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            self._metrics.plugin_failures.labels("doors").inc()
            log.exception("a door failed, by a fault of ours")
            if status:
                raise
            await JSONResponse({"detail": OUR_FAULT}, 503, {"Retry-After": str(self._retry_after_s)})(scope, receive, send_with_id)
        finally:
            self._account(scope, status, time.perf_counter() - began)
            request_id.reset(token)

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        self._metrics.count_request(scope["method"], _route_of(scope), status, seconds)
        outcome = scope.get(_OUTCOME, _NOTHING_NOTED)
        log.info("%s %s %d %.1f ms %s", scope["method"], _shown(scope["path"]), status, seconds * 1000, outcome.reason)
        if scope["method"] not in _BRING_NOTHING and scope["path"] not in _NO_DOORS:
            self._receipts.add(_receipt(scope, status, outcome))


def _shown(path: str) -> str:
    return _quoted(path) if len(path) <= LONGEST_KEPT else quote(path)


def _route_of(scope: Scope) -> str:
    """Return the pattern that the path matched: FastAPI leaves its route in the scope, Starlette only what the route leads to."""
    if "route" in scope:
        return str(scope["route"].path)
    target = scope.get("endpoint")
    for route in scope["app"].routes if target is not None else ():
        if target == getattr(route, "endpoint", getattr(route, "app", None)) and route.path_regex.match(scope["path"]):
            return str(route.path)
    return "unmatched"


def _receipt(scope: Scope, status: int, outcome: Outcome) -> Receipt:
    client = scope.get("client")
    return Receipt(
        time_ns=time.time_ns(),
        method=scope["method"],
        path=scope["path"][:LONGEST_REASON],
        client=client[0] if client else "",
        user_agent=header(scope, b"user-agent")[:LONGEST_REASON],
        status=status,
        records=outcome.records,
        reason=(outcome.reason or _REASONS.get(status, ""))[:LONGEST_REASON],
    )


# For requests that reached no door.
_REASONS = {
    401: "no valid API key",
    404: "nothing listens at this address: OTLP goes to /v1/traces and /v1/logs, flow events to /api/v1/events",
    405: "this address takes another method",
}

"""Senders at full rate: threads with a connection each, that remember which of their requests were acknowledged."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.bench.requests import PROTOBUF, LineMaker, Request, RequestMaker

TIMEOUT_S = 60.0
# How many of all requests are sent again though nothing is wrong, as exporters do after an answer they did not get.
AGAIN = 0.1
# A sender that is told to come later comes much sooner than an exporter would.
LATER_S = 0.02


class Sender(threading.Thread):
    """Sends until its connection breaks or it is told to stop. acknowledged and unanswered are whole once the thread has ended."""

    def __init__(self, port: int, maker: RequestMaker | LineMaker, again: Sequence[Request] = (), rest_s: float = 0.0) -> None:
        """again: requests of an earlier life of the server, sent first. rest_s: between an answer and the next request."""
        super().__init__(daemon=True)
        self.acknowledged: list[Request] = []
        self.unanswered: list[Request] = []
        self.statuses: set[int] = set()
        self._connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self._maker = maker
        self._again = list(again)
        self._rest_s = rest_s
        self._rng = random.Random(len(again))
        self._told = threading.Event()

    def stop(self) -> None:
        """Let it end after the request under way."""
        self._told.set()

    def run(self) -> None:
        """Send one request after the other."""
        while not self._told.is_set() and self._send(self._next()):
            self._told.wait(self._rest_s)
        self._connection.close()

    def _next(self) -> Request:
        if self._again:
            return self._again.pop()
        if self.acknowledged and self._rng.random() < AGAIN:
            return self._rng.choice(self.acknowledged)
        return self._maker.make()

    def _send(self, request: Request) -> bool:
        try:
            status, answer = post(self._connection, request)
        except (OSError, HTTPException):
            self.unanswered.append(request)
            return False
        self.statuses.add(status)
        (self.acknowledged if is_acknowledged(request, status, answer) else self.unanswered).append(request)
        if status != 200:
            self._told.wait(LATER_S)
        return True


def wait_until_taken(senders: Sequence[Sender]) -> None:
    """Wait until each of them, if its connection holds, has got something through since now."""
    pause = threading.Event()
    before = [len(sender.acknowledged) for sender in senders]
    for sender, taken in zip(senders, before, strict=True):
        while sender.is_alive() and len(sender.acknowledged) <= taken:
            pause.wait(0.01)


def post(connection: HTTPConnection, request: Request) -> tuple[int, bytes]:
    """Send one request and return the answer's status and body. Raises OSError or HTTPException if there is no whole answer."""
    connection.request("POST", request.path, request.body, {"Content-Type": request.media})
    answer = connection.getresponse()
    return answer.status, answer.read()


def is_acknowledged(request: Request, status: int, answer: bytes) -> bool:
    """Return whether an answer says that the whole request is stored."""
    if status != 200:
        return False
    if request.media != PROTOBUF:
        return bool(json.loads(answer) == {"ok": True})
    # The answers for traces and logs have the same fields at the same places.
    return ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 0

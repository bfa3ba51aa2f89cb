"""How long an event takes from its sender to an open socket, and what a server costs before anything happens."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

from tests.bench.ingest import percentile_ms
from tests.bench.process import rss_bytes
from tests.bench.requests import JSON, Request
from tests.bench.senders import is_acknowledged, post
from tests.bench.table import Figure
from tests.servers import Server

EVENTS_A_SECOND = 100
SECONDS = 5
SENDERS = 4
VIEWERS = 5
PATIENCE_S = 30.0
MIB = 1024 * 1024


def measure_start(folder: Path) -> list[Figure]:
    """Measure a start on an empty folder, one on the store that made, and the memory of the idle server."""
    with Server(folder) as server:
        server.stop()
        began = time.perf_counter()
        server.start()
        warm_s = time.perf_counter() - began
        memory = rss_bytes(server.pid) / MIB
    return [
        Figure("start to first /healthz 200, s", warm_s, "budget 1.5"),
        Figure("idle memory, MiB", memory, "budget 250"),
    ]


def measure_live(folder: Path) -> list[Figure]:
    """Send log events of one run at a steady rate; each viewer notes when it sees each."""
    with Server(folder) as server, ExitStack() as stack:
        _send(server.port, [_event("-1")])
        address = f"ws://127.0.0.1:{server.port}/ws/runs/watched"
        viewers = [_Viewer(stack.enter_context(connect(address))) for _ in range(VIEWERS)]
        for viewer in viewers:
            viewer.start()
        sent_at = _send_steadily(server.port)
        for viewer in viewers:
            viewer.join(PATIENCE_S)
    times = [seen_at - sent_at[number] for viewer in viewers for number, seen_at in viewer.seen_at.items()]
    wanted = VIEWERS * len(sent_at)
    return [
        Figure("event to socket, p50 ms", percentile_ms(times, 50), f"{EVENTS_A_SECOND} events/s, {VIEWERS} viewers"),
        Figure("event to socket, p95 ms", percentile_ms(times, 95), "budget 300, then 100 (at 1,000 events/s, 50 viewers)"),
        Figure("messages seen", len(times), f"of {wanted}"),
    ]


class _Viewer(threading.Thread):
    """Notes when each event's line arrives; ends with the last one."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(daemon=True)
        self.seen_at: dict[int, float] = {}
        self._socket = socket

    def run(self) -> None:
        while len(self.seen_at) < EVENTS_A_SECOND * SECONDS:
            try:
                message = json.loads(self._socket.recv(timeout=PATIENCE_S))
            except TimeoutError:
                return
            if message["kind"] == "log" and int(message["data"]["message"]) >= 0:
                self.seen_at.setdefault(int(message["data"]["message"]), time.perf_counter())


def _send_steadily(port: int) -> dict[int, float]:
    """Send every event at its time, from several connections; return when each was sent."""
    sent_at: dict[int, float] = {}
    began = time.perf_counter()

    def send_share(first: int) -> None:
        pause = threading.Event()
        with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
            for number in range(first, EVENTS_A_SECOND * SECONDS, SENDERS):
                pause.wait(max(0.0, began + number / EVENTS_A_SECOND - time.perf_counter()))
                sent_at[number] = time.perf_counter()
                _post(connection, _event(str(number)))

    threads = [threading.Thread(target=send_share, args=(first,)) for first in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent_at


def _event(message: str) -> Request:
    event = {"event": "task_log", "run_id": "watched", "flow": "live", "task": "t", "node": "t:1", "level": "INFO", "message": message}
    return Request("/api/v1/events", JSON, json.dumps({**event, "ts": time.time_ns()}).encode(), Counter())


def _send(port: int, requests: list[Request]) -> None:
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        for request in requests:
            _post(connection, request)


def _post(connection: HTTPConnection, request: Request) -> None:
    status, answer = post(connection, request)
    assert is_acknowledged(request, status, answer), (status, answer)

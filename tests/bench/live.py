"""How long an event takes from its sender to an open socket, and what a server costs before anything happens."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

from tests.bench.ingest import percentile_ms
from tests.bench.loader import TAKEN, Connection, message
from tests.bench.metrics import read_metrics
from tests.bench.places import open_place
from tests.bench.process import cpu_s, rss_bytes
from tests.bench.requests import JSON
from tests.bench.table import Figure
from tests.servers import Server

EVENTS_A_SECOND = 1000
SECONDS = 10
# The first second finds cold code.
WARM_UP_S = 1
SENDERS = 8
VIEWERS = 50
# Each is watched by five. (All on one run would be 50,000 messages a second, which this machine's two cores cannot read.)
WATCHED_RUNS = 10
# Without a message for so long, a viewer takes what it has for all.
PATIENCE_S = 15.0
MIB = 1024 * 1024

_SAID = re.compile(r'"message": ?"(\d+)"')


def measure_start(folder: Path, storage: str) -> list[Figure]:
    """Measure a start on the store that an earlier start made, and the memory of the idle server."""
    with open_place(storage, folder) as place, Server(folder, **place.environment) as server:
        server.stop()
        began = time.perf_counter()
        server.start()
        warm_s = time.perf_counter() - began
        memory = rss_bytes(server.pid) / MIB
    return [
        Figure("start to first /healthz 200, s", warm_s, "budget 1.5"),
        Figure("idle memory, MiB", memory, "budget 250"),
    ]


def measure_live(folder: Path, storage: str) -> list[Figure]:
    """Send log events of several runs at a steady rate; each viewer notes when it sees each."""
    with open_place(storage, folder) as place, Server(folder, **place.environment) as server, ExitStack() as stack:
        _begin(server.port)
        viewers = [_Viewer(stack.enter_context(connect(_address(server, number))), number) for number in range(VIEWERS)]
        for viewer in viewers:
            viewer.start()
        before, used_s, began = read_metrics(server), cpu_s(server.pid), time.perf_counter()
        sent_at = _send_steadily(server.port)
        took_s = time.perf_counter() - began
        for viewer in viewers:
            viewer.join(PATIENCE_S)
        used_s, after = cpu_s(server.pid) - used_s, read_metrics(server)
    first = WARM_UP_S * EVENTS_A_SECOND
    times = [seen_at - sent_at[number] for viewer in viewers for number, seen_at in viewer.seen_at.items() if number >= first]
    late_s = [sent_at[number] - sent_at[0] - number / EVENTS_A_SECOND for number in sent_at]
    return [
        Figure("event to socket, p50 ms", percentile_ms(times, 50), f"{EVENTS_A_SECOND} events/s of {WATCHED_RUNS} runs, {VIEWERS} viewers"),
        Figure("event to socket, p95 ms", percentile_ms(times, 95), "budget 300, then 100"),
        Figure("event to socket, p99 ms", percentile_ms(times, 99), ""),
        Figure("messages seen", len(times), f"of {VIEWERS * (len(sent_at) - first) // WATCHED_RUNS}"),
        Figure("sent later than planned, p95 ms", percentile_ms(late_s, 95), "by the bench itself: above some 20 the figures are its own"),
        Figure("sent and stored, events/s", len(sent_at) / took_s, f"of {EVENTS_A_SECOND} asked for"),
        Figure("CPU of the server, us an event", used_s / len(sent_at) * 1e6, "telling it to five viewers too"),
        Figure("longest the event loop was held, ms", after.longest("loop_lag_seconds", before) * 1000, "at most, by a histogram's bucket"),
    ]


class _Viewer(threading.Thread):
    """Notes when each line of its run arrives; ends with the last one."""

    def __init__(self, socket: ClientConnection, number: int) -> None:
        super().__init__(daemon=True)
        self.seen_at: dict[int, float] = {}
        self._socket = socket
        self._wanted = EVENTS_A_SECOND * SECONDS // WATCHED_RUNS

    def run(self) -> None:
        while len(self.seen_at) < self._wanted:
            try:
                told = self._socket.recv(timeout=PATIENCE_S, decode=False)
            except TimeoutError:
                return
            said = _SAID.search(told[:600].decode(errors="replace")) if told.startswith(b'{"kind": "log"') or b'"log"' in told[:20] else None
            if said:
                self.seen_at.setdefault(int(said[1]), time.perf_counter())


def _address(server: Server, viewer: int) -> str:
    return f"ws://127.0.0.1:{server.port}/ws/runs/watched-{viewer % WATCHED_RUNS}"


def _begin(port: int) -> None:
    begun = [{"event": "flow_started", "run_id": f"watched-{number}", "flow": "live", "ts": time.time_ns()} for number in range(WATCHED_RUNS)]
    with closing(Connection(port)) as connection:
        _exchange(connection, message("POST", "/api/v1/events", json.dumps(begun).encode(), JSON))


def _send_steadily(port: int) -> dict[int, float]:
    """Send every event at its time, from several connections; return when each was sent."""
    sent_at: dict[int, float] = {}
    began = time.perf_counter()

    def send_share(first: int) -> None:
        pause = threading.Event()
        with closing(Connection(port)) as connection:
            for number in range(first, EVENTS_A_SECOND * SECONDS, SENDERS):
                event = message("POST", "/api/v1/events", _event(number), JSON)
                pause.wait(max(0.0, began + number / EVENTS_A_SECOND - time.perf_counter()))
                sent_at[number] = time.perf_counter()
                _exchange(connection, event)

    threads = [threading.Thread(target=send_share, args=(first,)) for first in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent_at


def _event(number: int) -> bytes:
    said = {"event": "task_log", "run_id": f"watched-{number % WATCHED_RUNS}", "flow": "live", "task": "t", "node": "t:1", "level": "INFO"}
    return json.dumps({**said, "message": str(number), "ts": time.time_ns()}).encode()


def _exchange(connection: Connection, sent: bytes) -> None:
    status, answer = connection.exchange(sent)
    assert status == 200 and answer in TAKEN, (status, answer)

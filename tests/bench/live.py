"""How long an event takes from its sender to an open socket, and what a server costs before anything happens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from tests.bench.ingest import percentile_ms
from tests.bench.loader import TAKEN, Connection, message
from tests.bench.metrics import read_metrics
from tests.bench.places import open_place
from tests.bench.process import cpu_s, rss_bytes
from tests.bench.requests import JSON
from tests.bench.table import Figure
from tests.bench.watchers import Crowd
from tests.servers import Server

EVENTS_A_SECOND = 1000
SECONDS = 10
# The first second finds cold code.
WARM_UP_S = 1
SENDERS = 8
VIEWERS = 50
# Each is watched by five. (All on one run would be 50,000 messages a second, which this machine's two cores cannot read.)
WATCHED_RUNS = 10
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """How the senders send. most: events in one request. pause_s: from one request of a sender to its next, at least."""

    name: str
    most: int
    pause_s: float


# The worst a program can do, and what a client library does: it sends what has come up, every 50 ms at most.
CASES = (Case("one event a request", 1, 0.0), Case("as a client library sends", EVENTS_A_SECOND, 0.05))


@dataclass(slots=True)
class Sent:
    """When each event was to be sent, when it was, and how many each request held."""

    began: float
    sent_at: dict[int, float] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def due_at(self, number: int) -> float:
        """Return when an event comes up in its sender."""
        return self.began + number / EVENTS_A_SECOND


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
    """Send log events of several runs at a steady rate, each way of sending to a server of its own; each viewer notes when it sees each."""
    return [figure for number, case in enumerate(CASES) for figure in _measure(folder / str(number), storage, case)]


def _measure(folder: Path, storage: str, case: Case) -> list[Figure]:
    with open_place(storage, folder) as place, Server(folder, **place.environment) as server:
        _begin(server.port)
        with closing(Crowd(server.port, [_run_id(viewer) for viewer in range(VIEWERS)], EVENTS_A_SECOND * SECONDS // WATCHED_RUNS)) as crowd:
            crowd.start()
            before, used_s, own_s = read_metrics(server), cpu_s(server.pid), time.process_time()
            sent = _send_steadily(server.port, case)
            took_s = time.perf_counter() - sent.began
            crowd.join()
            used_s, own_s, after = cpu_s(server.pid) - used_s, time.process_time() - own_s, read_metrics(server)
    held_ms = after.longest("loop_lag_seconds", before) * 1000
    commits, commits_s = (after.total(name) - before.total(name) for name in ("commit_seconds_count", "commit_seconds_sum"))
    return [
        *_times(case, sent, crowd),
        Figure("  sent and stored, events/s", len(sent.sent_at) / took_s, f"of {EVENTS_A_SECOND} asked for"),
        Figure("  events a commit", len(sent.sent_at) / commits, f"{commits_s / commits * 1000:.1f} ms each"),
        Figure("  CPU of the server, us an event", used_s / len(sent.sent_at) * 1e6, f"telling it to {VIEWERS // WATCHED_RUNS} viewers too"),
        Figure("  CPU of the bench, us an event", own_s / len(sent.sent_at) * 1e6, "on the same cores"),
        Figure("  longest the event loop was held, ms", held_ms, "at most, by a histogram's bucket"),
    ]


def _times(case: Case, sent: Sent, crowd: Crowd) -> Iterator[Figure]:
    first = WARM_UP_S * EVENTS_A_SECOND
    times = [at - sent.sent_at[number] for page in crowd.seen_at for number, at in page.items() if number >= first]
    late_s = [at - sent.due_at(number) for number, at in sent.sent_at.items()]
    asked = f"{EVENTS_A_SECOND} events/s of {WATCHED_RUNS} runs, {len(late_s) / len(sent.sizes):.1f} a request, {VIEWERS} viewers"
    waits = f"a sender pauses {case.pause_s * 1000:.0f} ms, and waits for answers"
    yield Figure(f"{case.name}: event to socket, p50 ms", percentile_ms(times, 50), asked)
    yield Figure("  event to socket, p95 ms", percentile_ms(times, 95), "budget 300, then 100")
    yield Figure("  event to socket, p99 ms", percentile_ms(times, 99), "")
    yield Figure("  messages seen", len(times), f"of {VIEWERS * (len(sent.sent_at) - first) // WATCHED_RUNS}")
    yield Figure("  sent later than it came up, p95 ms", percentile_ms(late_s, 95), waits)


def _begin(port: int) -> None:
    begun = [{"event": "flow_started", "run_id": _run_id(number), "flow": "live", "ts": time.time_ns()} for number in range(WATCHED_RUNS)]
    with closing(Connection(port)) as connection:
        _exchange(connection, json.dumps(begun))


def _send_steadily(port: int, case: Case) -> Sent:
    """Send every event at its time, from several connections; return when each was sent."""
    sent = Sent(time.perf_counter())
    threads = [threading.Thread(target=_send_share, args=(port, case, sent, first)) for first in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent


def _send_share(port: int, case: Case, sent: Sent, first: int) -> None:
    numbers, pause = range(first, EVENTS_A_SECOND * SECONDS, SENDERS), threading.Event()
    with closing(Connection(port)) as connection:
        while numbers:
            pause.wait(max(0.0, sent.due_at(numbers[0]) - time.perf_counter()))
            now = time.perf_counter()
            due = _come_up(sent, numbers[: case.most], now)
            numbers = numbers[len(due) :]
            sent.sent_at.update(dict.fromkeys(due, now))
            sent.sizes.append(len(due))
            _exchange(connection, _events(due))
            pause.wait(max(0.0, now + case.pause_s - time.perf_counter()))


def _come_up(sent: Sent, numbers: Sequence[int], now: float) -> list[int]:
    """Return those that have come up; the first has, if by nothing but the pause's last microsecond."""
    return list(takewhile(lambda number: sent.due_at(number) <= now, numbers)) or [numbers[0]]


def _events(numbers: list[int]) -> str:
    told = [_event(number) for number in numbers]
    return json.dumps(told if len(told) > 1 else told[0])


def _event(number: int) -> dict[str, object]:
    said = {"event": "task_log", "run_id": _run_id(number), "flow": "live", "task": "t", "node": "t:1", "level": "INFO"}
    return {**said, "message": str(number), "ts": time.time_ns()}


def _run_id(number: int) -> str:
    return f"watched-{number % WATCHED_RUNS}"


def _exchange(connection: Connection, events: str) -> None:
    status, answer = connection.exchange(message("POST", "/api/v1/events", events.encode(), JSON))
    assert status == 200 and answer in TAKEN, (status, answer)

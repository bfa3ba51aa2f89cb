"""A steady mixed load for a long time: memory, disk and lag a minute apart, and at the end the same account as after crashes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.crash import FOLDED_WITHIN_S, TOLD_WITHIN_S
from tests.bench.folds import compare_folds, wait_until_folded
from tests.bench.ingest import MIB
from tests.bench.places import Place, open_place
from tests.bench.process import cpu_s, rss_bytes
from tests.bench.requests import LineMaker, RequestMaker
from tests.bench.senders import Sender
from tests.bench.stored import ask, count_marks, read_facts, settle
from tests.bench.table import say
from tests.bench.watchers import Watcher
from tests.servers import Server

# Together with the rest between two requests about 100 requests a second: a team's load, not the most that goes.
SENDERS = 6
REST_S = 0.05
MINUTE_S = 60.0


def soak(folder: Path, minutes: float, seed: int, storage: str, replicas: int) -> bool:
    """Load a site for so long and print how it fares. Returns whether every promise was kept."""
    with open_place(storage, folder) as place, _servers(place, replicas if storage == "postgres" else 1) as servers:
        run_id = f"watched-{seed}"
        makers = [RequestMaker(f"{seed}-{number}") for number in range(SENDERS)]
        senders = [Sender(servers[number % len(servers)].port, maker, rest_s=REST_S) for number, maker in enumerate(makers)]
        senders += [Sender(server.port, LineMaker(run_id, str(number)), rest_s=1.0) for number, server in enumerate(servers)]
        watchers = [Watcher(server.port, run_id) for server in servers]
        for thread in (*senders, *watchers):
            thread.start()
        _tell_by_the_minute(minutes, place, servers, senders)
        for sender in senders:
            sender.stop()
            sender.join()
        untold = _untold(watchers, senders)
        return _settle(place, servers, senders, untold)


@contextmanager
def _servers(place: Place, replicas: int) -> Iterator[list[Server]]:
    servers = [Server(place.folder / f"replica-{number}", **place.environment) for number in range(replicas)]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.kill()


def _tell_by_the_minute(minutes: float, place: Place, servers: Sequence[Server], senders: Sequence[Sender]) -> None:
    began = time.monotonic()
    taken, used_s = 0, [cpu_s(server.pid) for server in servers]
    until = began + minutes * MINUTE_S
    while (now := time.monotonic()) < until:
        threading.Event().wait(min(MINUTE_S, until - now))
        lasted_s = time.monotonic() - now
        requests, spent_s = sum(len(sender.acknowledged) for sender in senders), [cpu_s(server.pid) for server in servers]
        cores = sum(after - before for before, after in zip(used_s, spent_s, strict=True)) / lasted_s
        memory = ", ".join(f"{rss_bytes(server.pid) / MIB:.0f}" for server in servers)
        say(
            f"  {(time.monotonic() - began) / MINUTE_S:.1f} min: {(requests - taken) / lasted_s:.0f} requests/s, memory {memory} MiB,"
            f" {cores:.2f} cores, store {_size_mib(place):.0f} MiB, {count_marks(place.where)} runs to fold"
        )
        taken, used_s = requests, spent_s


def _size_mib(place: Place) -> float:
    if isinstance(place.where, Path):
        return sum(file.stat().st_size for file in place.where.parent.glob(f"{place.where.name}*")) / MIB
    ((size,),) = ask(place.where, "SELECT pg_database_size(current_database())")
    return float(size) / MIB


def _untold(watchers: Sequence[Watcher], senders: Sequence[Sender]) -> int:
    """Count the lines that watchers did not hear of, though they were acknowledged."""
    lines = {key[1] for sender in senders[SENDERS:] for request in sender.acknowledged for key in request.facts if key[0] == "log"}
    untold = sum(len(watcher.wait_for(lines, TOLD_WITHIN_S)) for watcher in watchers)
    for watcher in watchers:
        watcher.stop()
    resyncs, interrupted = sum(watcher.resyncs for watcher in watchers), sum(watcher.interrupted for watcher in watchers)
    say(f"  {len(lines)} lines told to {len(watchers)} watchers, {untold} not; {interrupted} reconnects, {resyncs} resyncs")
    return untold


def _settle(place: Place, servers: Sequence[Server], senders: Sequence[Sender], untold: int) -> bool:
    wait_until_folded(place.where, FOLDED_WITHIN_S)
    runs, unfolded = compare_folds(servers[0].port)
    for server in servers:
        server.stop()
    acknowledged = [request for sender in senders for request in sender.acknowledged]
    account = settle(acknowledged, [request for sender in senders for request in sender.unanswered], read_facts(place.where))
    statuses = set[int]().union(*(sender.statuses for sender in senders))
    say(f"  {account}; {runs} runs, {len(unfolded)} unlike a fresh fold; answers {sorted(statuses)}")
    return account.is_right and not unfolded and not untold and statuses <= {200}

"""Postgres away under load, once ended and once hanging: what senders hear, what the server's memory does, and when all is well again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.crash import FOLDED_WITHIN_S
from tests.bench.folds import compare_folds, wait_until_folded
from tests.bench.ingest import MIB
from tests.bench.process import rss_bytes
from tests.bench.requests import RequestMaker
from tests.bench.senders import Sender, wait_until_taken
from tests.bench.soak import MINUTE_S
from tests.bench.stored import read_facts, settle
from tests.bench.table import say
from tests.postgres import Postgres
from tests.servers import Server

SENDERS = 6
# How long the load goes on before.
WARM_UP_S = 5.0
LOOK_EVERY_S = 0.25
# What a server may hold more than before: the bodies it has taken (FLOWSPAN_QUEUE_BYTES, 192 MiB) and what is made of them.
MOST_MORE_BYTES = 256 * MIB


def outage(folder: Path, minutes: float, seed: int) -> bool:
    """Take Postgres away for so long, both ways, and print what came of it. Returns whether every promise was kept."""
    with Postgres() as postgres, Server(folder, DATABASE_URL=(url := postgres.create_database())) as server:
        ways = {"ended": (postgres.kill, postgres.start), "hangs": (postgres.pause, postgres.resume)}
        senders: list[Sender] = []
        is_right = True
        for name, (go, come_back) in ways.items():
            some = [Sender(server.port, RequestMaker(f"{seed}-{name}-{number}")) for number in range(SENDERS)]
            is_right &= _take_away(name, server, some, minutes, go, come_back)
            senders += some
        wait_until_folded(url, FOLDED_WITHIN_S)
        runs, unfolded = compare_folds(server.port)
        server.stop()
        acknowledged = [request for sender in senders for request in sender.acknowledged]
        account = settle(acknowledged, [request for sender in senders for request in sender.unanswered], read_facts(url))
    statuses = set[int]().union(*(sender.statuses for sender in senders))
    say(f"  {account}; {runs} runs, {len(unfolded)} unlike a fresh fold; answers {sorted(statuses)}")
    return is_right and account.is_right and not unfolded and statuses <= {200, 503}


def _take_away(
    name: str, server: Server, senders: Sequence[Sender], minutes: float, go: Callable[[], None], come_back: Callable[[], None]
) -> bool:
    for sender in senders:
        sender.start()
    threading.Event().wait(WARM_UP_S)
    before = rss_bytes(server.pid)
    go()
    most, refused = _watch(server, senders, minutes * MINUTE_S)
    began = time.monotonic()
    come_back()
    wait_until_taken(senders)
    took_s, still = time.monotonic() - began, sum(sender.is_alive() for sender in senders)
    for sender in senders:
        sender.stop()
        sender.join()
    memory = f"memory {before / MIB:.0f} MiB before, {most / MIB:.0f} at most, {rss_bytes(server.pid) / MIB:.0f} after"
    say(f"  {name} for {minutes:g} min: {refused} answers 503, {memory}; taken again from all {took_s:.1f} s after")
    return still == len(senders) and refused > 0 and most - before < MOST_MORE_BYTES


def _watch(server: Server, senders: Sequence[Sender], seconds: float) -> tuple[int, int]:
    """Return the most bytes the server held meanwhile, and how many requests it sent away."""
    most, until = 0, time.monotonic() + seconds
    before = sum(len(sender.unanswered) for sender in senders)
    while time.monotonic() < until:
        threading.Event().wait(LOOK_EVERY_S)
        most = max(most, rss_bytes(server.pid))
    return most, sum(len(sender.unanswered) for sender in senders) - before

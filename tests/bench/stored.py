"""What is in a store's file, asked past all of our code: the facts, how often each, and whether the file is whole."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.requests import Key, Request


@dataclass(slots=True)
class Account:
    """Facts sent against facts stored, each list by fact.

    missing: acknowledged and not there, or not as often as it was said. doubled: there more often than it was said. foreign: there and never
    sent. torn: the first fact of each request of which only a part is there.
    """

    acknowledged: int = 0
    missing: list[Key] = field(default_factory=list)
    doubled: list[Key] = field(default_factory=list)
    foreign: list[Key] = field(default_factory=list)
    torn: list[Key] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Return whether every promise was kept."""
        return not (self.missing or self.doubled or self.foreign or self.torn)

    def __str__(self) -> str:
        """Say it in one line."""
        counts = {"missing": self.missing, "duplicated": self.doubled, "foreign": self.foreign, "torn requests": self.torn}
        return f"{self.acknowledged} acknowledged, " + ", ".join(f"{len(keys)} {word}" for word, keys in counts.items())


def settle(acknowledged: Iterable[Request], unanswered: Iterable[Request], stored: Counter[Key]) -> Account:
    """Compare what was sent with what is stored. A request sent twice on purpose counts once; acknowledged once is acknowledged."""
    promised = {request.body: request for request in acknowledged}
    hoped = {request.body: request for request in unanswered if request.body not in promised}
    account = Account()
    sent: Counter[Key] = Counter()
    for request in (*promised.values(), *hoped.values()):
        sent.update(request.facts)
        if _is_torn(request, stored):
            account.torn.append(next(iter(request.facts)))
    for request in promised.values():
        account.acknowledged += request.facts.total()
        account.missing += [key for key, times in request.facts.items() if stored[key] < times]
    account.doubled = [key for key, times in stored.items() if 0 < sent[key] < times]
    account.foreign = [key for key in stored if not sent[key]]
    return account


def _is_torn(request: Request, stored: Counter[Key]) -> bool:
    there = sum(min(stored[key], times) for key, times in request.facts.items())
    return 0 < there < request.facts.total()


def read_facts(database: Path) -> Counter[Key]:
    """Count every fact in a SQLite store nobody writes to just now."""
    with closing(sqlite3.connect(database)) as connection:
        found: Counter[Key] = Counter()
        for trace_id, span_id in connection.execute("SELECT trace_id, span_id FROM spans"):
            found["span", trace_id.hex(), span_id.hex()] += 1
        for trace_id, span_id, kind in connection.execute("SELECT trace_id, span_id, kind FROM span_moments"):
            found["moment", trace_id.hex(), span_id.hex(), kind] += 1
        for (body,) in connection.execute("SELECT body FROM logs"):
            found["log", json.loads(body)] += 1
        return found


def check_file(database: Path) -> str:
    """Return "ok", or what SQLite finds broken in the file."""
    with closing(sqlite3.connect(database)) as connection:
        (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
        return str(answer)


def count_marks(database: Path) -> int:
    """Return how many runs still wait to be folded."""
    with closing(sqlite3.connect(database)) as connection:
        (marks,) = connection.execute("SELECT count(*) FROM run_dirty").fetchone()
        return int(marks)

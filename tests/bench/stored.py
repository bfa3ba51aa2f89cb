"""What is in a store, asked past all of our code: the facts, how often each, and whether the store is whole.

A store is named by where it is: a SQLite file's path, or a Postgres database's address.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg.rows import TupleRow

from tests.bench.requests import Key, Request

Where: TypeAlias = Path | str


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


def read_facts(where: Where) -> Counter[Key]:
    """Count every fact in a store nobody writes to just now."""
    with closing(_connect(where)) as connection:
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


def check_server(url: str) -> str:
    """Return "ok", or how often writers waited for each other in a circle since the server was started."""
    ((deadlocks,),) = ask(url, "SELECT sum(deadlocks) FROM pg_stat_database")
    return f"{deadlocks} deadlocks" if deadlocks else "ok"


def count_marks(where: Where) -> int:
    """Return how many runs still wait to be folded."""
    ((marks,),) = ask(where, "SELECT count(DISTINCT run_key) FROM run_dirty")
    return int(marks)


def ask(where: Where, question: LiteralString) -> list[tuple[Any, ...]]:
    """Return what a statement finds in a store."""
    with closing(_connect(where)) as connection:
        return connection.execute(question).fetchall()


def _connect(where: Where) -> sqlite3.Connection | psycopg.Connection[TupleRow]:
    return sqlite3.connect(where) if isinstance(where, Path) else psycopg.connect(where)

"""Drops the tables of a day beside readers and writers, whatever they do: nobody waits for it longer than for a commit.

A table is detached, then dropped. DETACH CONCURRENTLY holds no lock while it waits for those who read; when it is interrupted the table is
half detached, and FINALIZE does the rest, which holds up whoever makes a day: it is given a moment, and tried again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from psycopg import errors
from psycopg.sql import SQL, Identifier

from collector.model import ODD_DAY
from storage_plugins.postgres.connections import Driver
from storage_plugins.postgres.days import FACT_TABLES, TRY_LOCK_PART

# How long DETACH CONCURRENTLY may wait for readers. One that takes longer is met again by the next sweep.
DETACH_WITHIN = "SET statement_timeout = '2s'; SET lock_timeout = 0"
AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"
# For what makes others wait: a writer may be held for 50 ms, and a commit takes its time, too.
A_MOMENT = "SET LOCAL lock_timeout = '20ms'; SET LOCAL statement_timeout = '20ms'"
# For the COMMIT: where one is cut off, as on a busy machine now and then, psycopg leaves its connection in a transaction that failed.
NO_HASTE = "SET LOCAL statement_timeout = 0"

# Facts counted one by one; of more the planner's estimate is told.
COUNTED = 100_000

PARTS = """
SELECT part.relname, inherits.inhdetachpending
FROM pg_class AS part LEFT JOIN pg_inherits AS inherits ON inherits.inhrelid = part.oid
WHERE part.relkind = 'r' AND part.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass(%s))
"""
IS_ATTACHED = "SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass(%s)"
SIZE = "SELECT pg_total_relation_size(oid), reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)"
COUNT = SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {}) AS found")

_NAME = re.compile(rf"({'|'.join(FACT_TABLES)})_d(\d+)")


class Part(NamedTuple):
    """One day of one fact table. attached: it is not yet a table of its own. pending: but half."""

    day: int
    table: str
    name: str
    attached: bool
    pending: bool


class Dropped(NamedTuple):
    """What went with a table."""

    facts: int
    freed_bytes: int


def old_parts(driver: Driver, first_day: int) -> list[Part]:
    """List what is left of earlier days, first of all what was begun to be dropped: a table has one half detached part at most."""
    found: list[Part] = []
    for name, pending in driver.execute(PARTS, (FACT_TABLES[0],)):
        match = _NAME.fullmatch(name)
        if match is not None and ODD_DAY < int(match[2]) < first_day:
            found.append(Part(int(match[2]), match[1], name, pending is not None, bool(pending)))
    return sorted(found, key=lambda part: (part.attached and not part.pending, part))


def detach(driver: Driver, part: Part) -> None:
    """Take a part off its table. Raises QueryCanceled if it is half detached now, because somebody has been reading the table all the time."""
    driver.execute(DETACH_WITHIN)
    try:
        driver.execute(SQL("ALTER TABLE {} DETACH PARTITION {} CONCURRENTLY").format(Identifier(part.table), Identifier(part.name)))
    finally:
        driver.execute(AS_BEFORE)


def finish(driver: Driver, part: Part) -> None:
    """Take the rest of a half detached part off. Raises LockNotAvailable or QueryCanceled while somebody reads what it was."""
    with _for_a_moment(driver, part):
        driver.execute(SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE").format(Identifier(part.table), Identifier(part.name)))


def drop(driver: Driver, part: Part) -> Dropped:
    """Drop a part that is a table of its own. Raises LockNotAvailable or QueryCanceled while somebody has it in his hands."""
    (freed_bytes, estimate) = driver.execute(SIZE, (part.name,)).fetchone() or (0, 0)
    (counted,) = driver.execute(COUNT.format(Identifier(part.name), COUNTED)).fetchone() or (0,)
    with _for_a_moment(driver, part):
        if driver.execute(IS_ATTACHED, (part.name,)).fetchone():
            raise errors.LockNotAvailable(f"{part.name} was attached again")
        driver.execute(SQL("DROP TABLE {}").format(Identifier(part.name)))
    return Dropped(counted if counted < COUNTED else max(counted, estimate), freed_bytes)


@contextmanager
def _for_a_moment(driver: Driver, part: Part) -> Iterator[None]:
    """Open a transaction that gives up soon. Nobody attaches the part again meanwhile."""
    with driver.transaction():
        driver.execute(A_MOMENT)
        if driver.execute(TRY_LOCK_PART, (part.name,)).fetchone() != (True,):
            raise errors.LockNotAvailable(f"{part.name} is being made")
        yield
        driver.execute(NO_HASTE)

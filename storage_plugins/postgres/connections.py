"""Connections to the server: how they are made, and the engines over them. Every wait for the server has an end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from storage_plugins.postgres.deadlines import Deadlines

Driver: TypeAlias = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT_S = 5
# Past a sender's patience (10 s for an exporter) a commit is of no use to anybody.
WRITE_WITHIN_S = 15.0
READ_WITHIN_S = 20.0
# A fold of 1,000,000 task runs that began and ended takes more than a minute.
FOLD_WITHIN_S = 300.0

# A peer that went away without a word is noticed by the machine itself, between two calls too.
KEEPALIVES: dict[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}
# synchronous_commit: 200 means stored, and a cursor counts on it that what is seen stays (news.py): folds are synced too.
# jit: our statements take milliseconds, to compile one takes more. idle_in_transaction: a process that hangs lets go of its locks.
OPTIONS = "-c synchronous_commit=on -c jit=off -c idle_in_transaction_session_timeout=60s -c client_min_messages=warning"


def reason_of(error: Exception) -> str:
    """Return what the driver says in one line, without the statement. Not for senders: it may name the server and the user."""
    return str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]


class Server:
    """One database of one server. Makes connections; knows nothing of what is done with them."""

    def __init__(self, url: str) -> None:
        """url: as SQLAlchemy or libpq write it."""
        self._conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self.deadlines = Deadlines()

    def connect(self) -> Driver:
        """Return a connection in autocommit mode. Raises OperationalError."""
        return psycopg.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="flowspan",
            options=OPTIONS,
            **KEEPALIVES,
        )

    def make_engine(self, connections: int, *, isolation: str) -> Engine:
        """Return an engine of at most this many connections. isolation: of its transactions, in SQL's words."""
        return create_engine(
            "postgresql+psycopg://",
            creator=self.connect,
            isolation_level=isolation,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
        )

    @contextmanager
    def begin(self, engine: Engine, within_s: float) -> Iterator[Connection]:
        """Open a transaction that must be over within so many seconds."""
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            with self.deadlines.within(within_s, driver), connection.begin():
                yield connection

    def close(self) -> None:
        """End what watches over the connections."""
        self.deadlines.close()

"""The schema's history: one Alembic chain for every SQL storage. `versions/` holds the revisions, oldest first.

A new store is made from the tables and stamped, because importing Alembic costs 1.3 s of a cold start; tests/storage/test_migrations.py
proves that the chain makes the same schema. An embedded store is brought up to date by whoever opens it; a server's only by
`flowspan migrate`, because the replicas that still run must be able to use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, Engine, insert, inspect, select, text
from sqlalchemy.exc import OperationalError

from collector.errors import Rejected, Unavailable
from collector.model import DEFAULT_PROJECT, ODD_DAY
from storage_plugins.sql.tables import FACTS, Base, Clock, Project, partition_name, table_of

if TYPE_CHECKING:
    from alembic.config import Config

# The newest revision in versions/.
HEAD = "0003"
FOLDER = Path(__file__).parent

# Everybody who makes or changes a server's schema holds this lock: replicas start at the same moment.
LOCK_SCHEMA = text("SELECT pg_advisory_xact_lock(hashtext('flowspan schema'))")
# Longer than a schema takes to make; a migration that takes longer is worth waiting for by hand.
LOCK_WAIT_S = 30.0
LOCK_NOT_AVAILABLE = "55P03"

_PARTITION = re.compile(rf"({'|'.join(str(table_of(fact)) for fact in FACTS)})_d\d+")


def bring_up_to_date(engine: Engine) -> tuple[str, str]:
    """Make or migrate an embedded store's schema. Returns the revisions before, empty for a new store, and after.

    Raises Rejected if the store was made by a newer program.
    """
    with engine.begin() as connection:
        found = _revision(connection)
        if not found:
            _make(connection)
    if found and found != HEAD:
        upgrade(engine, found)
    return found, HEAD


def make_or_check(engine: Engine) -> None:
    """Make a server store's schema if its database is empty, else see that it is this program's. Any number of replicas may do so at once.

    Raises Rejected if it is an older one, a newer one, or somebody else's database; Unavailable if it is being migrated.
    """
    with engine.connect() as connection:
        found = _revision(connection)
    if not found:
        with _alone_with_schema(engine) as connection:
            found = _revision(connection) or _make_in_empty(connection)
    if found != HEAD:
        raise Rejected(_why_refused(engine, found))


def migrate(engine: Engine) -> tuple[str, str]:
    """Make or migrate a server store's schema, beside servers that use it. Returns the revisions before, empty for a new store, and after.

    Raises Rejected if the store was made by a newer program, or the database is somebody else's; Unavailable if another migration runs.
    """
    with _alone_with_schema(engine) as connection:
        found = _revision(connection)
        if not found:
            _make_in_empty(connection)
        elif found != HEAD:
            upgrade(engine, found)
    return found, HEAD


def upgrade(engine: Engine, found: str = "") -> None:
    """Run the revisions a store has not seen yet. Raises Rejected if it names one that this program does not know."""
    from alembic import command  # 1.3 s: only when there is something to migrate
    from alembic.util import CommandError

    with engine.connect() as connection:
        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            raise Rejected(_made_by_a_newer(found)) from error


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for one connection; env.py finds it in the attributes."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    return config


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Return whether autogenerate should compare what it found: partitions come and go with the days, no revision speaks of them."""
    return kind != "table" or name is None or _PARTITION.fullmatch(name) is None


@contextmanager
def _alone_with_schema(engine: Engine) -> Iterator[Connection]:
    """Hold the lock of a server store's schema until the transaction ends."""
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'"))
        try:
            connection.execute(LOCK_SCHEMA)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", "") != LOCK_NOT_AVAILABLE:
                raise
            raise Unavailable(f"this store has been locked for {LOCK_WAIT_S:g} s: its schema is being migrated. Try again later") from error
        yield connection


def _why_refused(engine: Engine, found: str) -> str:
    """Say what to do with a store that has another schema than this program's."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    with engine.connect() as connection:
        try:
            ScriptDirectory.from_config(alembic_config(connection)).get_revision(found)
        except CommandError:
            return _made_by_a_newer(found)
    return (
        f"this store has schema {found}, and this Flowspan needs {HEAD}: run `flowspan migrate` once,"
        " with the store as --storage or in DATABASE_URL, and start again"
    )


def _made_by_a_newer(found: str) -> str:
    return f"this store has schema {found}, made by a newer Flowspan: use that version, or another store"


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _make_in_empty(connection: Connection) -> str:
    """Make the schema. Raises Rejected rather than take another program's tables for ours."""
    taken = sorted(set(inspect(connection).get_table_names()) & Base.metadata.tables.keys())
    if taken:
        raise Rejected(f"this database has tables of another program ({', '.join(taken)}): use a database of Flowspan's own")
    return _make(connection)


def _make(connection: Connection) -> str:
    Base.metadata.create_all(connection)
    if connection.dialect.name == "postgresql":
        _make_odd_day(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
    fill(connection)
    return HEAD


def _make_odd_day(connection: Connection) -> None:
    """Make the partitions that are always there; those of real days are made when the first fact of a day comes."""
    for fact in FACTS:
        table = str(table_of(fact))
        bounds = f"FOR VALUES FROM ({ODD_DAY}) TO ({ODD_DAY + 1})"
        connection.execute(text(f"CREATE TABLE {partition_name(table, ODD_DAY)} PARTITION OF {table} {bounds}"))


def fill(connection: Connection) -> None:
    """Add the rows every store begins with: the default project, and the clock."""
    if connection.execute(select(Clock.id)).first() is None:
        connection.execute(insert(Clock).values(id=1, seq=0, pruned_seq=0))
    if connection.execute(select(Project.project)).first() is None:
        project_id = str(uuid5(NAMESPACE_URL, "flowspan:default"))
        connection.execute(insert(Project).values(project=DEFAULT_PROJECT, id=project_id, key="default", name="Default"))

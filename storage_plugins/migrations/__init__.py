"""The schema's history: one Alembic chain for every SQL storage. `versions/` holds the revisions, oldest first.

A new store is made from the tables and stamped, because importing Alembic costs 1.3 s of a cold start; tests/storage/test_migrations.py
proves that the chain makes the same schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, Engine, insert, inspect, select, text

from collector.errors import Rejected
from collector.model import DEFAULT_PROJECT
from storage_plugins.sql.tables import Base, Clock, Project

if TYPE_CHECKING:
    from alembic.config import Config

# The newest revision in versions/.
HEAD = "0001"
FOLDER = Path(__file__).parent


def bring_up_to_date(engine: Engine) -> None:
    """Make or migrate an embedded store's schema. Raises Rejected if the store was made by a newer program."""
    with engine.begin() as connection:
        found = _revision(connection)
        if found is None:
            _make(connection)
            return
    if found != HEAD:
        upgrade(engine, found)


def upgrade(engine: Engine, found: str | None = None) -> None:
    """Run the revisions a store has not seen yet. Raises Rejected if it names one that this program does not know."""
    from alembic import command  # 1.3 s: only when there is something to migrate
    from alembic.util import CommandError

    with engine.connect() as connection:
        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            raise Rejected(f"this store has schema {found}, made by a newer Flowspan: use that version, or another store") from error


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for one connection; env.py finds it in the attributes."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _make(connection: Connection) -> None:
    Base.metadata.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
    fill(connection)


def fill(connection: Connection) -> None:
    """Add the rows every store begins with: the default project, and the clock."""
    if connection.execute(select(Clock.id)).first() is None:
        connection.execute(insert(Clock).values(id=1, seq=0, pruned_seq=0))
    if connection.execute(select(Project.project)).first() is None:
        project_id = str(uuid5(NAMESPACE_URL, "flowspan:default"))
        connection.execute(insert(Project).values(project=DEFAULT_PROJECT, id=project_id, key="default", name="Default"))

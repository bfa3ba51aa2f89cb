"""The chain of revisions and the declared tables make the same schema; an old store is brought up to date, a newer one is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from collector.errors import Rejected
from storage_plugins.migrations import HEAD, alembic_config, bring_up_to_date, upgrade
from storage_plugins.sql.tables import Base


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty database in a file."""
    engine = create_engine(f"sqlite:///{tmp_path / 'store.db'}", poolclass=NullPool)
    yield engine
    engine.dispose()


def _schema(engine: Engine) -> dict[str, tuple[list[str], list[str], list[str]]]:
    found = inspect(engine)
    return {
        table: (
            [f"{column['name']} {column['type']} {column['nullable']}" for column in found.get_columns(table)],
            list(found.get_pk_constraint(table)["constrained_columns"]),
            sorted(f"{index['name']} {index['column_names']} {index['unique']}" for index in found.get_indexes(table)),
        )
        for table in found.get_table_names()
    }


def _rows(engine: Engine, table: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}"))]


def test_a_new_store_equals_one_that_went_through_every_revision(engine: Engine, tmp_path: Path) -> None:
    migrated = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}", poolclass=NullPool)

    bring_up_to_date(engine)
    upgrade(migrated)

    assert _schema(engine) == _schema(migrated)
    assert [_rows(engine, table) for table in ("clock", "projects", "alembic_version")] == [
        _rows(migrated, table) for table in ("clock", "projects", "alembic_version")
    ]


def test_autogenerate_finds_nothing_to_add(engine: Engine) -> None:
    upgrade(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection)

        assert [] == compare_metadata(context, Base.metadata)


def test_every_earlier_revision_is_brought_to_the_newest(tmp_path: Path, engine: Engine) -> None:
    with engine.connect() as connection:
        revisions = [script.revision for script in ScriptDirectory.from_config(alembic_config(connection)).walk_revisions()]
    for revision in revisions:
        old = create_engine(f"sqlite:///{tmp_path / revision}.db", poolclass=NullPool)
        with old.connect() as connection:
            command.upgrade(alembic_config(connection), revision)

        bring_up_to_date(old)

        assert [(HEAD,)] == _rows(old, "alembic_version")


def test_a_store_made_by_a_newer_flowspan_is_refused(engine: Engine) -> None:
    bring_up_to_date(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(Rejected, match="newer Flowspan"):
        bring_up_to_date(engine)


# R057
def test_every_store_begins_with_the_default_project(engine: Engine) -> None:
    bring_up_to_date(engine)

    ((number, uuid, key, name),) = _rows(engine, "projects")

    assert (1, "default", "Default", 36) == (number, key, name, len(str(uuid)))


# R057 R058 R059 R060 R061 R062
def test_project_is_part_of_every_key() -> None:
    keys = {table.name: [column.name for column in table.primary_key.columns] for table in Base.metadata.sorted_tables}

    assert {"clock"} == {table for table, key in keys.items() if "project" not in key}

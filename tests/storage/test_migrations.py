"""The chain of revisions and the declared tables make the same schema on every engine; an old store is brought up to date, a newer one refused.

Who does it differs: an embedded store is brought up to date by whoever opens it, a server's by `flowspan migrate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, insert, inspect, make_url, select, text
from sqlalchemy.pool import NullPool

from collector.errors import Rejected, Unavailable
from storage_plugins import migrations
from storage_plugins.migrations import HEAD, alembic_config, bring_up_to_date, is_ours, make_or_check, migrate, upgrade
from storage_plugins.sql.tables import Base, Flow, RunDirty
from tests.postgres import Install, Postgres, binaries

NewDatabase: TypeAlias = Callable[[], Engine]

# What the inspector does not tell: how Postgres divides a table, finds a row in it, and compares its texts.
DEFINITIONS = """
    SELECT relname, pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    UNION ALL SELECT indexname, indexdef, NULL FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT table_name || '.' || column_name, collation_name, column_default FROM information_schema.columns
    WHERE table_schema = 'public'
    ORDER BY 1
"""


@pytest.fixture(params=["sqlite", *binaries()], ids=str)
def new_database(request: pytest.FixtureRequest, tmp_path: Path, postgres_of: Callable[[Install], Postgres]) -> Iterator[NewDatabase]:
    """Make empty databases, which go with the test, of one engine after the other."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield lambda: _engine(f"sqlite:///{tmp_path / str(len(list(tmp_path.iterdir())))}.db", stack)
        else:
            yield lambda: _on_server(postgres_of(request.param), stack)


@pytest.fixture(params=binaries(), ids=str)
def server_database(request: pytest.FixtureRequest, postgres_of: Callable[[Install], Postgres]) -> Iterator[Engine]:
    """An empty database of an engine that several programs may use at once."""
    with ExitStack() as stack:
        yield _on_server(postgres_of(request.param), stack)


def _on_server(server: Postgres, stack: ExitStack) -> Engine:
    url = server.create_database()
    stack.callback(server.drop_database, url)
    return _engine(url.replace("postgresql:", "postgresql+psycopg:"), stack)


def _engine(url: str, stack: ExitStack) -> Engine:
    engine = create_engine(make_url(url), poolclass=NullPool)
    stack.callback(engine.dispose)
    return engine


def _make(engine: Engine) -> None:
    """Make a store as opening it does."""
    (bring_up_to_date if engine.dialect.name == "sqlite" else make_or_check)(engine)


def _bring(engine: Engine) -> tuple[str, str]:
    """Bring a store up to date as its owner does."""
    return (bring_up_to_date if engine.dialect.name == "sqlite" else migrate)(engine)


def _go(engine: Engine, step: Callable[..., None], revision: str) -> None:
    with engine.connect() as connection:
        step(alembic_config(connection), revision)


def _schema(engine: Engine) -> dict[str, Any]:
    found = inspect(engine)
    tables: dict[str, Any] = {
        table: (
            [f"{column['name']} {column['type']} {column['nullable']} {column['default']}" for column in found.get_columns(table)],
            list(found.get_pk_constraint(table)["constrained_columns"]),
            sorted(f"{index['name']} {index['column_names']} {index['unique']}" for index in found.get_indexes(table)),
        )
        for table in found.get_table_names()
    }
    if engine.dialect.name == "postgresql":
        tables["definitions"] = _ask(engine, DEFINITIONS)
    return tables


def _rows(engine: Engine, table: str) -> list[tuple[object, ...]]:
    return _ask(engine, f"SELECT * FROM {table}")


def _ask(engine: Engine, statement: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def _tell(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_a_new_store_equals_one_that_went_through_every_revision(new_database: NewDatabase) -> None:
    made, migrated = new_database(), new_database()

    _make(made)
    upgrade(migrated)

    assert _schema(made) == _schema(migrated)
    assert [_rows(made, table) for table in ("clock", "projects", "alembic_version")] == [
        _rows(migrated, table) for table in ("clock", "projects", "alembic_version")
    ]


# R081
def test_autogenerate_finds_nothing_to_add_beside_the_days(new_database: NewDatabase) -> None:
    engine = new_database()
    upgrade(engine)
    if engine.dialect.name == "postgresql":
        _tell(engine, "CREATE TABLE spans_d20780 PARTITION OF spans FOR VALUES FROM (20780) TO (20781)")

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})

        assert [] == compare_metadata(context, Base.metadata)


# R081
def test_every_earlier_revision_is_brought_to_the_newest(new_database: NewDatabase) -> None:
    newest = new_database()
    _make(newest)
    with newest.connect() as connection:
        revisions = [script.revision for script in ScriptDirectory.from_config(alembic_config(connection)).walk_revisions()]
    for revision in revisions:
        old = new_database()
        _go(old, command.upgrade, revision)

        assert (revision, HEAD) == _bring(old)
        assert _schema(newest) == _schema(old)


def test_a_revision_can_be_taken_back(new_database: NewDatabase) -> None:
    old, engine = new_database(), new_database()
    _go(old, command.upgrade, "0001")
    upgrade(engine)

    _go(engine, command.downgrade, "0001")

    assert _schema(old) == _schema(engine)


def test_marks_of_an_older_store_are_kept_both_ways(new_database: NewDatabase) -> None:
    engine = new_database()
    _go(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        connection.execute(insert(RunDirty), [{"project": 1, "run_key": b"r", "trace_id": b"t", "seq": 5}])

    upgrade(engine)
    kept = _rows(engine, "run_dirty")
    with engine.begin() as connection:
        connection.execute(insert(RunDirty), [{"project": 1, "run_key": b"r", "trace_id": b"t", "seq": 7}])
    _go(engine, command.downgrade, "0001")

    assert [(1, b"r", b"t", 5)] == kept
    assert [(1, b"r", b"t", 7)] == _rows(engine, "run_dirty")


def test_a_store_made_by_a_newer_flowspan_is_refused(new_database: NewDatabase) -> None:
    engine = new_database()
    _make(engine)
    _tell(engine, "UPDATE alembic_version SET version_num = '9999'")

    for refusing in (_make, _bring):
        with pytest.raises(Rejected, match="newer Flowspan"):
            refusing(engine)


# R081
def test_a_server_refuses_an_older_store_until_it_is_migrated(server_database: Engine) -> None:
    _go(server_database, command.upgrade, "0001")

    with pytest.raises(Rejected, match=r"schema 0001.*`flowspan migrate`.*--storage.*DATABASE_URL"):
        make_or_check(server_database)

    assert ("0001", HEAD) == migrate(server_database)
    make_or_check(server_database)


def test_a_new_store_may_be_migrated_too(server_database: Engine) -> None:
    assert ("", HEAD) == migrate(server_database)
    assert (HEAD, HEAD) == migrate(server_database)
    make_or_check(server_database)


def test_replicas_that_start_at_once_make_one_schema(server_database: Engine) -> None:
    with ThreadPoolExecutor(4) as replicas:
        list(replicas.map(make_or_check, [server_database] * 4))

    assert [(HEAD,)] == _rows(server_database, "alembic_version")
    assert 1 == len(_rows(server_database, "projects"))


def test_an_old_store_is_migrated_once_by_whoever_comes_first(server_database: Engine) -> None:
    _go(server_database, command.upgrade, "0001")

    with ThreadPoolExecutor(2) as replicas:
        found = sorted(replicas.map(migrate, [server_database] * 2))

    assert [("0001", HEAD), (HEAD, HEAD)] == found


def test_a_schema_that_stays_locked_is_tried_again_later(server_database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "LOCK_WAIT_S", 0.1)
    with server_database.begin() as connection:
        connection.execute(migrations.LOCK_SCHEMA)

        for waiting in (make_or_check, migrate):
            with pytest.raises(Unavailable, match="being migrated"):
                waiting(server_database)


def test_a_database_of_another_program_is_left_alone(server_database: Engine) -> None:
    _tell(server_database, "CREATE TABLE projects (title text)")

    for refusing in (make_or_check, migrate):
        with pytest.raises(Rejected, match=r"another program.*projects"):
            refusing(server_database)

    assert ["projects"] == inspect(server_database).get_table_names()


def test_odd_starts_have_their_partition_from_the_beginning(server_database: Engine) -> None:
    make_or_check(server_database)

    partitions = _ask(server_database, "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY relname")

    assert [("logs_d0",), ("span_moments_d0",), ("spans_d0",)] == partitions


# R083
def test_texts_are_ordered_by_their_bytes_on_every_engine(new_database: NewDatabase) -> None:
    engine = new_database()
    _make(engine)
    row: dict[str, Any] = {column.name: 0 if column.type.python_type is int else "" for column in Flow.__table__.columns}
    with engine.begin() as connection:
        connection.execute(insert(Flow), [{**row, "flow_key": key} for key in ("b", "é", "A", "a", "B", "_")])

        ordered = connection.execute(select(Flow.flow_key).order_by(Flow.flow_key)).scalars().all()

    assert ["A", "B", "_", "a", "b", "é"] == ordered


# R057
def test_every_store_begins_with_the_default_project(new_database: NewDatabase) -> None:
    engine = new_database()
    _make(engine)

    ((number, uuid, key, name),) = _rows(engine, "projects")

    assert (1, "default", "Default", 36) == (number, key, name, len(str(uuid)))


# R057 R058 R059 R060 R061 R062
def test_project_is_part_of_every_key() -> None:
    keys = {table.name: [column.name for column in table.primary_key.columns] for table in Base.metadata.sorted_tables}

    assert {"clock"} == {table for table, key in keys.items() if "project" not in key}

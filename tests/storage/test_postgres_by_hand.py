"""What retention does with the table of a day that an operator has taken off by hand (deploy/README.md)."""

from __future__ import annotations

from collector.model import DEFAULT_PROJECT
from collector.rows import DAY_NS
from collector.steady import T0_NS
from collector.testing.retention import expire_all
from storage_plugins.sql.tables import partition_name
from tests.storage.kept_postgres import keeping
from tests.storage.old_facts import many
from tests.storage.opened_postgres import ask, tell

OLD = partition_name("spans", T0_NS // DAY_NS)
DETACH = f"ALTER TABLE spans DETACH PARTITION {OLD}".encode()


# R097
def test_an_old_day_detached_by_hand_is_dropped(postgres_url: str) -> None:
    with keeping(postgres_url) as storage:
        storage.writer.write(many(3))
        tell(postgres_url, DETACH)

        expire_all(storage)

    assert [(None,)] == ask(postgres_url, "SELECT to_regclass(%s)", OLD)


# R097
def test_an_old_day_detached_by_hand_and_renamed_is_left_alone(postgres_url: str) -> None:
    with keeping(postgres_url) as storage:
        storage.writer.write(many(3))
        tell(postgres_url, DETACH)
        tell(postgres_url, f"ALTER TABLE {OLD} RENAME TO kept_{OLD}".encode())

        expire_all(storage)

    assert [(DEFAULT_PROJECT,)] == ask(postgres_url, f"SELECT DISTINCT project FROM kept_{OLD}".encode())

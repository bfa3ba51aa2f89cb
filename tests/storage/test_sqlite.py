"""The built-in storage keeps every promise, in a file and in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.storage import Storage
from collector.testing import RetentionContract, StorageContract
from storage_plugins.sqlite.storage import SqliteStorage

FOLD_EVERY_MS = 5


# R078 R080 R083 R087 R156 R194
class TestSqliteInMemory(StorageContract, RetentionContract):
    """memory: goes with the process."""

    durable = False

    def make_storage(self) -> Storage:
        """Make one."""
        return SqliteStorage("memory:", FOLD_EVERY_MS)

    def make_storage_keeping(self, days: int) -> Storage:
        """Make one that deletes what is older."""
        return SqliteStorage("memory:", FOLD_EVERY_MS, days)


# R087 R194
class TestSqliteInAFile(StorageContract, RetentionContract):
    """One file, WAL."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "flowspan.db"
        self.count = 0

    def make_storage(self) -> Storage:
        """Make one in a file of its own."""
        self.count += 1
        return SqliteStorage(f"sqlite:///{self.path}{self.count}", FOLD_EVERY_MS)

    def make_storage_keeping(self, days: int) -> Storage:
        """Make one that deletes what is older."""
        self.count += 1
        return SqliteStorage(f"sqlite:///{self.path}{self.count}", FOLD_EVERY_MS, days)

    def reopen(self, storage: Storage) -> Storage:
        """Open the newest file again."""
        storage.close()
        return SqliteStorage(f"sqlite:///{self.path}{self.count}", FOLD_EVERY_MS)

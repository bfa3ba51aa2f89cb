"""How a test of the contract comes by a storage: what a plugin author's subclass says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from collector.storage import Storage


class OpensStorage:
    """Makes, opens and closes the storage under test."""

    #: Whether reopen() finds what was written: False for a store that lives in memory.
    durable = True

    def make_storage(self) -> Storage:
        """Return an empty storage, not yet opened."""
        raise NotImplementedError  # a subclass says how

    def reopen(self, storage: Storage) -> Storage:
        """Close a storage and return another that opens the same place, not yet opened."""
        raise NotImplementedError  # a durable subclass says how

    def make_storage_keeping(self, days: int) -> Storage:
        """Return an empty storage that keeps facts for so many days, not yet opened. Asked by RetentionContract alone."""
        raise NotImplementedError  # a subclass whose storage deletes old facts says how

    @contextmanager
    def opened(self) -> Iterator[Storage]:
        """Open an empty storage, and close it at the end."""
        with _open(self.make_storage()) as storage:
            yield storage

    @contextmanager
    def keeping(self, days: int) -> Iterator[Storage]:
        """Open an empty storage that keeps facts for so many days, and close it at the end."""
        with _open(self.make_storage_keeping(days)) as storage:
            yield storage

    @contextmanager
    def reopened(self, storage: Storage) -> Iterator[Storage]:
        """Close an open storage, open its place again, and close it at the end."""
        with _open(self.reopen(storage)) as again:
            yield again


@contextmanager
def _open(storage: Storage) -> Iterator[Storage]:
    storage.open()
    try:
        yield storage
    finally:
        storage.close()

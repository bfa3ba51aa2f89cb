"""The toy keeps every promise of a storage. This is all the testing a storage of your own needs to begin with."""

from __future__ import annotations

from collector.storage import Storage
from collector.testing import StorageContract
from flowspan_toy.storage import ToyStorage


class TestToyStorage(StorageContract):
    """In memory, so there is nothing to reopen."""

    durable = False

    def make_storage(self) -> Storage:
        """Make an empty one."""
        return ToyStorage()

"""A third party's storage, in plain dicts and without a line of SQL, keeps the same promises."""

from __future__ import annotations

from collector.storage import Storage
from collector.testing import StorageContract
from flowspan_toy.storage import ToyStorage


# R078 R083 R194
class TestToyStorage(StorageContract):
    """In memory, so there is nothing to reopen."""

    durable = False

    def make_storage(self) -> Storage:
        """Make an empty one."""
        return ToyStorage()

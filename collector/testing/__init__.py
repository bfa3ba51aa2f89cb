"""What a plugin author tests with: StorageContract, the promises of collector.storage as tests. Ready facts are in collector/steady.py.

    class TestMyStorage(StorageContract):
        def make_storage(self) -> Storage:
            return MyStorage(...)

A storage that deletes old facts subclasses RetentionContract too, and says how to make one that keeps them for so many days.

Any test runner that collects classes works; nothing here imports one. Under pytest a broken promise shows what was expected and what came
if a conftest.py says `pytest.register_assert_rewrite("collector.testing")`.
"""

from __future__ import annotations

from collector.testing.catalogue import CataloguePromises
from collector.testing.claims import ClaimPromises
from collector.testing.following import FollowingPromises
from collector.testing.lines import LinePromises
from collector.testing.listing import ListPromises
from collector.testing.news import NewsPromises
from collector.testing.retention import KeepPromises, RetentionPromises
from collector.testing.runs import RunPromises
from collector.testing.writing import WritePromises


class StorageContract(
    WritePromises,
    RunPromises,
    FollowingPromises,
    ClaimPromises,
    ListPromises,
    CataloguePromises,
    LinePromises,
    NewsPromises,
    KeepPromises,
):
    """Every promise of Writer and Reader. Subclass it, say how to make a storage, and run it."""


class RetentionContract(RetentionPromises):
    """What a storage promises besides, if it deletes what is older than settings.retention_days."""


__all__ = ["RetentionContract", "StorageContract"]

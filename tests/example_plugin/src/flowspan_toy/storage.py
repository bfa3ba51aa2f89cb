"""The toy storage: plain dicts of rows in memory, one lock around them. Small enough to read, and it keeps every promise but durability."""

from __future__ import annotations

from collections.abc import Callable

from collector.answers import Expired
from collector.batch import Batch
from flowspan_toy.reader import ToyReader
from flowspan_toy.tables import Cabinet
from flowspan_toy.views import fold_marks


class ToyStorage:
    """collector.storage.Storage over one Cabinet. What it holds goes with the process."""

    name = "toy"
    shared = False

    def __init__(self) -> None:
        """Begin closed and empty."""
        self._cabinet = Cabinet()
        self.writer = ToyWriter(self._cabinet)
        self.reader = ToyReader(self._cabinet)

    def open(self) -> None:
        """See Storage."""
        self._cabinet.is_open = True

    def migrate(self) -> tuple[str, str]:
        """See Storage. Dicts have no schema."""
        return "1", "1"

    def listen(self, hint: Callable[[], None]) -> None:
        """See Storage. Nobody else has these dicts."""

    def close(self) -> None:
        """See Storage."""
        self._cabinet.is_open = False


class ToyWriter:
    """collector.storage.Writer."""

    at_once = 1

    def __init__(self, cabinet: Cabinet) -> None:
        """cabinet: the storage's own."""
        self._cabinet = cabinet

    def write(self, batch: Batch) -> None:
        """See Writer."""
        with self._cabinet.held() as tables:
            tables.add(batch.as_rows())

    def fold(self, now_ns: int) -> float | None:
        """See Writer. Everything that is marked, at once: a dict is quick."""
        with self._cabinet.held() as tables:
            fold_marks(tables, now_ns)
        return None

    def expire(self, now_ns: int) -> Expired | None:
        """See Writer. What is held goes with the process, and that is soon."""
        return None

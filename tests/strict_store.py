"""A third-party store in a few lines, with moods: for what a batcher must survive."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from collector.answers import Expired
from collector.batch import Batch
from collector.errors import Rejected, Unavailable
from tests.builders import Store

PATIENCE_S = 60.0


@dataclass
class StrictStore:
    """A third-party store: keeps what it is given, refuses batches with a name it hates, and does what it is told."""

    at_once = 1

    hated: str = ""
    down: bool = False
    bug: bool = False
    writes: list[int] = field(default_factory=list)
    kept: Store = field(default_factory=Store)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def write(self, batch: Batch) -> None:
        """See Writer."""
        self.entered.set()
        self.gate.wait(PATIENCE_S)
        if self.down:
            raise Unavailable("down")
        if self.bug:
            raise KeyError("a bug of the plugin")
        if self.hated and any(self.hated in row.name for row in batch.moments):
            raise Rejected(f"I hate {self.hated}")
        self.writes.append(len(batch))
        self.kept.write(batch)

    def fold(self, now_ns: int) -> float | None:
        """See Writer."""
        return None

    def expire(self, now_ns: int) -> Expired | None:
        """See Writer."""
        return None

    def names(self) -> set[str]:
        """Return the names of what was kept."""
        return {row.name for row in self.kept.moments.values()}

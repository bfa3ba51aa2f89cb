"""A third-party storage that fails when it is told to: SQLite in memory behind it, found by entry point like any plugin."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from collector.answers import Expired
from collector.batch import Batch
from collector.errors import Rejected, Unavailable
from collector.hookspecs import hookimpl
from collector.settings import Settings
from collector.storage import Reader, Storage, Writer
from storage_plugins.sqlite.storage import SqliteStorage
from tests.in_process import Server, running

SCHEME = "fragile:"
REFUSED_NAME = "the store hates this"


@dataclass
class Weather:
    """How the store behaves. lost_answers: so many of the next writes are committed and then said to have failed.

    columns: how many spans have come as columns.
    """

    down: bool = False
    lost_answers: int = 0
    writes: int = 0
    columns: int = 0
    open_gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.open_gate.set()


# Of the storages made and not yet asked for: a hook gives a test no other way to them.
weathers: list[Weather] = []


class FragileWriter:
    """Refuses spans of one name for their content; else does what the weather says."""

    at_once = 1

    def __init__(self, writer: Writer, weather: Weather) -> None:
        self._writer = writer
        self._weather = weather

    def write(self, batch: Batch) -> None:
        """See Writer."""
        self._weather.open_gate.wait()
        if self._weather.down:
            raise Unavailable("the store is down")
        if any(REFUSED_NAME in row.name for row in batch.as_rows().spans):
            raise Rejected("the store hates a name")
        self._writer.write(batch)
        self._weather.writes += 1
        self._weather.columns += sum(map(len, batch.span_columns))
        if self._weather.lost_answers:
            self._weather.lost_answers -= 1
            raise Unavailable("the answer was lost")

    def fold(self, now_ns: int) -> float | None:
        """See Writer."""
        if self._weather.down:
            raise Unavailable("the store is down")
        return self._writer.fold(now_ns)

    def expire(self, now_ns: int) -> Expired | None:
        """See Writer."""
        return self._writer.expire(now_ns)


class FragileReader:
    """Answers like the reader behind it, in good weather."""

    def __init__(self, reader: Reader, weather: Weather) -> None:
        self._reader = reader
        self._weather = weather

    def __getattr__(self, question: str) -> Any:
        """Pass every question on."""

        async def ask(*words: Any, **more: Any) -> Any:
            if self._weather.down:
                raise Unavailable("the store is down")
            return await getattr(self._reader, question)(*words, **more)

        return ask


class FragileStorage:
    """See Storage."""

    name = "fragile"
    shared = False

    def __init__(self, settings: Settings) -> None:
        self._behind = SqliteStorage("memory:", settings.fold_every_ms)
        self._weather = Weather()
        weathers.append(self._weather)

    @property
    def writer(self) -> Writer:
        """See Storage."""
        return FragileWriter(self._behind.writer, self._weather)

    @property
    def reader(self) -> Reader:
        """See Storage."""
        return cast(Reader, FragileReader(self._behind.reader, self._weather))

    def open(self) -> None:
        """See Storage."""
        self._behind.open()

    def migrate(self) -> tuple[str, str]:
        """See Storage."""
        return self._behind.migrate()

    def listen(self, hint: Callable[[], None]) -> None:
        """See Storage."""
        self._behind.listen(hint)

    def close(self) -> None:
        """See Storage."""
        self._behind.close()


@hookimpl
def make_storage(settings: Settings) -> Storage | None:
    """Answer for `fragile:` addresses."""
    return FragileStorage(settings) if settings.storage_url() == SCHEME else None


def install_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, target: str) -> None:
    """Make a distribution with one entry point, as an installed package has it. target: a module."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[flowspan]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(folder)


@contextmanager
def fragile_server(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[tuple[Server, Weather]]:
    """Serve on a fragile store; the weather is good."""
    install_plugin(folder, monkeypatch, "fragile", "tests.fragile_storage")
    with running(database_url=SCHEME, **settings) as server:
        weather = weathers.pop()
        yield server, weather
        weather.open_gate.set()

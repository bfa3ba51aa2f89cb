"""Parcels for a spool, and a clock for its leases."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_bridge.parcels import LOGS_PATH, Parcel
from otel_bridge.spool import Spool
from otel_bridge.worth import Worth

URL = "http://flowspan:8000"
ROOM = 1 << 20


class Clock:
    """Says the time that a test sets, s."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "spool.db"


def parcel(text: str, worth: Worth = Worth.END, records: int = 1) -> Parcel:
    return Parcel(LOGS_PATH, text.encode(), worth, records)


def claimed(spool: Spool) -> list[str]:
    """Return what a spool holds for whoever sends next, by taking it all."""
    found = []
    while (one := spool.claim()) is not None:
        spool.done(one.place)
        found.append(one.body.decode())
    return found

"""`./run bench [name]`: the figures of the design's budgets, each as a ratio from one run; crash, outage and soak are the long tests."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench.bridge import measure_bridge
from tests.bench.crash import crash
from tests.bench.days import measure_days
from tests.bench.ingest import measure_ingest
from tests.bench.live import measure_live, measure_start
from tests.bench.outage import outage
from tests.bench.pages import SPANS, measure_pages
from tests.bench.places import STORAGES
from tests.bench.soak import soak
from tests.bench.table import Figure, say, show

FEW_ROUNDS = 10
ALL_ROUNDS = 200
REPLICAS = 3
MINUTES = 10.0

Measure = Callable[[Path, str], list[Figure]]


def main() -> int:
    """Run what was asked for; return 1 if something acknowledged was lost or doubled."""
    asked = _read_arguments()
    measurements: dict[str, tuple[str, Measure]] = {
        "ingest": ("Ingest", partial(measure_ingest, profile=asked.profile)),
        "start": ("Cold start", measure_start),
        "live": ("From event to socket", measure_live),
        "pages": ("Large runs", partial(measure_pages, spans=asked.spans)),
        "days": ("A new day", measure_days),
        "bridge": ("The bridge", measure_bridge),
    }
    is_right = True
    for storage in STORAGES if asked.storage == "both" else (asked.storage,):
        for name, (title, measure) in measurements.items():
            if asked.name in (name, "all"):
                _measure(f"{title}, {storage}", measure, storage)
        if asked.name in ("crash", "all"):
            is_right &= _crash(asked, storage)
        if asked.name == "soak":
            is_right &= _soak(asked, storage)
        if asked.name == "outage" and storage == "postgres":
            is_right &= _outage(asked)
    return 0 if is_right else 1


def _measure(title: str, measure: Measure, storage: str) -> None:
    with _folder() as folder:
        figures = measure(folder, storage)
    if figures:
        show(title, figures)


def _crash(asked: argparse.Namespace, storage: str) -> bool:
    rounds = asked.rounds or (FEW_ROUNDS if asked.name == "all" else ALL_ROUNDS)
    say(f"kill -9, {storage}, {rounds} rounds, seed {asked.seed}")
    with _folder() as folder:
        outcome = crash(folder, rounds, asked.seed, say, storage, asked.replicas)
    say(f"  {outcome}")
    return outcome.is_right


def _soak(asked: argparse.Namespace, storage: str) -> bool:
    say(f"soak, {storage}, {asked.minutes} minutes, seed {asked.seed}")
    with _folder() as folder:
        return soak(folder, asked.minutes, asked.seed, storage, asked.replicas)


def _outage(asked: argparse.Namespace) -> bool:
    say(f"Postgres away, {asked.minutes:g} minutes each way, seed {asked.seed}")
    with _folder() as folder:
        return outage(folder, asked.minutes, asked.seed)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="flowspan-bench-") as folder:
        yield Path(folder)


def _read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    names = ["all", "ingest", "start", "live", "pages", "days", "bridge", "crash", "outage", "soak"]
    parser.add_argument("name", nargs="?", default="all", choices=names, help="all: everything but outage and soak, the crash rounds few")
    parser.add_argument("--storage", default="both", choices=["both", *STORAGES])
    parser.add_argument("--profile", action="store_true", help="of ingest: where the server's CPU time goes")
    parser.add_argument("--spans", type=int, default=SPANS, help="of pages: how many a trace has")
    parser.add_argument("--rounds", type=int, help=f"of crash; {ALL_ROUNDS} unless all benches run")
    parser.add_argument("--replicas", type=int, default=REPLICAS, help="of crash and soak, on Postgres")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of soak and outage")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the long tests: the same seed kills at the same times")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

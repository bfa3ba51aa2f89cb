"""`./run bench [name]`: crash, ingest, start, live; without a name all of them, the crash rounds few."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.crash import crash
from tests.bench.ingest import measure_ingest
from tests.bench.live import measure_live, measure_start
from tests.bench.table import Figure, say, show

FEW_ROUNDS = 10
ALL_ROUNDS = 200

MEASUREMENTS: dict[str, tuple[str, Callable[[Path], list[Figure]]]] = {
    "ingest": ("Ingest into SQLite", measure_ingest),
    "start": ("Cold start", measure_start),
    "live": ("From event to browser", measure_live),
}


def main() -> int:
    """Run what was asked for; return 1 if something acknowledged was lost or doubled."""
    asked = _read_arguments()
    for name, (title, measure) in MEASUREMENTS.items():
        if asked.name in (name, "all"):
            with tempfile.TemporaryDirectory(prefix="flowspan-bench-") as folder:
                show(title, measure(Path(folder)))
    if asked.name in ("crash", "all"):
        return _crash(asked.rounds or (FEW_ROUNDS if asked.name == "all" else ALL_ROUNDS), asked.seed)
    return 0


def _crash(rounds: int, seed: int) -> int:
    say(f"kill -9, {rounds} rounds, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="flowspan-crash-") as folder:
        outcome = crash(Path(folder), rounds, seed, say)
    say(f"  {outcome}")
    return 0 if outcome.is_right else 1


def _read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("name", nargs="?", default="all", choices=["all", "crash", *MEASUREMENTS])
    parser.add_argument("--rounds", type=int, help=f"of crash; {ALL_ROUNDS} unless all benches run")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of crash: the same seed kills at the same times")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

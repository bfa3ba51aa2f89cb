"""Replicas on one Postgres under load: a few rounds of kill -9 of a replica, of Postgres, of both. The long count is `./run bench crash`."""

from __future__ import annotations

from pathlib import Path

from tests.bench.crash import crash

SEED = 3


# R010 R011 R045 R048 R089 R093 R096
def test_what_was_acknowledged_is_stored_once_folded_and_told_whatever_was_killed(tmp_path: Path) -> None:
    outcome = crash(tmp_path, rounds=2, seed=SEED, storage="postgres", replicas=3)

    assert outcome.is_right, str(outcome)
    assert outcome.account.acknowledged > 0
    assert outcome.told > 0

"""200 means committed: a few rounds of kill -9 under load. The long count is `./run bench crash`."""

from __future__ import annotations

from pathlib import Path

from tests.bench.crash import crash

SEED = 2


# R010 R011 R045 R048
def test_what_was_acknowledged_before_a_kill_is_stored_once_and_folded(tmp_path: Path) -> None:
    outcome = crash(tmp_path, rounds=3, seed=SEED)

    assert outcome.is_right, str(outcome)
    assert outcome.account.acknowledged > 0
    assert {200} == outcome.statuses

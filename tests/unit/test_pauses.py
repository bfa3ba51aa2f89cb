"""How long a run that was folded waits for its next fold, by a clock of the test's own."""

from __future__ import annotations

from storage_plugins.sql.rounds import Pause


def test_a_run_that_gets_facts_without_end_is_folded_when_its_time_has_come() -> None:
    pause = Pause(due_at=9.0, quiet_s=1.0)

    waits = []
    for seq in range(1, 9):
        pause.tell(seq, float(seq))
        waits.append(pause.wait_s(float(seq)))

    assert [1.0] * 8 == waits
    assert 0.0 == pause.wait_s(9.0)


def test_a_run_that_gets_no_more_facts_is_folded_soon() -> None:
    pause = Pause(due_at=90.0, quiet_s=2.0)

    pause.tell(5, 10.0)
    pause.tell(5, 11.0)

    assert [1.0, 0.0] == [pause.wait_s(11.0), pause.wait_s(12.0)]

"""How long a run that was folded waits for its next fold, by a clock of the test's own."""

from __future__ import annotations

from storage_plugins.sql.rounds import FAILED_REST_S, LARGE_REST, LONGEST_FAILED_REST_S, Pause


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


def test_a_large_run_that_cannot_be_folded_is_tried_ever_more_seldom() -> None:
    pause = None
    rests = []
    for _ in range(8):
        pause = Pause.after_failure(took_s=0.1, before=pause, now=100.0)
        rests.append(pause.wait_s(100.0))

    assert [FAILED_REST_S, 2 * FAILED_REST_S, 4 * FAILED_REST_S] == rests[:3]
    assert LONGEST_FAILED_REST_S == rests[-1]


def test_a_large_run_that_cannot_be_folded_costs_the_others_a_tenth_of_the_time() -> None:
    first = Pause.after_failure(took_s=300.0, before=None, now=0.0)

    assert LARGE_REST * 300.0 == first.wait_s(0.0)
    assert LARGE_REST * 300.0 == Pause.after_failure(took_s=300.0, before=first, now=0.0).wait_s(0.0)


def test_facts_do_not_bring_a_run_that_cannot_be_folded_forward() -> None:
    pause = Pause.after_failure(took_s=0.0, before=None, now=0.0)

    pause.tell(5, 1.0)

    assert FAILED_REST_S - 1.0 == pause.wait_s(1.0)

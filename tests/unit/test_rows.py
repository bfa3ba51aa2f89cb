"""Facts become rows: keys, days, digests, and what makes one fact greater than another."""

from __future__ import annotations

from typing import Any

import pytest

from collector.model import ODD_DAY, LogRow, MomentRow, SpanRow
from collector.rows import DAY_NS, RowMaker, describe_exception
from otel_bridge import conventions as c
from otel_bridge.facts import (
    RANK_OTLP,
    RANK_STAMPED,
    RANK_TIMED,
    ProcessBeat,
    Resource,
    Scope,
    SpanEvent,
    SpanLink,
)
from tests.builders import RECEIVED_NS, TRACE, at, event, moment, only_fact, only_row, span

TODAY = at(0) // DAY_NS


def log_row(ms: int | None = None, received_ns: int = RECEIVED_NS, **fields: Any) -> LogRow:
    row = only_row(only_fact(event("task_log", ms, **{"message": "hi", **fields})), received_ns)
    assert isinstance(row, LogRow)
    return row


# --- keys and weights ------------------------------------------------------------------------------------------------------------------


# R010
def test_a_fact_delivered_again_is_the_same_row() -> None:
    for name in ("flow_started", "task_paused", "task_retry", "task_ok", "task_log"):
        fact = only_fact(event(name, 5, task="load", node="load:3", error="E()"))
        assert only_row(fact) == only_row(fact)


# R010
def test_a_fact_received_later_differs_in_the_receipt_alone() -> None:
    fact = only_fact(event("task_ok", 5, task="load"))

    assert only_row(fact)._replace(received_ns=0) == only_row(fact, RECEIVED_NS + 1)._replace(received_ns=0)


# R010
def test_of_two_events_that_end_a_span_the_earlier_weighs_more() -> None:
    first, second = only_row(only_fact(event("task_ok", 5, task="t"))), only_row(only_fact(event("task_err", 6, task="t")))

    assert (first.rank, first.weight) > (second.rank, second.weight)
    assert first[:4] == second[:4]


# R023
def test_of_two_copies_of_a_finished_span_the_longer_weighs_more() -> None:
    short, long = only_row(span("a", end=5)), only_row(span("a", end=9))

    assert (RANK_OTLP, short.weight) == (short.rank, at(5))
    assert (long.rank, long.weight) > (short.rank, short.weight)


# R023
def test_a_finished_span_outranks_a_timed_event_and_that_a_stamped_one() -> None:
    rows = [only_row(only_fact(event("task_ok", task="t"))), only_row(only_fact(event("task_ok", 5, task="t"))), only_row(span("a"))]

    assert [RANK_STAMPED, RANK_TIMED, RANK_OTLP] == [row.rank for row in rows]


def test_equal_weight_is_decided_by_content() -> None:
    assert only_row(span("a", status_code=1)).digest != only_row(span("a", status_code=2)).digest


def test_columns_of_a_span_hold_what_was_sent() -> None:
    row = only_row(span("a", "b", start=1, end=2, trace_state="k=v", flags=257, kind=3, dropped_events=1, attributes={"x": 1.0}))

    assert isinstance(row, SpanRow)
    assert (TRACE, at(1), at(2), "k=v", 257, 3, 1) == (
        row.trace_id,
        row.start_ns,
        row.end_ns,
        row.trace_state,
        row.flags,
        row.kind,
        row.dropped_events,
    )
    assert '{"x":1.0}' == row.attributes


# --- at --------------------------------------------------------------------------------------------------------------------------------


def test_what_happens_once_has_one_place_whatever_its_time() -> None:
    rows = [only_row(moment(kind, "a", ms=ms)) for kind in c.ONCE_KINDS for ms in (1, 2)]

    assert {0} == {row.at for row in rows}


def test_repeats_of_a_pause_are_told_apart_by_time() -> None:
    first, again, second = (only_row(moment(c.PAUSED, "a", ms=ms)) for ms in (1, 1, 2))

    assert first.at == again.at == at(1)
    assert at(2) == second.at


# R010
def test_a_pause_without_a_time_is_known_again_by_its_event_id() -> None:
    first, again, other = (only_fact(event("task_paused", task="t", event_id=name)) for name in ("e1", "e1", "e2"))

    keys = [only_row(fact, RECEIVED_NS + received)[:6] for received, fact in enumerate((first, again, other))]

    assert keys[0] == keys[1] != keys[2]
    assert ODD_DAY == keys[0][3]


# R072
def test_retries_of_two_tasks_in_one_tick_of_the_clock_are_two_moments_of_the_run() -> None:
    first, again, other = (only_fact(event("task_retry", 5, task=task, attempt=1)) for task in ("a", "a", "b"))

    assert only_row(first)[:6] == only_row(again)[:6]
    assert only_row(first)[:6] != only_row(other)[:6]
    assert 0 <= only_row(first).at < 2**63


# --- days ------------------------------------------------------------------------------------------------------------------------------


def test_a_row_lies_on_the_day_its_span_started() -> None:
    assert TODAY == only_row(span("a", start=0, end=3 * 86_400_000)).day
    assert TODAY == only_row(only_fact(event("task_ok", 5, task="t"))).day
    assert TODAY == only_row(moment(c.BEGUN, "a", ms=3 * 86_400_000, start_ns=at(0))).day


# R015
@pytest.mark.parametrize(("days", "is_odd"), [(3, True), (1, False), (-31, True), (-29, False)])
def test_a_start_of_a_broken_clock_or_long_gone_gets_no_day_of_its_own(days: int, is_odd: bool) -> None:
    time_ns = RECEIVED_NS + days * DAY_NS

    for fact in (span("a", start=(time_ns - at(0)) // 10**6), only_fact(event("task_log", message="hi", ts=time_ns))):
        assert is_odd == (only_row(fact, retention_days=30).day == ODD_DAY)


def test_without_a_retention_old_starts_keep_their_day() -> None:
    old = RECEIVED_NS - 400 * DAY_NS

    assert old // DAY_NS == only_row(only_fact(event("task_log", message="hi", ts=old))).day


# --- logs ------------------------------------------------------------------------------------------------------------------------------


# R010
def test_identical_lines_of_one_request_are_twins() -> None:
    line = only_fact(event("task_log", 5, message="again"))

    rows = RowMaker(RECEIVED_NS).add_all([line, line, line]).logs

    assert [0, 1, 2] == [row.twin for row in rows]
    assert 1 == len({row.digest for row in rows})


# R010
def test_lines_with_one_event_id_are_one_line() -> None:
    line = only_fact(event("task_log", 5, message="again", event_id="e1"))

    rows = RowMaker(RECEIVED_NS).add_all([line, line]).logs

    assert rows[0] == rows[1]


# R010
def test_a_line_without_a_time_is_known_again_by_its_event_id() -> None:
    first, again = log_row(event_id="e1"), log_row(event_id="e1", received_ns=RECEIVED_NS + DAY_NS)

    assert (1, ODD_DAY) == (first.stamped, first.day)
    assert (first.trace_id, first.digest, first.day) == (again.trace_id, again.digest, again.day)


def test_a_line_keeps_its_own_time_and_the_receipt_apart() -> None:
    timed, stamped = log_row(5), log_row()

    assert (at(5), at(5), 0) == (timed.time_ns, timed.own_time_ns, timed.stamped)
    assert (RECEIVED_NS, 0, 0) == (stamped.time_ns, stamped.own_time_ns, stamped.stamped)


def test_lines_that_differ_in_anything_are_not_twins() -> None:
    lines: list[dict[str, Any]] = [{}, {"message": "ho"}, {"level": "ERROR"}, {"task": "t"}, {"payload": 1}]

    assert len(lines) == len({log_row(5, **line).digest for line in lines})


# --- catalogue rows and beats ----------------------------------------------------------------------------------------------------------


# R064
def test_equal_resources_and_scopes_are_one_row() -> None:
    resources = [Resource({"service.name": "etl"}), Resource({"service.name": "etl"}), Resource({"service.name": "web"})]

    batch = RowMaker(RECEIVED_NS).add_all(span("a", resource=one, scope=Scope("lib", "1")) for one in resources)

    assert (2, 1) == (len(batch.resources), len(batch.scopes))
    assert batch.spans[0].resource_id == batch.spans[1].resource_id != batch.spans[2].resource_id


# R064
def test_events_and_links_keep_their_attributes_and_ids() -> None:
    row = only_row(span("a", events=[SpanEvent(at(1), "e\0", {"x": b"1"}, 2)], links=[SpanLink(b"\1" * 16, b"\2" * 8, "s", {"y": 1}, 3, 1)]))

    assert f'[[{at(1)},"e\ufffd",{{"x":{{"$bytes":"MQ=="}}}},2]]' == row.events
    assert f'[["{"01" * 16}","{"02" * 8}","s",{{"y":1}},3,1]]' == row.links


def test_a_process_is_heard_when_it_beats_and_when_a_moment_names_it() -> None:
    batch = RowMaker(RECEIVED_NS).add_all(
        [ProcessBeat("p1", at(1), 5000), ProcessBeat("p1", at(2), exited=True), moment(c.BEGUN, "a", process="p2")]
    )

    assert [("p1", 5000, 0), ("p1", 0, RECEIVED_NS), ("p2", 0, 0)] == [(row.process, row.interval_ms, row.exited_ns) for row in batch.processes]
    assert {RECEIVED_NS} == {row.heard_ns for row in batch.processes}


# --- errors ----------------------------------------------------------------------------------------------------------------------------


# R020
def test_the_last_exception_is_a_spans_error() -> None:
    exceptions = [SpanEvent(at(1), "exception", {c.EXCEPTION_TYPE: kind, c.EXCEPTION_MESSAGE: "bad"}) for kind in ("KeyError", "OSError")]

    assert "OSError: bad" == only_row(span("a", events=[*exceptions, SpanEvent(at(2), "retry")], status_code=2)).error


# R020
def test_without_an_exception_a_failed_spans_status_or_error_type_is_its_error() -> None:
    assert "boom" == only_row(span("a", status_code=c.STATUS_ERROR, status_message="boom")).error
    assert "500" == only_row(span("a", status_code=c.STATUS_ERROR, attributes={c.ERROR_TYPE: 500})).error
    assert "" == only_row(span("a", status_code=c.STATUS_OK, status_message="fine")).error


@pytest.mark.parametrize(
    ("kind", "message", "text"),
    [
        ("E", "bad", "E: bad"),
        ("E", "", "E"),
        ("", "bad", "bad"),
        ("E", "E('bad')", "E('bad')"),
        (None, None, ""),
        (7, ["x"], "7: ['x']"),
    ],
)
def test_an_exception_is_described_once(kind: Any, message: Any, text: str) -> None:
    assert text == describe_exception({c.EXCEPTION_TYPE: kind, c.EXCEPTION_MESSAGE: message})


def test_a_moment_row_names_its_run_and_node() -> None:
    row = only_row(only_fact(event("task_started", 5, task="load", node="load:3", flow="etl")))

    assert isinstance(row, MomentRow)
    assert ("flowspan", "r1", 0, "etl", "load", "load:3", 0) == (
        row.source,
        row.run_id,
        row.generation,
        row.flow_key,
        row.task_key,
        row.node,
        row.attempt,
    )

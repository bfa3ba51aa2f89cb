"""Facts for tests, and the simplest store there is: a dict that keeps the greatest fact of each key."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.batch import Batch
from collector.fold import Facts, fold
from collector.lineage import Claim
from collector.model import FoldMoment, FoldSpan, MomentRow, SpanRow
from collector.picture import RunPicture, TaskRun
from collector.rows import RowMaker
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP, RANK_TIMED, Fact, SpanEnd, SpanMoment, Work
from otel_bridge.identity import run_key
from otel_bridge.lifecycle import facts_of

Payload = Mapping[str, Any]
FoldRows = tuple[list[FoldSpan], list[FoldMoment]]

MS = 10**6
# 2026-11-18 11:46:40 UTC: every test's time is this and some milliseconds.
START_NS = 1_795_000_000 * 10**9
RECEIVED_NS = START_NS + 60_000 * MS

RECORDINGS = Path(__file__).parent / "recordings"


def at(ms: int) -> int:
    """Return the ns of this millisecond of the test."""
    return START_NS + ms * MS


# --- flow events -----------------------------------------------------------------------------------------------------------------------


def event(name: str, ms: int | None = None, **fields: Any) -> dict[str, Any]:
    """Make a flow event of run r1; without ms it carries no time."""
    timed = {} if ms is None else {"ts": at(ms)}
    return {"event": name, "run_id": "r1", **timed, **fields}


def only_fact(payload: Payload) -> Any:
    """Return the one fact an event becomes."""
    (fact,) = facts_of(payload, RECEIVED_NS)
    return fact


def recorded(case: str) -> list[dict[str, Any]]:
    """Return a recorded run's events in the order the engine sent them."""
    return [json.loads(line) for line in (RECORDINGS / f"{case}.jsonl").read_text(encoding="utf-8").splitlines()]


# --- spans -----------------------------------------------------------------------------------------------------------------------------

TRACE = bytes(range(16))


def span_id(name: str) -> bytes:
    """Return a steady span id for a short name."""
    return name.encode().rjust(8, b"\0")[-8:]


def work(role: str, node: str = "", *, run_id: str = "r1", attempt: int | None = None, source: str = c.DEFAULT_SOURCE) -> Work:
    """Make the Work of a span that names its run."""
    return Work(source, run_id, 0, run_key(source, run_id), "", "", "", node.partition(":")[0], node, attempt, role)


def span(name: str, parent: str = "", /, *, start: int = 0, end: int = 1, **columns: Any) -> SpanEnd:
    """Make a finished OTLP span. start, end: ms. Anything else is a column of SpanEnd."""
    given: dict[str, Any] = {"trace_id": TRACE, "name": name, "parent_span_id": span_id(parent) if parent else b"", **columns}
    return SpanEnd(span_id=span_id(name), start_ns=at(start), end_ns=at(end), rank=RANK_OTLP, **given)


def moment(kind: str, name: str, parent: str = "", /, *, ms: int = 0, **columns: Any) -> SpanMoment:
    """Make a moment of a span, with its own time."""
    given: dict[str, Any] = {
        "trace_id": TRACE,
        "name": name,
        "parent_span_id": span_id(parent) if parent else b"",
        "rank": RANK_TIMED,
        **columns,
    }
    return SpanMoment(span_id=span_id(name), kind=kind, time_ns=at(ms), **given)


# --- the task run load:1 of run r1 -----------------------------------------------------------------------------------------------------

RUN = work(c.ROLE_RUN)
LOAD = work(c.ROLE_TASK, "load:1", attempt=0)


def load(name: str, ms: int | None, **fields: Any) -> dict[str, Any]:
    """Make an event of the task run."""
    return event(f"task_{name}", ms, task="load", node="load:1", **fields)


def load_span(**columns: Any) -> SpanEnd:
    """Make its finished span, a child of the span `etl`."""
    return span("load", "etl", work=LOAD, **columns)


# --- the store -------------------------------------------------------------------------------------------------------------------------


@dataclass
class Store:
    """Keeps of each key the greatest fact, as collector.model says. beating_until_ns: what the fold is told of processes."""

    spans: dict[tuple[Any, ...], SpanRow] = field(default_factory=dict)
    moments: dict[tuple[Any, ...], MomentRow] = field(default_factory=dict)
    claims: set[Claim] = field(default_factory=set)
    beating_until_ns: dict[str, int] = field(default_factory=dict)

    def write(self, batch: Batch) -> None:
        """Take a batch over."""
        for row in batch.spans:
            kept = self.spans.setdefault(row[:4], row)
            if (row.rank, row.weight, row.digest) > (kept.rank, kept.weight, kept.digest):
                self.spans[row[:4]] = row
        for moment_row in batch.moments:
            known = self.moments.setdefault(moment_row[:6], moment_row)
            if (moment_row.rank, -moment_row.time_ns, moment_row.digest) > (known.rank, -known.time_ns, known.digest):
                self.moments[moment_row[:6]] = moment_row
        self.claims.update(Claim(one.trace_id, one.run_key, one.source, one.run_id, one.generation) for one in batch.touched())

    def take(self, facts: Iterable[Fact], received_ns: int = RECEIVED_NS, retention_days: int = 0) -> Store:
        """Write facts as one request."""
        self.write(RowMaker(received_ns, retention_days=retention_days).add_all(facts))
        return self

    def picture(self, key: bytes, now_ns: int = RECEIVED_NS) -> RunPicture:
        """Fold a run from what is known in its traces."""
        traces = {claim.trace_id for claim in self.claims if claim.run_key == key}
        spans, moments = self.fold_rows(traces)
        claims = [claim for claim in self.claims if claim.trace_id in traces]
        return fold(key, Facts(spans, moments, claims, self.beating_until_ns), now_ns)

    def fold_rows(self, traces: Collection[bytes]) -> FoldRows:
        """Return what the fold reads of these traces."""
        return _columns(
            [row for row in self.spans.values() if row.trace_id in traces],
            [row for row in self.moments.values() if row.trace_id in traces],
        )


def fold_rows(facts: Iterable[Fact]) -> FoldRows:
    """Return what the fold would read of these facts if nothing were chosen among them before."""
    batch = RowMaker(RECEIVED_NS).add_all(facts)
    return _columns(batch.spans, batch.moments)


def only_row(fact: Fact, received_ns: int = RECEIVED_NS, retention_days: int = 0) -> Any:
    """Return the one row a span, moment or log line becomes."""
    batch = RowMaker(received_ns, retention_days=retention_days).add_all([fact])
    rows: list[Any] = [*batch.spans, *batch.moments, *batch.logs]
    (row,) = rows
    return row


def _columns(spans: Iterable[SpanRow], moments: Iterable[MomentRow]) -> FoldRows:
    return (
        [FoldSpan._make(getattr(row, name) for name in FoldSpan._fields) for row in spans],
        [FoldMoment._make(getattr(row, name) for name in FoldMoment._fields) for row in moments],
    )


R1 = run_key(c.DEFAULT_SOURCE, "r1")


def store_of(*payloads: Payload) -> Store:
    """Return a store that was sent these events in one request."""
    return Store().take(fact for payload in payloads for fact in facts_of(payload, RECEIVED_NS))


def picture_of(*payloads: Payload) -> RunPicture:
    """Return what is seen of run r1 after these events."""
    return store_of(*payloads).picture(R1)


def picture_of_facts(*facts: Fact, key: bytes = R1) -> RunPicture:
    """Return what is seen of a run after these facts."""
    return Store().take(facts).picture(key)


def task_of(picture: RunPicture, node: str) -> TaskRun:
    """Return the task run of a node."""
    return next(task for task in picture.tasks if task.node == node)


def states_of(picture: RunPicture) -> dict[str, str]:
    """Return node -> state."""
    return {task.node: task.status for task in picture.tasks}

"""What the tests of the contract ask a storage and do to it, one word each. Reads are run to their end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from collector.answers import FlowSummary, LogEntry, RunSummary, RunView
from collector.batch import Batch
from collector.picture import Run
from collector.questions import LogQuery, RunQuery
from collector.steady import SOURCE, at
from collector.storage import Storage
from otel_bridge.identity import run_key

Answer = TypeVar("Answer")

EVERY_RUN = RunQuery()
EVERY_LINE = LogQuery()


def wait_for(answer: Coroutine[Any, Any, Answer]) -> Answer:
    """Run one read to its end."""
    return asyncio.run(answer)


def is_refused(kinds: type[Exception] | tuple[type[Exception], ...], answer: Coroutine[Any, Any, Any]) -> bool:
    """Return whether a read raises one of these."""
    try:
        wait_for(answer)
    except kinds:
        return True
    return False


def find_view(storage: Storage, run_id: str) -> RunView | None:
    """Return the view of a steady run, None if it is not there."""
    return wait_for(storage.reader.view_run(run_key(SOURCE, run_id)))


def view_of(storage: Storage, run_id: str) -> RunView:
    """Return the view of a steady run that must be there."""
    view = find_view(storage, run_id)
    assert view is not None, f"the run {run_id} is not there"
    return view


def task_states(view: RunView) -> list[str]:
    """Return the states of the task runs, in their order."""
    return [task.status for task in view.tasks]


def everything_of(storage: Storage, run_id: str) -> tuple[Any, ...]:
    """Return a run's picture, lines and facts, without what says only when a copy came."""
    view = view_of(storage, run_id)
    facts = wait_for(storage.reader.read_trace(run_key(SOURCE, run_id)))
    spans = sorted(facts.spans, key=lambda row: (row.span_id, row.day))
    moments = sorted(facts.moments, key=lambda row: (row.span_id, row.day, row.kind, row.at))
    lines = [(line.id, line.message, line.node) for line in lines_of(storage, run_id)]
    return (view.run, view.tasks, spans, moments, facts.logs, lines)


def lines_of(storage: Storage, run_id: str, query: LogQuery = EVERY_LINE) -> list[LogEntry]:
    """Return one page of a steady run's lines."""
    return wait_for(storage.reader.read_logs(run_key(SOURCE, run_id), query)).items


def messages_of(storage: Storage, run_id: str, query: LogQuery = EVERY_LINE) -> list[str]:
    """Return the messages of one page of a steady run's lines."""
    return [entry.message for entry in lines_of(storage, run_id, query)]


def listed_runs(storage: Storage, query: RunQuery = EVERY_RUN) -> list[RunSummary]:
    """Return one page of runs."""
    return wait_for(storage.reader.list_runs(query)).items


def flow_of(storage: Storage, flow_key: str) -> FlowSummary:
    """Return a flow that must be in the catalogue."""
    flow = wait_for(storage.reader.find_flow(flow_key))
    assert flow is not None, f"the flow {flow_key} is not there"
    return flow


def fold_all(storage: Storage, now_ns: int = at(1000)) -> None:
    """Fold until nothing waits. A run folded a moment ago is due again a moment later."""
    pause = threading.Event()
    while (wait_s := storage.writer.fold(now_ns)) is not None:
        pause.wait(max(wait_s, 0.0))


def write_each(storage: Storage, batches: Iterable[Batch]) -> None:
    """Write batches one after the other."""
    for batch in batches:
        storage.writer.write(batch)


@contextmanager
def writing_at_once(storage: Storage, several: Sequence[Sequence[Batch]]) -> Iterator[list[threading.Thread]]:
    """Write each of several rows of batches in a thread of its own, while the body runs; wait for them at its end."""
    threads = [threading.Thread(target=write_each, args=(storage, batches)) for batches in several]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join()


def shown_in_lists(run: Run) -> Run:
    """Return a run as far as a list shows it: the flow's own words are left out."""
    return Run(
        run_key=run.run_key,
        source=run.source,
        run_id=run.run_id,
        generation=run.generation,
        kind=run.kind,
        status=run.status,
        flow_key=run.flow_key,
        flow_name=run.flow_name,
        started_ns=run.started_ns,
        finished_ns=run.finished_ns,
        trace_ids=list(run.trace_ids),
        params=run.params,
        metadata=run.metadata,
        tags=list(run.tags),
        error=run.error,
        tasks_declared=run.tasks_declared,
        counts=dict(run.counts),
        hidden=run.hidden,
    )

"""What the tables say of a run and of the catalogue: facts gathered for collector.fold, and the cache of what it made. Plain functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from collector.answers import FlowSummary, Heard, RunSummary
from collector.fold import Facts, fold
from collector.model import FoldMoment, FoldSpan
from collector.picture import KIND_RUN, Run, RunPicture
from collector.questions import RunRef
from flowspan_toy.pages import Key, cursor_of
from flowspan_toy.tables import Folded, Tables, Trace
from otel_bridge.identity import digest


def fold_run(tables: Tables, run_key: bytes, now_ns: int) -> RunPicture | None:
    """Return a run folded from all facts in its traces, None if nothing names it."""
    traces = traces_of(tables, run_key)
    if not traces:
        return None
    return fold(run_key, _facts_of(tables, traces), now_ns)


def traces_of(tables: Tables, run_key: bytes) -> list[Trace]:
    """Return the traces a run has facts in."""
    return [tables.traces[trace_id] for trace_id in {claim.trace_id for claim in tables.runs.get(run_key, ())}]


def _facts_of(tables: Tables, traces: list[Trace]) -> Facts:
    spans = [kept.row for trace in traces for kept in trace.spans.values()]
    moments = [kept.row for trace in traces for kept in trace.moments.values()]
    return Facts(
        spans=[FoldSpan(**{name: getattr(row, name) for name in FoldSpan._fields}) for row in spans],
        moments=[FoldMoment(**{name: getattr(row, name) for name in FoldMoment._fields}) for row in moments],
        claims=[claim for trace in traces for claim in trace.claims],
        beating_until_ns=_beating_until(tables, {row.process for row in moments}),
        first_ns=min((kept.row.time_ns for trace in traces for kept in trace.logs.values()), default=0),
    )


def _beating_until(tables: Tables, processes: Iterable[str]) -> dict[str, int]:
    """See collector.storage.Heard: late with its third beat a process is gone."""
    known = [tables.processes[process] for process in processes if process in tables.processes]
    return {
        row.process: 0 if row.exited_ns >= row.heard_ns else row.heard_ns + 2 * row.interval_ms * 10**6
        for row in known
        if row.interval_ms or row.exited_ns
    }


def version_of(tables: Tables, run_key: bytes) -> int:
    """Return the number of the last write into a run's traces."""
    return max(trace.version for trace in traces_of(tables, run_key))


def heard_of(tables: Tables, run: Run, processes: Iterable[str]) -> Heard:
    """Return when anything of a run last came, and by when each of these processes must be heard again."""
    return Heard(max(trace.heard_ns for trace in traces_of(tables, run.run_key)), _beating_until(tables, processes))


# --- the cache -------------------------------------------------------------------------------------------------------------------------


def fold_marks(tables: Tables, now_ns: int) -> None:
    """Fold every run that got facts, and those whose state time alone may have changed."""
    late = {run_key for run_key, folded in tables.folded.items() if 0 < folded.picture.run.recheck_ns <= now_ns}
    tables.version += 1
    for run_key in tables.marks | late:
        picture = fold_run(tables, run_key, now_ns)
        if picture is not None:
            tables.folded[run_key] = Folded(picture, version_of(tables, run_key), tables.version)
    tables.marks.clear()


def summaries(tables: Tables) -> list[RunSummary]:
    """Return every run that may be listed, in any order."""
    return summaries_since(tables, 0)


def summaries_since(tables: Tables, number: int) -> list[RunSummary]:
    """Return those that were folded after this number, in any order."""
    return [_summary(tables, one) for one in tables.folded.values() if one.number > number and not one.picture.run.hidden]


def gone_since(tables: Tables, number: int) -> list[RunRef]:
    """Return the runs that were folded after this number and are not listed."""
    runs = [one.picture.run for one in tables.folded.values() if one.number > number and one.picture.run.hidden]
    return [RunRef(run.run_id, run.source, run.generation) for run in runs]


def sort_ns(run: Run) -> int:
    """Return when a run began, or was first heard of."""
    return run.started_ns or run.first_ns


def place_of(run: Run) -> Key:
    """Return where a run stands in the lists."""
    return (sort_ns(run), run.run_key.hex())


def _summary(tables: Tables, folded: Folded) -> RunSummary:
    run = folded.picture.run
    heard = heard_of(tables, run, run.processes)
    return RunSummary(run, folded.version, heard, flow_id(tables, run.flow_key), cursor_of(place_of(run)))


# --- the catalogue ---------------------------------------------------------------------------------------------------------------------


def flows(tables: Tables) -> list[FlowSummary]:
    """Return every flow that a named run belongs to, in any order."""
    keys = {folded.picture.run.flow_key for folded in tables.folded.values() if folded.picture.run.kind == KIND_RUN}
    return [_flow(tables, flow_key) for flow_key in keys - {""}]


def flow_id(tables: Tables, flow_key: str) -> str:
    """Return a flow's id: the sender's if its newest run gave one, else computed; empty for what is no flow."""
    runs = _runs_of(tables, flow_key)
    if not runs:
        return ""
    return runs[-1].picture.run.flow_id or digest("toy-flow", flow_key).hex()[:32]


def task_ids(tables: Tables, flow_key: str) -> dict[str, str]:
    """Return the ids of a flow's tasks by task_key."""
    keys = {task.task_key for folded in _runs_of(tables, flow_key) for task in folded.picture.tasks}
    return {task_key: digest("toy-task", flow_key, task_key).hex()[:32] for task_key in keys}


def _runs_of(tables: Tables, flow_key: str) -> list[Folded]:
    """Return the named runs of a flow, the newest last."""
    found = [folded for folded in tables.folded.values() if folded.picture.run.flow_key == flow_key and folded.picture.run.kind == KIND_RUN]
    return sorted(found, key=lambda folded: (sort_ns(folded.picture.run), folded.picture.run.run_key)) if flow_key else []


def _flow(tables: Tables, flow_key: str) -> FlowSummary:
    runs = _runs_of(tables, flow_key)
    newest = runs[-1].picture.run
    return FlowSummary(
        id=flow_id(tables, flow_key),
        flow_key=flow_key,
        name=newest.flow_name or flow_key,
        description=newest.description,
        tags=newest.tags,
        created_ns=sort_ns(runs[0].picture.run),
        updated_ns=sort_ns(newest),
        run_counts=dict(Counter(folded.picture.run.status for folded in runs)),
        latest=_summary(tables, runs[-1]),
    )

"""The facts of a run become what people see of it: `fold`. Pure; no order of arrival, no duplicate changes its answer.

The steps: greatest facts (winners.py), whose run each span is (lineage.py), task runs (task_runs.py, tries.py), and here the run's own
state, design section 3, first match wins. What a storage that knows a large run better than span by span needs of them is public.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from collector.lineage import Claim, trace_lineage
from collector.model import FoldMoment, FoldSpan
from collector.picture import (
    CANCELLED,
    FAILED,
    KIND_RUN,
    KIND_TRACE,
    PAUSED,
    PENDING,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    TERMINAL,
    Run,
    RunPicture,
    first_failed,
    place_of,
)
from collector.task_runs import fold_tasks, settle_tasks
from collector.tries import retries_of
from collector.winners import Seen, are_paused, greatest_facts, stated_key
from collector.words import (
    first_number,
    first_text,
    greatest_end,
    merged_attributes,
    sequence_of,
    stated_state,
    structure_of,
    text_of,
    whole_number,
)
from otel_bridge import conventions as c

# A trace that was left open is looked at again after it was silent for twice as long, from a second to a day: 17 folds in all.
LEAST_RECHECK_NS = 1_000_000_000
GONE_NS = 86_400_000_000_000


@dataclass(slots=True)
class Facts:
    """Everything known in the traces of one run.

    claims: the runs that have facts in these traces. beating_until_ns: process -> when its silence will mean that it is gone.
    first_ns: the first time anything about the run was heard of, for a run of which only a log line is known.
    """

    spans: Sequence[FoldSpan]
    moments: Sequence[FoldMoment]
    claims: Sequence[Claim]
    beating_until_ns: Mapping[str, int] = field(default_factory=dict)
    first_ns: int = 0


@dataclass(slots=True)
class Signs:
    """What the spans of a run say together, whichever of them are its tasks. A storage may gather it without folding every span.

    state: RUNNING if any began or ended, else QUEUED if any waits, else PENDING. first_ns: when anything was first known of any of them.
    first_sign_ns: when the first began or ended, as far as anybody can tell. flows: their (flow_key, flow_name), in order of first_ns.
    days: those their facts lie on, none if there is no span. processes: those that have open spans.
    """

    state: str
    first_ns: int
    first_sign_ns: int
    flows: Iterable[tuple[str, str]]
    days: Collection[int]
    processes: Collection[str]


def fold(run_key: bytes, facts: Facts, now_ns: int) -> RunPicture:
    """Return the picture of one run from all facts in its traces.

    run_key: of a named run, or a trace id for the provisional run of a plain trace; facts.claims must hold a claim of it.
    now_ns decides one thing only: whether a plain trace with an ended root and open spans still runs (their process beats) or is over;
    run.recheck_ns says when to ask again.
    """
    lineage = trace_lineage(run_key, greatest_facts(facts.spans, facts.moments), facts.claims)
    signs = signs_of(lineage.members)
    if lineage.named or lineage.own_traces:  # else not even a line is its own
        signs.first_ns = signs.first_ns or facts.first_ns
    run = describe_run(run_key, facts.claims, lineage.run_spans, signs)
    tasks = fold_tasks(lineage.tasks, retries_of(lineage.members))
    failed = any(task.status == FAILED for task in tasks)
    settle_run(run, lineage.run_spans, facts.beating_until_ns, now_ns, failed=failed)
    settle_tasks(run, tasks)
    tasks.sort(key=place_of)
    run.counts = dict(Counter([task.status for task in tasks]))
    broken = first_failed(tasks)
    run.error = "" if run.status == SUCCEEDED else run.error or (broken.error if broken else "")
    return RunPicture(run, tasks, lineage.owners, lineage.own_traces)


# --- the run ---------------------------------------------------------------------------------------------------------------------------


def signs_of(members: Sequence[Seen]) -> Signs:
    """Return what the spans of a run say together. members: by first_ns."""
    worked = [seen for seen in members if seen.end or seen.begun]
    state = RUNNING if worked else QUEUED if any(seen.queued for seen in members) else PENDING
    return Signs(
        state=state,
        first_ns=first_number(seen.first_ns for seen in members),
        first_sign_ns=min([seen.started_ns or seen.first_ns for seen in worked], default=0),
        flows=dict.fromkeys((seen.work.flow_key, seen.work.flow_name) for seen in members),
        days={day for seen in members for day in seen.days},
        processes={seen.process for seen in members if seen.process and seen.is_open},
    )


def describe_run(run_key: bytes, claims: Iterable[Claim], run_spans: Sequence[Seen], signs: Signs) -> Run:
    """Return a run as what its own spans and all its spans together say, before its state is known. run_spans: by first_ns."""
    named = {claim.run_key for claim in claims if claim.source != c.TRACE_SOURCE}
    own = [claim for claim in sorted(claims) if claim.run_key == run_key]
    claim = next((claim for claim in own if claim.source != c.TRACE_SOURCE), own[0])
    attributes = merged_attributes(run_spans)
    flows = [*((seen.work.flow_key, seen.work.flow_name) for seen in run_spans), *signs.flows]
    return Run(
        run_key=run_key,
        source=claim.source,
        run_id=claim.run_id,
        generation=claim.generation,
        kind=KIND_RUN if run_key in named else KIND_TRACE,
        status=signs.state,
        flow_key=stated_key(flows),
        flow_name=first_text(name for _, name in flows),
        flow_id=text_of(attributes.get(c.FLOW_ID)),
        description=text_of(attributes.get(c.FLOW_DESCRIPTION)),
        started_ns=first_number(seen.started_ns for seen in run_spans) or signs.first_sign_ns,
        first_ns=signs.first_ns,
        params=structure_of(attributes.get(c.PARAMS)),
        metadata=_metadata(attributes),
        tags=sequence_of(attributes.get(c.TAGS)),
        error=first_text(seen.end.error for seen in run_spans if seen.end),
        tasks_declared=whole_number(attributes.get(c.TASKS_DECLARED)),
        hidden=run_key not in named and not signs.days,
        trace_ids=sorted({claim.trace_id for claim in own}),
        first_day=min(signs.days, default=0),
        last_day=max(signs.days, default=0),
        processes=sorted(signs.processes),
    )


def settle_run(run: Run, run_spans: Sequence[Seen], beating_until_ns: Mapping[str, int], now_ns: int, *, failed: bool) -> None:
    """Set a described run's state and end. failed: whether any of its task runs has FAILED."""
    end = greatest_end(run_spans)
    cancelled = any(seen.cancelled for seen in run_spans)
    if cancelled:
        run.status = CANCELLED
    elif end is not None:
        run.status = stated_state(end) or (FAILED if failed and run.kind == KIND_RUN else SUCCEEDED)
    elif are_paused(run_spans):
        run.status = PAUSED
    if end is not None and run.status in TERMINAL and run.kind == KIND_TRACE and not cancelled:
        _keep_beating_trace_open(run, end.end_ns, beating_until_ns, now_ns)
    if run.status in TERMINAL:
        run.finished_ns = end.end_ns if end is not None else max(seen.cancelled_ns for seen in run_spans)


def _keep_beating_trace_open(run: Run, ended_ns: int, beating_until_ns: Mapping[str, int], now_ns: int) -> None:
    """Never infer completion from the root's end alone: an open span in a process that beats is work going on. A person's word stands.

    A process may be heard of for the first time, or again, after its trace was taken to be over; no fact of the trace tells of that.
    """
    heard_until = [beating_until_ns[process] for process in run.processes if process in beating_until_ns]
    silent_ns = now_ns - max([ended_ns, *heard_until])
    if any(until_ns > now_ns for until_ns in heard_until):
        run.status = RUNNING
        run.recheck_ns = max(heard_until)
    elif run.processes and silent_ns < GONE_NS:
        run.recheck_ns = now_ns + max(silent_ns, LEAST_RECHECK_NS)


_SURROUNDINGS = ("vcs.", "deployment.", "flowspan.parent.")


def _metadata(attributes: Mapping[str, Any]) -> Any:
    """Return the run's metadata: what the sender named so, beside the conventions for where it ran, from what code, started by what."""
    stated = structure_of(attributes.get(c.METADATA))
    known = {key: value for key, value in attributes.items() if key.startswith(_SURROUNDINGS)}
    if stated is not None and not isinstance(stated, dict):
        return {**known, "metadata": stated} if known else stated
    return {**known, **(stated or {})} or None

"""The toy's tables: plain dicts of rows by their keys, trace by trace. Of each key the greatest fact stays. Knows no question."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

from collector.batch import Batch, Touched
from collector.errors import Unavailable
from collector.lineage import Claim
from collector.model import LogRow, MomentRow, ProcessRow, ResourceRow, ScopeRow, SpanRow
from collector.picture import RunPicture

Row = TypeVar("Row", SpanRow, MomentRow, LogRow)


class Kept(NamedTuple, Generic[Row]):
    """A row and the number of the write it came with."""

    row: Row
    version: int


class News(NamedTuple):
    """This write said something about this run, in this trace."""

    version: int
    run_key: bytes
    trace_id: bytes


class Folded(NamedTuple):
    """A run as it was last folded, the version its facts had then, and the number of the fold."""

    picture: RunPicture
    version: int
    number: int


@dataclass(slots=True)
class Trace:
    """All facts with one trace id, and the runs that have facts in it. heard_ns: when the last of them came."""

    spans: dict[Hashable, Kept[SpanRow]] = field(default_factory=dict)
    moments: dict[Hashable, Kept[MomentRow]] = field(default_factory=dict)
    logs: dict[Hashable, Kept[LogRow]] = field(default_factory=dict)
    claims: set[Claim] = field(default_factory=set)
    version: int = 0
    heard_ns: int = 0


@dataclass(slots=True)
class Tables:
    """Everything the toy knows. version: the number of the last write or fold.

    runs: of each run its claims, in the order they came. news: in the order of writes. marks: runs to fold again.
    """

    version: int = 0
    traces: dict[bytes, Trace] = field(default_factory=dict)
    processes: dict[str, ProcessRow] = field(default_factory=dict)
    resources: dict[bytes, ResourceRow] = field(default_factory=dict)
    scopes: dict[bytes, ScopeRow] = field(default_factory=dict)
    runs: dict[bytes, dict[Claim, None]] = field(default_factory=dict)
    news: list[News] = field(default_factory=list)
    marks: set[bytes] = field(default_factory=set)
    folded: dict[bytes, Folded] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Take in a batch as one write. Nothing in here can fail half-way: rows are tuples of plain values."""
        self.version += 1
        self.resources |= batch.resources
        self.scopes |= batch.scopes
        for span in batch.spans:
            _keep(self._trace_of(span).spans, span[:4], Kept(span, self.version), _span_greatness)
        for moment in batch.moments:
            _keep(self._trace_of(moment).moments, moment[:6], Kept(moment, self.version), _moment_greatness)
        for log in batch.logs:
            _keep(self._trace_of(log).logs, _log_key(log), Kept(log, self.version), _first_stays)
        for process in batch.processes:
            self._hear(process)
        for touched in batch.touched():
            self._tell(touched)

    def _trace_of(self, row: SpanRow | MomentRow | LogRow) -> Trace:
        trace = self.traces.setdefault(row.trace_id, Trace())
        trace.heard_ns = max(trace.heard_ns, row.received_ns)
        return trace

    def _hear(self, new: ProcessRow) -> None:
        known = self.processes.get(new.process, new)
        self.processes[new.process] = new._replace(
            heard_ns=max(known.heard_ns, new.heard_ns),
            interval_ms=new.interval_ms or known.interval_ms,
            exited_ns=max(known.exited_ns, new.exited_ns),
        )

    def _tell(self, touched: Touched) -> None:
        """Note who has facts here. Every run that claims the trace may look different now."""
        claim = Claim(touched.trace_id, touched.run_key, touched.source, touched.run_id, touched.generation)
        trace = self.traces[touched.trace_id]
        trace.version = self.version
        trace.claims.add(claim)
        self.runs.setdefault(touched.run_key, {})[claim] = None
        self.news.append(News(self.version, touched.run_key, touched.trace_id))
        self.marks.update(one.run_key for one in trace.claims)


class Cabinet:
    """The tables behind a lock: for one at a time, so that each question sees one moment of them, and only while it is open."""

    def __init__(self) -> None:
        """Begin closed and empty."""
        self._tables = Tables()
        self._lock = Lock()
        self.is_open = False

    @contextmanager
    def held(self) -> Iterator[Tables]:
        """Hold the tables. Raises Unavailable while they are closed."""
        with self._lock:
            if not self.is_open:
                raise Unavailable("the toy storage is closed")
            yield self._tables


def _keep(rows: dict[Hashable, Kept[Row]], key: Hashable, new: Kept[Row], greatness: Callable[[Row], Any]) -> None:
    known = rows.get(key)
    if known is None or greatness(new.row) > greatness(known.row):
        rows[key] = new


def _span_greatness(row: SpanRow) -> tuple[int, int, bytes]:
    return (row.rank, row.weight, row.digest)


def _moment_greatness(row: MomentRow) -> tuple[int, int, bytes]:
    return (row.rank, -row.time_ns, row.digest)


def _first_stays(row: LogRow) -> int:
    return 0


def _log_key(row: LogRow) -> Hashable:
    """A line whose time is our receipt is known by the sender's name for it, which its digest stands for."""
    return row.digest if row.stamped else (row.time_ns, row.digest, row.twin, row.day)

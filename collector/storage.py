"""What a storage promises: Writer, Reader, Storage, and the shapes of questions and answers. No implementation lives here.

collector.testing.StorageContract proves the promises of any storage. The built-in one is storage_plugins/sqlite, the smallest in
tests/example_plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from collector.model import Batch, LogRow, MomentRow, ResourceRow, ScopeRow, SpanRow
from collector.picture import Run, RunPicture

Item = TypeVar("Item")

LARGEST_PAGE = 1000


class Resync(Exception):
    """The cursor is older than what is kept: take a new snapshot and go on from its cursor."""


class BadCursor(ValueError):
    """This cursor was not made by this server: begin again without one."""


class RunRef(NamedTuple):
    """A run as an address names it.

    Of several that fit, a named run comes before a trace, then the greatest generation is meant, then the one first heard of last.
    """

    run_id: str
    source: str | None = None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to list, newest first. kind: picture.KIND_RUN, KIND_TRACE, or None for both. cursor: a Page's next_cursor.

    limit: what is less than 1 or more than LARGEST_PAGE is taken for that, here as in every list.
    """

    kind: str | None = None
    flow_key: str | None = None
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which log lines of a run to read, by time. min_severity: an OTel severity number; node: "" = the run's own lines, None = all.

    since, until: cursors; only lines that are news after the one and stored by the other. A second delivery is no new line. newest: the
    last page first; a page is always in order of time.
    """

    min_severity: int = 0
    node: str | None = None
    since: str | None = None
    until: str | None = None
    newest: bool = False
    limit: int = 200
    cursor: str | None = None


@dataclass(slots=True)
class Page(Generic[Item]):
    """Part of a list. next_cursor is None on the last page. cursor: where a list of runs is followed from (Reader.list_changes)."""

    items: list[Item]
    next_cursor: str | None = None
    cursor: str = ""


@dataclass(slots=True)
class Heard:
    """What is known of the senders of a run.

    last_ns: when its last fact came. beating_until_ns: by when each of its processes must be heard again, which is three of its intervals
    after it was last heard; 0 if it said that it exits and was not heard since. A process that never said its interval is left out.
    """

    last_ns: int = 0
    beating_until_ns: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class RunView:
    """A run's picture at one moment of the store.

    version: rises with every write of facts; of two views the greater version is the newer. cursor: where to read news from: what this
    view does not show is news after it. flow_id, task_ids (by task_key): ids of the catalogue rows,
    empty until the fold has made them.
    """

    picture: RunPicture
    version: int
    cursor: str
    heard: Heard
    flow_id: str = ""
    task_ids: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class RunSummary:
    """A run as the lists show it: the cached fold. version: of the view it was made from. place: RunQuery.cursor of what is listed after it."""

    run: Run
    version: int
    heard: Heard
    flow_id: str = ""
    place: str = ""


@dataclass(slots=True)
class FlowSummary:
    """A flow of the catalogue, described by its newest run. run_counts: its named runs by state; latest: its newest run, if any is left.

    id: the sender's if it gave one, else the storage's own, always the same. created_ns, updated_ns: when it was first known, when its
    description last changed.
    """

    id: str
    flow_key: str
    name: str
    description: str
    tags: Sequence[Any]
    created_ns: int
    updated_ns: int
    run_counts: dict[str, int]
    latest: RunSummary | None


@dataclass(slots=True)
class LogEntry:
    """A line of a run's log: a log record, or a finished span's event. An exception is a line of level ERROR, another event one of INFO.

    id: unique in the run and the same on every delivery. node: "" = the run itself. message: a body that is no text is its JSON. payload:
    flowspan.log.payload, else the attributes that do not name run and task, else None.
    """

    id: str
    time_ns: int
    severity_number: int
    severity_text: str
    message: str
    event: str
    node: str
    payload: Any


@dataclass(slots=True)
class TraceFacts:
    """All facts with one trace id, as stored, and the catalogue rows they point to."""

    spans: list[SpanRow]
    moments: list[MomentRow]
    logs: list[LogRow]
    resources: dict[bytes, ResourceRow]
    scopes: dict[bytes, ScopeRow]


@dataclass(slots=True)
class Changes:
    """News since a cursor: the keys of runs that new facts name, and the traces those facts are in.

    A fact that names no run is news of its trace's provisional run; whoever watches another run in one of these traces looks again, too.
    """

    run_keys: Collection[bytes]
    trace_ids: Collection[bytes]
    cursor: str


@dataclass(slots=True)
class ListChanges:
    """What fold() changed in the lists since a cursor: these runs are as here, newest first; those that are gone were listed, perhaps."""

    runs: list[RunSummary]
    gone: list[RunRef]
    cursor: str


@dataclass(frozen=True, slots=True)
class Expired:
    """What one step of retention took away. runs: of those that were listed. freed_bytes: given back to the disk, as far as is known."""

    facts: int = 0
    runs: int = 0
    freed_bytes: int = 0


class Writer(Protocol):
    """Takes facts. Plain functions, each called from a thread of its own; several may be called at once."""

    @property
    def at_once(self) -> int:
        """Return how many writes at the same time are faster than one after the other."""
        ...

    def write(self, batch: Batch) -> None:
        """Store a batch, all or nothing; when this returns, it survives a crash of the machine.

        Idempotent and order-free: of each key the greatest fact stays, whatever came first (model.py says which is greatest).
        Raises Rejected if the content itself is refused (the caller halves the batch to find the row), Unavailable if it may work later.
        """
        ...

    def fold(self, now_ns: int) -> float | None:
        """Bring the cached runs and catalogues up to date with the facts, as far as they are due.

        now_ns: runs whose state time alone changes (run.recheck_ns) are folded when it has come. A run that was folded a moment ago may
        wait for settings.fold_every_ms. Returns the seconds until another is due, None only if none waits. Raises Unavailable; what was not
        folded stays marked, over a restart too, and so does a run that got facts meanwhile.
        """
        ...

    def expire(self, now_ns: int) -> Expired | None:
        """Take away a little of what is older than settings.retention_days: facts of earlier days, then the runs that have none left.

        A day is kept to its end (UTC); a fact of no day (model.ODD_DAY) goes by its receipt. An open run keeps its spans and moments as long as
        it is heard of, itself or a process of it; a storage may set a limit to how many. A run that loses a fact is frozen first: folded
        once more if it has news, and never again, so that it stays what it was (Run.partly_deleted). Facts that come later are stored and
        shown beside what is left of it; after it has gone they make a run of themselves. Flows and tasks stay in the catalogue.
        Returns what went, None if there is nothing more to do for now, or another process is at it. No step holds up a write for longer than
        a commit. Raises Unavailable.
        """
        ...


class Reader(Protocol):
    """Answers questions. Each call sees one snapshot of the store. Raises Unavailable while the store cannot be read.

    Never answers a narrower question than was asked; lists are paged by key, never by offset, and raise BadCursor for a cursor not theirs.
    """

    async def find_run(self, ref: RunRef) -> bytes | None:
        """Return the run_key an address means, None if no fact names such a run."""
        ...

    async def view_run(self, run_key: bytes) -> RunView | None:
        """Return a run folded from all its committed facts, None if there are none."""
        ...

    async def list_runs(self, query: RunQuery) -> Page[RunSummary]:
        """List runs, newest first. Hidden ones are left out."""
        ...

    async def list_flows(self, limit: int, cursor: str | None) -> Page[FlowSummary]:
        """List the catalogue by flow_key."""
        ...

    async def find_flow(self, flow_key: str) -> FlowSummary | None:
        """Return one flow of the catalogue, None if no run of it is known."""
        ...

    async def read_logs(self, run_key: bytes, query: LogQuery) -> Page[LogEntry]:
        """Read a run's log lines: log records and the events of finished spans.

        A record belongs to the run it names, else to that of its span, else to the run whose own trace it is in (picture.own_traces); to the
        node it names, else to its span's. An event with the time, node and message of a record is that record, and no line of its own.
        """
        ...

    async def read_trace(self, trace_id: bytes) -> TraceFacts:
        """Return everything stored with this trace id, the very rows that were written; empty lists if nothing is."""
        ...

    async def changes(self, cursor: str, until: str | None = None) -> Changes:
        """Return what was committed since a cursor, missing nothing; until: a later cursor, else now.

        Raises Resync if the cursor is older than what is kept.
        """
        ...

    async def list_changes(self, cursor: str) -> ListChanges:
        """Return what fold() changed in the lists since a cursor, that of a page of runs or any other, missing nothing.

        It is the folds that count here, whenever the facts were committed. Raises Resync if more than LARGEST_PAGE runs changed.
        """
        ...

    async def latest_cursor(self) -> str:
        """Return the cursor from which only what is committed later is news."""
        ...

    async def has_runs(self) -> bool:
        """Return whether any run that would be listed exists."""
        ...

    async def ping(self) -> None:
        """Return if the store can be read just now. Raises Unavailable."""
        ...


class Storage(Protocol):
    """A place facts live. Made by the hook make_storage; opened and closed once by the application."""

    @property
    def name(self) -> str:
        """Return the word a log line calls it by."""
        ...

    @property
    def shared(self) -> bool:
        """Return whether several processes may serve on it at once."""
        ...

    @property
    def writer(self) -> Writer:
        """Return what takes facts, once it is open."""
        ...

    @property
    def reader(self) -> Reader:
        """Return what answers questions, once it is open."""
        ...

    def open(self) -> None:
        """Connect; make the schema of an empty store, and bring an embedded one's up to date.

        Raises Unavailable, or Rejected if the schema is newer than this program, or a server's is older: the text says what to do.
        """
        ...

    def migrate(self) -> tuple[str, str]:
        """Bring the schema up to date, while it is not open. Returns the revisions before, empty for a new store, and after.

        Raises Unavailable, or Rejected if it is newer than this program.
        """
        ...

    def listen(self, hint: Callable[[], None]) -> None:
        """Call hint, from a thread of its own, when another process may have committed, until it is closed. Never, if it is not shared."""
        ...

    def close(self) -> None:
        """Let go of files and connections. Nothing is written afterwards."""
        ...

"""What a storage promises: Writer, Reader, Storage. No implementation lives here; questions.py and answers.py have what passes to and fro.

collector.testing.StorageContract proves the promises of any storage. The built-in one is storage_plugins/sqlite, the smallest in
tests/example_plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from collector.answers import (
    Changes,
    Expired,
    FlowSummary,
    ListChanges,
    LogEntry,
    Page,
    RunNews,
    RunSummary,
    RunView,
    TaskPage,
    TraceFacts,
)
from collector.batch import Batch
from collector.questions import WHOLE, LogQuery, RunQuery, RunRef, TaskQuery, ViewQuery


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

    async def view_run(self, run_key: bytes, query: ViewQuery = WHOLE) -> RunView | None:
        """Return a run folded from all its committed facts, None if there are none.

        A storage may show a large run, one of thousands of facts, as it was last folded: RunView.is_large.
        """
        ...

    async def read_news(self, befores: Sequence[RunView]) -> Mapping[bytes, RunNews | None]:
        """Return, by run_key, what happened to runs since views of them, one of each; nothing of those to which nothing did. Missing nothing.

        A line that a watcher of such a view has may be told again, if a trace joined the run. None, if more happened to one than LARGEST_PAGE
        lines, or a task run of its view is no more: a new view is the cheaper answer.
        """
        ...

    async def read_tasks(self, run_key: bytes, query: TaskQuery) -> TaskPage:
        """Read a run's task runs, in the order of a picture; none if there is no such run."""
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

"""What a run must look like, told a second time: its flow events replayed in true order through little state machines.

Written from the states table of the design alone. Imports nothing of the fold, so that the two can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Payload = Mapping[str, Any]

ENDS = {
    "ok": "SUCCEEDED",
    "succeeded": "SUCCEEDED",
    "err": "FAILED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
    "skipped": "SKIPPED",
    "completed": "",
}
STATUS_WORDS = {"failed": "FAILED", "succeeded": "SUCCEEDED", "cancelled": "CANCELLED"}


@dataclass
class Life:
    """A run or a task run while its events are replayed. Times are ns, None = never told.

    word: the state its end said, "" = only that it is over. retries: number of the try that failed -> when, and why.
    """

    heard_ns: int
    queued: bool = False
    begun: bool = False
    paused: bool = False
    started_ns: int | None = None
    ended_ns: int | None = None
    duration_ns: int | None = None
    word: str = ""
    error: str = ""
    retries: dict[int, tuple[int, str]] = field(default_factory=dict)

    def live(self, verb: str, payload: Payload) -> None:
        """Go one step: a second start or end changes nothing, the first word stands."""
        now_ns = payload["ts"]
        if verb in ENDS:
            self._end(verb, payload)
        elif verb == "queued":
            self.queued = True
        elif verb != "announced":
            self.begun = True
            self.paused = {"paused": True, "resumed": False}.get(verb, self.paused)
        if verb == "started" and self.started_ns is None:
            self.started_ns = now_ns

    def _end(self, verb: str, payload: Payload) -> None:
        if self.ended_ns is not None:
            return
        self.ended_ns = payload["ts"]
        self.error = payload.get("error", "")
        self.word = ENDS[verb] or STATUS_WORDS.get(payload.get("status", ""), "") or ("FAILED" if self.error else "")
        if "duration_ms" in payload:
            self.duration_ns = round(payload["duration_ms"] * 1e6)

    def state(self) -> str:
        """Return the state while nothing else decides."""
        if self.ended_ns is not None:
            return self.word
        return "PAUSED" if self.paused else "RUNNING" if self.begun else "QUEUED" if self.queued else "PENDING"

    def start(self) -> int:
        """Return when it started, 0 = unknown."""
        if self.started_ns is not None:
            return self.started_ns
        return self.ended_ns - self.duration_ns if self.ended_ns is not None and self.duration_ns is not None else 0

    def was_open(self, time_ns: int) -> bool:
        """Return whether it was being worked on, as far as anybody can tell."""
        known = self.begun or self.ended_ns is not None
        return known and self.start() <= time_ns and (self.ended_ns is None or time_ns <= self.ended_ns)


@dataclass(frozen=True)
class ExpectedTry:
    """One attempt."""

    number: int
    status: str
    started_ns: int
    finished_ns: int
    error: str


@dataclass(frozen=True)
class ExpectedTask:
    """One task run."""

    status: str
    started_ns: int
    finished_ns: int
    error: str
    inferred: bool
    attempt: int
    tries: tuple[ExpectedTry, ...]


@dataclass(frozen=True)
class ExpectedRun:
    """One run. 0 = unknown time."""

    status: str
    started_ns: int
    finished_ns: int
    error: str
    counts: Mapping[str, int]
    tasks: Mapping[str, ExpectedTask]


def expect(events: Iterable[Payload]) -> ExpectedRun:
    """Return what must be seen of the one run these events are about. events: in the order things happened, each with its own ts in ns."""
    run, tasks = _replay(events)
    failed = any(life.state() == "FAILED" for life in tasks.values())
    status = _run_status(run, tasks, failed=failed)
    ended_ns = run.ended_ns if run is not None else None
    expected = {node: _expect_task(life, ended_ns) for node, life in tasks.items()}
    error = (run.error if run is not None else "") or _first_error(expected)
    return ExpectedRun(
        status=status,
        started_ns=_run_start(run, tasks),
        finished_ns=ended_ns or 0,
        error="" if status == "SUCCEEDED" else error,
        counts=Counter(task.status for task in expected.values()),
        tasks=expected,
    )


def _replay(events: Iterable[Payload]) -> tuple[Life | None, dict[str, Life]]:
    run: Life | None = None
    tasks: dict[str, Life] = {}
    lost_retries: list[Payload] = []
    for payload in events:
        about, _, verb = payload["event"].partition("_")
        if verb in ("log", "error"):
            continue
        if verb == "retry" and "node" not in payload:
            lost_retries.append(payload)
        if about == "flow" or (verb == "retry" and "node" not in payload):
            run = run or Life(payload["ts"])
            run.live(verb, payload)
        else:
            life = tasks.setdefault(payload["node"], Life(payload["ts"]))
            life.live(verb, payload)
            if verb == "retry":
                _tell_retry(life, payload)
    _give_lost_retries(lost_retries, tasks)
    return run, tasks


def _give_lost_retries(retries: Iterable[Payload], tasks: Mapping[str, Life]) -> None:
    """A retry that names no node is of the only node of its task that was open then; who was, only the whole story tells."""
    for payload in retries:
        open_then = [life for node, life in tasks.items() if node.rpartition(":")[0] == payload["task"] and life.was_open(payload["ts"])]
        if len(open_then) == 1:
            _tell_retry(open_then[0], payload)


def _tell_retry(life: Life, payload: Payload) -> None:
    told = life.retries.get(payload["attempt"])
    if told is None or payload["ts"] < told[0]:
        life.retries[payload["attempt"]] = (payload["ts"], payload.get("error", ""))


def _run_status(run: Life | None, tasks: Mapping[str, Life], *, failed: bool) -> str:
    if run is not None and run.ended_ns is not None:
        return run.word or ("FAILED" if failed else "SUCCEEDED")
    lives = [*tasks.values(), *([run] if run is not None else [])]
    if run is not None and run.paused:
        return "PAUSED"
    if any(life.begun or life.ended_ns is not None for life in lives):
        return "RUNNING"
    return "QUEUED" if any(life.queued for life in lives) else "PENDING"


def _run_start(run: Life | None, tasks: Mapping[str, Life]) -> int:
    """The run's own word, else the first sign of anything that was begun or is over."""
    if run is not None and run.start():
        return run.start()
    lives = [*tasks.values(), *([run] if run is not None else [])]
    signs = [life.start() or life.heard_ns for life in lives if life.begun or life.ended_ns is not None]
    return min(signs, default=0)


def _expect_task(life: Life, run_ended_ns: int | None) -> ExpectedTask:
    status, finished_ns, inferred = life.state(), life.ended_ns or 0, False
    if life.ended_ns is None and run_ended_ns is not None:
        inferred = True
        status, finished_ns = ("CANCELLED", max(run_ended_ns, life.start())) if life.begun else ("SKIPPED", 0)
    error = life.error if status == "FAILED" else ""
    tries = tuple(_tries(life, status, finished_ns, error))
    return ExpectedTask(status, life.start(), finished_ns, error, inferred, tries[-1].number if tries else 1, tries)


def _tries(life: Life, status: str, finished_ns: int, error: str) -> Iterable[ExpectedTry]:
    started_ns = life.start()
    for number, (time_ns, told) in sorted(life.retries.items()):
        yield ExpectedTry(number, "FAILED", started_ns, time_ns, told)
        started_ns = time_ns
    if life.retries:
        yield ExpectedTry(max(life.retries) + 1, status, started_ns, finished_ns, error)


def _first_error(tasks: Mapping[str, ExpectedTask]) -> str:
    failed = [(task.finished_ns, node, task.error) for node, task in tasks.items() if task.status == "FAILED" and task.error]
    return min(failed)[2] if failed else ""

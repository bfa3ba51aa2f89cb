"""Four processes deliver every fact three times, shuffled and with conflicting ends, while others fold and are killed: nothing shows of it."""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest

from collector.questions import RunQuery
from collector.testing.questions import fold_all, listed_runs, shown_in_lists, wait_for
from otel_bridge import conventions as c
from otel_bridge.identity import run_key
from otel_bridge.lifecycle import facts_of
from storage_plugins.postgres.storage import PostgresStorage
from tests.builders import RECEIVED_NS, Store, at
from tests.oracle import expect
from tests.storage.opened_postgres import ask, deadlocks, opened
from tests.storage.postgres_processes import start
from tests.unit.test_fold_properties import told_by

RUNS = 24
NODES = tuple(f"load:{number}" for number in range(6))
WRITERS = 4
# Each is killed after so many rounds, and another takes its place.
FOLDERS, ROUNDS = 2, 20
LONGEST_BATCH = 60
SEED = 7

Event = dict[str, Any]


def story(rng: random.Random, run_id: str) -> list[Event]:
    """Return what happened in a run, in order: of most tasks several ends are told, which contradict each other."""
    events: list[Event] = [{"event": "flow_started"}]
    for node in NODES:
        verbs = ["task_queued", "task_started", *rng.choices(("task_ok", "task_err", "task_cancelled", "task_paused", "task_log"), k=4)]
        events += [{"event": verb, "task": "load", "node": node} for verb in verbs]
    events += [{"event": rng.choice(("flow_completed", "flow_failed", "flow_log"))}]
    return [{"run_id": run_id, "flow": "etl", "ts": at(place), **one} for place, one in enumerate(events)]


def deliveries(rng: random.Random, events: Sequence[Event]) -> list[list[list[Event]]]:
    """Return what each process writes: everything three times, a line without a time of its own too."""
    stamped = [{"event": "task_log", "event_id": run_id, "run_id": run_id, "node": "load:1"} for run_id in {one["run_id"] for one in events}]
    sent = [*events, *stamped] * 3
    rng.shuffle(sent)
    parts: list[list[list[Event]]] = [[] for _ in range(WRITERS)]
    while sent:
        size = rng.randint(1, LONGEST_BATCH)
        rng.choice(parts).append(sent[:size])
        sent = sent[size:]
    return parts


@pytest.fixture(scope="module")
def stories() -> dict[str, list[Event]]:
    """The runs, by id."""
    rng = random.Random(SEED)
    return {f"r{number}": story(rng, f"r{number}") for number in range(RUNS)}


@pytest.fixture
def delivered(postgres_url: str, stories: dict[str, list[Event]]) -> Iterator[PostgresStorage]:
    """A store they were delivered to, folded."""
    with opened(postgres_url) as storage:
        parts = deliveries(random.Random(SEED), list(chain(*stories.values())))
        writers = [start("write", postgres_url) for _ in parts]
        with ThreadPoolExecutor(WRITERS) as threads:
            ends = [threads.submit(deliver, writer, batches) for writer, batches in zip(writers, parts, strict=True)]
            killed = fold_and_be_killed(postgres_url, writers)
            assert [0] * WRITERS == [end.result() for end in ends]
        assert killed
        fold_all(storage)
        yield storage


def deliver(writer: subprocess.Popen[str], batches: Iterable[Sequence[Event]]) -> int:
    """Let a process write these, and return how it ended."""
    writer.communicate("\n".join(json.dumps(batch) for batch in batches))
    return writer.returncode


def fold_and_be_killed(url: str, writers: Sequence[subprocess.Popen[str]]) -> int:
    """Fold in processes that are killed, one after the other, until all is written. Return how many were."""
    killed = 0
    folders = [start("fold", url) for _ in range(FOLDERS)]
    while any(writer.poll() is None for writer in writers):
        folder = folders.pop(0)
        folders.append(start("fold", url))
        end(folder, ROUNDS)
        killed += 1
    for folder in folders:
        end(folder, 0)
    return killed


def end(folder: subprocess.Popen[str], after: int) -> None:
    """Kill a process after so many rounds."""
    assert folder.stdout is not None
    for _ in range(after):
        folder.stdout.readline()
    folder.kill()
    folder.communicate()


# R009 R010 R011 R093
def test_four_writers_and_killed_folds_end_in_the_greatest_facts_and_their_fold(
    delivered: PostgresStorage, postgres_url: str, stories: dict[str, list[Event]]
) -> None:
    expected = Store().take(fact for events in stories.values() for one in events for fact in facts_of(one, RECEIVED_NS))
    cached = {one.run.run_id: one.run for one in listed_runs(delivered, RunQuery(limit=RUNS))}

    assert stories.keys() == cached.keys()
    for run_id, events in stories.items():
        key = run_key(c.DEFAULT_SOURCE, run_id)
        view = wait_for(delivered.reader.view_run(key))
        facts = wait_for(delivered.reader.read_trace(key))
        assert view is not None
        assert expect(events) == told_by(view)
        assert shown_in_lists(view.run) == shown_in_lists(cached[run_id])
        assert greatest(row for row in expected.spans.values() if row.run_key == key) == greatest(facts.spans)
        assert greatest(row for row in expected.moments.values() if row.run_key == key) == greatest(facts.moments)
        assert [1] == [times for line, times in Counter(row.digest for row in facts.logs if row.stamped).items()]
    assert 0 == deadlocks(postgres_url)
    assert [(0,)] == ask(postgres_url, "SELECT count(*) FROM run_dirty")


def greatest(rows: Iterable[Any]) -> list[Any]:
    """Return rows in a steady order, without when each came."""
    return sorted(row._replace(received_ns=0) for row in rows)

"""Threads, pools and other processes are where the code is that starts them; outside of a run nothing is touched."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from multiprocessing.pool import ThreadPool
from queue import SimpleQueue
from typing import Any

import pytest

from otel_bridge import carry, carrying, log, run, task
from otel_bridge.bridge import bridge
from otel_bridge.places import current, enter
from otel_bridge.settings import from_environment
from tests import watching
from tests.watching import Told

told = watching.told


def here() -> tuple[str, str]:
    """Return run id and node of the place this is called at; empty outside of a run."""
    place = current()
    return ("", "") if place is None else (place.run.run_id, place.node)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return a pool of one thread."""
    with ThreadPoolExecutor(1) as one:
        yield one


# R164 R166
def test_a_thread_pool_works_where_it_is_asked_to(told: Told, pool: ThreadPoolExecutor) -> None:
    with run("pooled") as r:
        with task("first"):
            first = pool.submit(here)
        with task("second"):
            second = list(pool.map(lambda _: here(), range(2)))

    assert (r.run_id, "first:1") == first.result()
    assert [(r.run_id, "second:1")] * 2 == second


def test_a_worker_that_is_started_for_a_run_stays_in_none(told: Told, pool: ThreadPoolExecutor) -> None:
    with run("starting"):
        pool.submit(here).result()
        unplaced = copy_context()
        unplaced.run(enter, None)
        outside = unplaced.run(pool.submit, here)

        assert ("", "") == outside.result()


def _here(_: int) -> tuple[str, str]:
    return here()


def _asked_of(pool: ThreadPool) -> set[tuple[str, str]]:
    """Return where each way to ask a pool of multiprocessing works."""
    applied = [pool.apply(here), pool.apply_async(func=here).get(10)]
    mapped = [*pool.map(_here, [1]), *pool.map_async(_here, [1]).get(10), *pool.starmap(_here, [(1,)])]
    return {*applied, *mapped, *pool.imap(_here, [1]), *pool.imap(_here, [1, 2], 2), *pool.imap_unordered(_here, [1])}


# R164 R166
def test_a_pool_of_multiprocessing_that_a_run_has_made_works_for_others_too(told: Told) -> None:
    with run("makes the pool") as first, ThreadPool(1) as pool:
        by_first = _asked_of(pool)
        unplaced = copy_context()
        unplaced.run(enter, None)
        with task("below"):
            below = _asked_of(pool)
        by_nobody = unplaced.run(_asked_of, pool)
        with run("uses the pool") as second:
            by_second = _asked_of(pool)

    assert ({(first.run_id, "")}, {(first.run_id, "below:1")}) == (by_first, below)
    assert ({("", "")}, {(second.run_id, "")}) == (by_nobody, by_second)


class Listener(threading.Thread):
    """A thread with a `run` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: tuple[str, str] = ("", "")

    def run(self) -> None:
        self.heard = here()


# R164
def test_a_thread_is_where_it_is_started(told: Told) -> None:
    inside, outside = Listener(), Listener()

    with run("threads") as r, task("listen"):
        inside.start()
    outside.start()

    inside.join()
    outside.join()
    assert ((r.run_id, "listen:1"), ("", "")) == (inside.heard, outside.heard)
    assert "run" not in vars(inside)


# R165
def test_a_thread_that_outlives_its_run_is_cancelled_until_it_has_ended(told: Told) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @task
    def outlive() -> None:
        begun.set()
        go_on.wait(10)

    with run("outlived") as r:
        thread = threading.Thread(target=outlive)
        thread.start()
        begun.wait(10)
    while_it_runs = told.run(r.run_id, "/tasks")
    go_on.set()
    thread.join()

    (before,), (after,) = while_it_runs, told.run(r.run_id, "/tasks")
    assert ("CANCELLED", "SUCCEEDED", before["started_at"]) == (before["status"], after["status"], after["started_at"])


def test_threads_of_the_bridge_are_in_no_run(told: Told) -> None:
    heard: list[tuple[str, str]] = []
    ours = threading.Thread(target=lambda: heard.append(here()), name="flowspan mapper")

    with run("telling"):
        ours.start()
        ours.join()

    assert [("", "")] == heard


# R172
def test_outside_of_a_run_calls_go_through_unchanged(told: Told) -> None:
    with run("installs it"):
        pass
    pool = ThreadPoolExecutor(1)
    queue: SimpleQueue[Any] = SimpleQueue()
    pool._work_queue = queue
    pool._adjust_thread_count = lambda: None  # type: ignore[method-assign]  # nobody works: what was asked for stays to be looked at

    pool.submit(max, 1, key=abs)

    item = queue.get_nowait()
    assert (max, (1,), {"key": abs}) == (item.fn, item.args, item.kwargs)


# R172
def test_what_is_refused_without_us_is_refused_with_us(told: Told, pool: ThreadPoolExecutor) -> None:
    with run("refusing"):
        with pytest.raises(TypeError, match="submit"):
            pool.submit()  # type: ignore[call-arg]  # on purpose
        with pytest.raises(RuntimeError, match="once"):
            for _ in range(2):
                _started.start()
    with pytest.raises(ValueError, match="no"):
        pool.submit(_raise).result()


_started = threading.Thread(target=here)


def _raise() -> None:
    raise ValueError("no")


def test_installed_twice_is_installed_once_and_can_be_removed() -> None:
    carrying.remove()
    before = (threading.Thread.start, ThreadPoolExecutor.submit)

    carrying.install()
    carrying.install()
    during = (threading.Thread.start, ThreadPoolExecutor.submit)
    carrying.remove()

    assert before == (threading.Thread.start, ThreadPoolExecutor.submit)
    assert before == tuple(vars(method)["__wrapped__"] for method in during)


def test_what_others_put_on_top_stays_and_ours_passes_on(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    carrying.remove()
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)  # what is put back at the end

    with run("topped"):
        ours = threading.Thread.start
        theirs = lambda self: ours(self)  # noqa: E731  # as instrumentation does it
        threading.Thread.start = theirs  # type: ignore[method-assign]  # the same
        carrying.remove()
        thread = Listener()
        thread.start()
        thread.join()

    assert theirs is threading.Thread.start
    assert ("", "") == thread.heard


# R166
def test_each_copy_of_what_is_carried_numbers_its_own_nodes(told: Told) -> None:
    with run("copied") as r, task("start"):
        copies = [pickle.dumps(carry(work)) for _ in range(2)]
        work("here")

    for copy in copies:
        assert r.run_id == pickle.loads(copy)("there")
    assert {"start:1", "work:1", "work:1.1", "work:2.1"} == told.states(r.run_id).keys()
    assert told.spans(r.run_id)["start:1"]["spanId"] == told.spans(r.run_id)["work:2.1"]["parentSpanId"]


@task
def work(where: str) -> str:
    """Work somewhere."""
    log(f"works {where}")
    return here()[0]


def test_one_copy_called_often_goes_on_counting(told: Told) -> None:
    with run("counted") as r:
        copy = pickle.loads(pickle.dumps(carry(work)))
        copy("there")
        copy("there")

    assert {"work:1.1", "work:1.2"} == told.states(r.run_id).keys()


def test_settings_made_in_code_are_carried(told: Told) -> None:
    url = bridge().settings.url
    with run("configured"):
        carried = pickle.dumps(carry(here))

    with watching.configured(url=""):
        pickle.loads(carried)
        arrived = bridge().settings.url

    assert url == arrived


def test_settings_of_the_environment_are_not_carried(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSPAN_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FLOWSPAN_BRIDGE_SPOOL", "off")

    with run("inherited"):
        place = current()
        with watching.configured(**vars(from_environment())):
            carried = pickle.dumps(carrying.Carried(place))

    assert b"BridgeSettings" not in carried
    assert b"inherited" in carried


def test_outside_of_a_run_carry_returns_the_function_itself() -> None:
    assert carry(work) is work


# R172
def test_what_cannot_be_pickled_fails_as_without_us(told: Told) -> None:
    unknown = lambda: None  # noqa: E731  # has no name to be found by
    with pytest.raises(Exception, match="pickle") as own:
        pickle.dumps(unknown)

    with run("unpicklable"), pytest.raises(type(own.value)) as through:
        pickle.dumps(carry(unknown))

    assert str(own.value) == str(through.value)


# R173
def test_process_pools_are_not_imported_for_programs_that_use_none() -> None:
    code = """
        import sys
        from otel_bridge import carrying
        carrying.install()
        print({"concurrent.futures.process", "multiprocessing.pool"} & sys.modules.keys())
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing.pool import Pool, ThreadPool
        def are_wrapped(): return [hasattr(method, "__wrapped__") for method in (ProcessPoolExecutor.submit, ThreadPool.apply_async)]
        print(are_wrapped(), ProcessPoolExecutor.__module__)
        carrying.remove()
        print(are_wrapped())
    """

    done = subprocess.run([sys.executable, "-c", "\n".join(map(str.strip, code.splitlines()))], capture_output=True, text=True, timeout=60)

    assert ("set()\n[True, True] concurrent.futures.process\n[False, False]\n", "") == (done.stdout, done.stderr)

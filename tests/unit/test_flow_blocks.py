"""Blocks that are runs and tasks, log lines and progress, and what is told when there is nobody to tell."""

from __future__ import annotations

import threading
import time
from contextvars import copy_context
from datetime import date

from otel_bridge import flow, log, progress, run, task
from otel_bridge.places import Place, current
from tests import watching
from tests.watching import Told, here

told = watching.told


@flow
def nightly(day: date) -> int:
    """Sell at night."""
    return load(3)


@task
def load(count: int) -> int:
    """Load so many."""
    return 2 * count


def test_a_block_returns_its_node_for_others_to_wait_for(told: Told) -> None:
    with run("blocks", params={"day": 1}, tags={"b", "a"}, run_id="blocks: 1/2 ☃", key="the.blocks") as r:
        with task("load", node="loaded") as loaded:
            pass
        with task("save", upstream=[loaded]):
            pass

    shown, (_, save) = told.run(r.run_id), told.run(r.run_id, "/tasks")
    assert ("the.blocks", {"day": 1}, ["a", "b"]) == (shown["flow_key"], shown["params"], shown["tags"])
    assert ("save:1", ["loaded"]) == (save["id"], save["upstream"])


def test_one_block_may_be_used_in_several_threads_at_once(told: Told) -> None:
    block, both_in = task("shared"), threading.Barrier(2, timeout=10)
    nodes = []

    def use(order: int) -> None:
        with block as node:
            both_in.wait()
            nodes.append((node, here().node))

    with run("sharing") as r:
        threads = [threading.Thread(target=use, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [("shared:1", "shared:1"), ("shared:2", "shared:2")] == sorted(nodes)
    assert {"shared:1": "SUCCEEDED", "shared:2": "SUCCEEDED"} == told.states(r.run_id)


def test_who_is_in_a_block_outside_of_any_run_ends_nothing_of_others(told: Told) -> None:
    block, both_in = task("shared with strangers"), threading.Barrier(2, timeout=10)
    places: list[Place | None] = []

    def stranger() -> None:
        with block:
            both_in.wait()
        places.append(current())

    thread = threading.Thread(target=stranger)
    thread.start()
    with run("beside strangers") as r, block:
        both_in.wait()
        thread.join()
        meanwhile = told.states(r.run_id)

    assert ([None], {"shared with strangers:1": "RUNNING"}) == (places, meanwhile)
    assert {"shared with strangers:1": "SUCCEEDED"} == told.states(r.run_id)


def test_a_block_that_is_left_in_another_context_ends(told: Told) -> None:
    block = run("left elsewhere")

    r = copy_context().run(block.__enter__)
    block.__exit__(None, None, None)

    assert "SUCCEEDED" == told.run(r.run_id)["status"]


def test_the_span_of_a_run_whose_start_nobody_remembers_begins_with_it(told: Told) -> None:
    before_ns = time.time_ns()

    with run("begun") as r:
        inside_ns = time.time_ns()
        with watching.configured(url=told.server.url):
            r.end()

    span = told.spans(r.run_id)["begun"]
    assert before_ns <= int(span["startTimeUnixNano"]) <= inside_ns <= int(span["endTimeUnixNano"])


def test_a_run_may_be_ended_with_another_word(told: Told) -> None:
    with run("skipped") as r:
        r.end(result="skip")
        log("too late")

    assert ("SKIPPED", []) == (told.run(r.run_id)["status"], told.lines(r.run_id))


# R159 R164
def test_lines_have_their_level_payload_and_node(told: Told) -> None:
    with run("lines") as r, task("say"):
        log("slow ☃", "WARNING", payload={"rows": 3})
        log(42, 40)

    first, second = told.run(r.run_id, "/logs")
    assert ("say:1", "WARNING", "slow ☃", {"rows": 3}) == tuple(first[name] for name in ("task_node", "level", "message", "payload"))
    assert ("ERROR", "42") == (second["level"], second["message"])


def test_progress_is_told_now_and_then_and_at_the_end(told: Told) -> None:
    with run("progressing") as r, task("copy"):
        for done in range(1, 1001):
            progress(done, 1000)

    lines = told.run(r.run_id, "/logs")
    assert len(lines) < 10
    assert [("copy:1", "1 of 1000"), ("copy:1", "1000 of 1000")] == [(line["task_node"], line["message"]) for line in (lines[0], lines[-1])]
    assert {"done": 1000, "total": 1000} == lines[-1]["payload"]


class Unspeakable:
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


# R172
def test_what_has_no_text_harms_nobody(told: Told) -> None:
    with run("unspeakable", params={"thing": Unspeakable()}) as r:
        log(Unspeakable())
        log("and on", payload=Unspeakable())

    assert ["and on"] == [message for _, message in told.lines(r.run_id)]
    assert "<test_flow_blocks.Unspeakable>" == told.run(r.run_id)["params"]["thing"]


# R172
def test_without_a_server_everything_is_as_without_us() -> None:
    with watching.configured(url=""), run("unheard") as r, task("quiet") as node:
        made, inside = nightly(date(2026, 1, 2)), current()
        log("nobody")

    assert (6, "", None) == (made, node, inside)
    assert r.run_id


def test_a_bridge_that_is_shut_down_in_a_run_lets_its_tasks_go_on(told: Told) -> None:
    with run("cut off"), watching.configured(url=""), task("unheard") as node:
        made = load(1)

    assert (2, "") == (made, node)

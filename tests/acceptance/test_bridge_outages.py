"""A server that is away, hangs, refuses or is killed: the program does not notice, and afterwards everything it told is there, once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.bad_servers import PATIENCE_S, Answer, BadServer, Request, hang_up, ok, silence, status
from tests.bridge_programs import all_of, run_program, running_program, step, told
from tests.servers import Server


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


# How an ending program is timed: its own work, and not Python's start.
TIMED = """
import time
began = time.monotonic()
tell("away")
print("the result", time.monotonic() - began < 0.2, flush=True)
"""


# R172
@pytest.mark.parametrize(
    "answer",
    [silence, hang_up, status(500), status(503), status(429, "Retry-After: 60"), status(401)],
    ids=["silent", "hanging up", "500", "503", "429", "401"],
)
def test_a_program_runs_the_same_and_the_next_one_delivers_what_it_told(answer: Answer, spool: Path) -> None:
    with BadServer(answer) as server:
        done = run_program(TIMED, server.url, spool)
        refused = len(server.requests)
        server.answer = ok
        with running_program(GOES_ON, server.url, spool) as program:
            step(program)
            server.wait_until(lambda requests: _all_there(requests[refused:], _sum(all_of("away"), all_of("r", 1))))

        assert ("the result True\n", 0) == (done.stdout, done.returncode)
        assert len(done.stderr.splitlines()) <= 1
        assert _sum(all_of("away"), all_of("r", 1)) == told(server.requests[refused:])


def _all_there(requests: list[Request], wanted: tuple[Counter[str], Counter[str]]) -> bool:
    ends, lines = told(requests)
    return ends >= wanted[0] and lines >= wanted[1]


def _sum(*counts: tuple[Counter[str], Counter[str]]) -> tuple[Counter[str], Counter[str]]:
    ends: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for some_ends, some_lines in counts:
        ends, lines = ends + some_ends, lines + some_lines
    return ends, lines


@pytest.mark.parametrize(("answer", "most_s"), [(silence, 1.0), (status(503), 0.0), (hang_up, 0.0)], ids=["silent", "503", "hanging up"])
def test_an_ending_program_is_held_up_for_a_second_at_most(answer: Answer, most_s: float, spool: Path) -> None:
    code = """
        import atexit, time
        atexit.register(lambda: print(time.monotonic() - ended))   # called last: registered first
        tell("r")
        bridge.bridge().mapper.wait_until_loaded(60)
        ended = time.monotonic()
    """
    with BadServer(answer) as server:
        done = run_program(code, server.url, spool)

    assert float(done.stdout) < most_s + 0.7


def test_a_program_that_is_killed_leaves_what_it_told_while_nobody_answered(spool: Path) -> None:
    with BadServer(status(503)) as server:
        with running_program(GOES_ON, server.url, spool) as program:
            step(program)
            assert "False" == step(program)
            program.send_signal(signal.SIGKILL)
        refused = len(server.requests)
        server.answer = ok
        with running_program("tell('next'); sys.stdin.readline()", server.url, spool):
            server.wait_until(lambda requests: _all_there(requests[refused:], _sum(all_of("r", 1), all_of("next"))))

        assert _sum(all_of("r", 1), all_of("next")) == told(server.requests[refused:])


# Tells a task with each line it reads; of every second it says whether all has been taken within a moment.
GOES_ON = """
run = Run(RunName("r", "flow"))
run.begin()
sys.stdin.readline()
node = run.new_node("task")
run.begin_task(node, "task")
run.log("r line 0", node=node)
run.end_task(node)
run.end()
print("told", flush=True)
sys.stdin.readline()
print(bridge.flush(0.5), flush=True)
sys.stdin.readline()
"""


def test_a_server_killed_and_started_again_has_every_event_of_a_program_that_went_on(tmp_path: Path, spool: Path) -> None:
    """kill -9 of the server in the middle of what a program tells, and again."""
    with Server(tmp_path / "server") as server, running_program(STEADY, server.url, spool) as program:
        assert "True" == step(program)
        for _ in range(2):
            os.kill(server.pid, signal.SIGKILL)
            assert "False" == step(program)
            server.kill()
            server.start()
            assert "True" == step(program)
        program.communicate("", timeout=PATIENCE_S)

        run = server.wait_for("/api/v1/runs/r", lambda answer: answer["finished_at"] is not None)
        tasks = {task["id"]: task["status"] for task in server.run("r", "/tasks")}
        lines = [line["message"] for line in server.run("r", "/logs")]
    assert "SUCCEEDED" == run["status"]
    assert {f"task:{number}": "SUCCEEDED" for number in range(1, 101)} == tasks
    assert [f"line {number}" for number in range(100)] == lines


# With each line it reads it tells of 20 tasks, and says whether all of it is stored.
STEADY = """
run = Run(RunName("r", "flow"))
run.begin()
number = 0
while sys.stdin.readline():
    for number in range(number, number + 20):
        node = run.new_node("task")
        run.begin_task(node, "task")
        run.log(f"line {number}", node=node)
        run.end_task(node)
    number += 1
    print(bridge.flush(60 if number % 40 else 0.3), flush=True)
run.end()
"""


def test_memory_stays_bounded_while_a_server_hangs_and_what_was_dropped_is_said_once(spool: Path) -> None:
    code = """
        import resource
        tell("warm"); bridge.flush(1.0)
        run = Run(RunName("r", "flow")); run.begin()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(30_000):
            run.log("x" * 1_000)
        bridge.flush(1.0)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, bridge.losses().lines, bridge.losses().ends)
    """
    bounds = {"FLOWSPAN_BRIDGE_QUEUE_BYTES": "1000000", "FLOWSPAN_BRIDGE_PARCEL_BYTES": "100000", "FLOWSPAN_BRIDGE_SPOOL_BYTES": "200000"}
    with BadServer(silence) as server:
        done = run_program(code, server.url, spool, **bounds)

    grown_kib, lines, ends = map(int, done.stdout.split())
    assert grown_kib < 20_000
    assert (True, 0) == (lines > 20_000, ends)
    assert 1 == done.stderr.count("the bridge lost")
    assert spool.stat().st_size < 400_000


def test_what_was_lost_is_said_in_the_run_that_misses_it(spool: Path) -> None:
    code = """
        run = Run(RunName("r", "flow")); run.begin(); bridge.flush()
        for number in range(10_000):    # faster than its thread takes them
            run.log("x" * 10_000)
        bridge.flush(); bridge.flush()
        print(bridge.losses().lines)
    """
    with BadServer() as server:
        done = run_program(code, server.url, spool, FLOWSPAN_BRIDGE_QUEUE_BYTES="200000")
        lines = told(server.requests)[1]

    said = [int(line.split()[3]) for line in lines if line.startswith("the bridge lost")]
    assert 10_000 - lines["x" * 10_000] == int(done.stdout)
    assert 0 < sum(said) <= int(done.stdout)
    assert 1 == done.stderr.count("the bridge lost")

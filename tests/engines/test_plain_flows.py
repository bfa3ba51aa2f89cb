"""Programs without an engine, as their users write them: the example, and one that works in other processes."""

from __future__ import annotations

import pytest

from tests.engines.programs import ROOT, Programs, lines_of, runs_of, states_of, tasks_of
from tests.servers import Server


# R163 R164
def test_the_example_is_seen_whole(server: Server, programs: Programs) -> None:
    printed = programs.run((ROOT / "examples" / "plain_flow.py").read_text(encoding="utf-8")).stdout

    (run,) = runs_of(server, "plain_flow")
    tasks = [f"fetch:{number}" for number in (1, 2, 3)] + ["report:1"] + [f"add up {city}:1" for city in ("Bern", "Geneva", "Zug")]
    assert ("SUCCEEDED", dict.fromkeys(tasks, "SUCCEEDED")) == (run["status"], states_of(server, run))
    assert {"cities": ["Bern", "Geneva", "Zug"]} == server.run(run["run_id"])["params"]
    lines = lines_of(server, run)
    assert {("add up Bern:1", "INFO", "Bern: 220"), ("fetch:2", "INFO", "10 of 10")} <= set(lines)
    assert printed.splitlines() == [message for node, _, message in lines if node is not None and node.startswith("add up")]


# R163
def test_a_program_that_has_one_server_to_tell_loads_neither_the_sdk_nor_protobuf(server: Server, programs: Programs) -> None:
    printed = programs.run(
        """
        import sys
        from otel_bridge import flow, flush, log, task

        @flow
        def light():
            with task("one"):
                log("a line")

        light()
        print(flush(), sorted(name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "google")))
        """
    ).stdout

    (run,) = runs_of(server, "light")
    assert ("True []", {"one:1": "SUCCEEDED"}) == (printed.strip(), states_of(server, run))


IN_OTHER_PROCESSES = """
    import multiprocessing
    import sys
    from concurrent.futures import ProcessPoolExecutor

    from otel_bridge import carry, configure, flow, log, task

    @task
    def square(number):
        log(f"square of {number}")
        return check(number * number)

    @task
    def check(number):
        if number == 9:
            raise ValueError("nine")
        return number

    def in_other_processes(method):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            with task("spread"):
                assert [0, 1, 4] == list(pool.map(square, range(3), chunksize=2))
            assert "nine" in str(pool.submit(square, 3).exception())
            assert "pickle" in str(pool.submit(lambda: 1).exception())
        process = context.Process(target=carry(square), args=(5,))
        process.start()
        process.join()
        with context.Pool(1) as pool:
            pool.map(carry(square), [6])
            try:
                pool.apply(lambda: 1)
            except Exception as error:
                assert "pickle" in str(error)
            pool.close()
            pool.join()
        square(7)

    if __name__ == "__main__":
        configure(url=sys.argv[1], spool=None)
        flow(f"by {sys.argv[2]}")(in_other_processes)(sys.argv[2])
"""


# R164 R166
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_work_in_the_run_they_are_used_in(server: Server, programs: Programs, method: str) -> None:
    programs.run(IN_OTHER_PROCESSES, arguments=(server.url, method), FLOWSPAN_URL="")

    (run,) = runs_of(server, f"by {method}")
    tasks = tasks_of(server, run)
    assert ("SUCCEEDED", {"method": method}) == (run["status"], server.run(run["run_id"])["params"])
    assert {"square", "check", "spread"} == {task["task_key"].removeprefix("program:") for task in tasks.values()}
    assert {"square:1.1": "SUCCEEDED", "square:1.2": "SUCCEEDED", "square:2.1": "SUCCEEDED"}.items() <= states_of(server, run).items()
    assert {"square:3.1", "check:3.1"} == {node for node, task in tasks.items() if task["status"] == "FAILED"}
    assert 7 == len({node for node, task in tasks.items() if task["task_name"] == "square"})
    squares = sorted(message for node, _, message in lines_of(server, run) if node is not None and node.startswith("square"))
    assert [f"square of {number}" for number in (0, 1, 2, 3, 5, 6, 7)] == [line for line in squares if "square of" in line]


POOL_OF_THE_FIRST = """
    import functools
    import multiprocessing
    import os
    import sys

    from otel_bridge import flow, task
    from otel_bridge.places import current

    @functools.cache
    def pool():
        return multiprocessing.get_context("fork").Pool(1, maxtasksperchild=2)

    @task
    def load(day):
        return current().run.run_id

    def where(_):
        return current()

    @flow
    def nightly(day):
        return [*pool().map(load, [day]), *pool().imap(load, [day, day]), pool().apply(load, [day])]

    @flow
    @task
    def fork():
        child = os.fork()
        if not child:
            sys.exit()
        os.waitpid(child, 0)
        raise ValueError("the parent's own end")

    runs = [nightly(day) for day in range(2)]
    assert [1, 1, False] == [len(set(run)) for run in runs] + [runs[0][0] == runs[1][0]], runs
    assert [None] * 5 == pool().map(where, range(5), 1)
    pool().close()
    pool().join()
    try:
        fork()
    except ValueError:
        print("failed")
"""


# R164 R166
def test_a_pool_that_one_run_has_made_works_for_each_that_uses_it_and_a_forked_child_ends_nothing(server: Server, programs: Programs) -> None:
    printed = programs.run(POOL_OF_THE_FIRST).stdout

    counts = [len(tasks_of(server, run)) for run in runs_of(server, "nightly", 2)]
    (forked,) = runs_of(server, "fork")
    assert ("failed\n", [4, 4], "FAILED", {"fork:1": "FAILED"}) == (printed, counts, forked["status"], states_of(server, forked))

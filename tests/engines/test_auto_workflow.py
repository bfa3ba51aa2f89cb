"""The real auto-workflow, watched without a call in the flow's code: the right states, tasks, attempts and lines."""

from __future__ import annotations

from tests.engines.programs import Programs, lines_of, runs_of, states_of, tasks_of
from tests.servers import Server


# R160 R163 R167
def test_a_linear_flow_is_seen_whole(server: Server, programs: Programs) -> None:
    programs.run(
        """
        from datetime import date
        from auto_workflow import flow, task

        @task(tags={"slow", "db"}, priority=3)
        def extract(): return [1, 2]

        @task
        def load(rows): return len(rows)

        @flow
        def linear():
            \"\"\"Loads what is extracted.\"\"\"
            return load(extract())

        assert linear.run(params={"day": date(2026, 11, 21), "bad": object, "shops": {"eu"}, "nan": float("nan")}) == 2
        """
    )

    (run,) = runs_of(server, "linear")
    tasks = tasks_of(server, run)
    assert ("SUCCEEDED", "program:linear") == (run["status"], run["flow_key"])
    assert ("SUCCEEDED", "SUCCEEDED") == (tasks["extract:1"]["status"], tasks["load:1"]["status"])
    assert (["extract:1"], ["db", "slow"], 3, "thread") == (
        tasks["load:1"]["upstream"],
        tasks["extract:1"]["tags"],
        tasks["extract:1"]["priority"],
        tasks["extract:1"]["run_in"],
    )
    assert {"day": "2026-11-21", "bad": "<class 'object'>", "shops": ["eu"], "nan": "nan"} == run["params"]
    assert {"host", "python"} <= run["metadata"].keys()


# R014 R166
def test_each_way_of_fanning_out_is_seen_with_what_waits_for_what(server: Server, programs: Programs) -> None:
    programs.run(
        """
        from auto_workflow import fan_out, flow, task

        @task
        def numbers(): return [1, 2, 3]

        @task
        async def double(number): return 2 * number

        @task
        def total(numbers): return sum(numbers)

        @flow
        def static(): return total(fan_out(double, [1, 2]))

        @flow
        def dynamic(): return total(fan_out(double, numbers()))

        assert (static.run(), dynamic.run()) == (6, 12)
        """
    )

    static, dynamic = tasks_of(server, runs_of(server, "static")[0]), tasks_of(server, runs_of(server, "dynamic")[0])
    assert {"double:1", "double:2", "total:1"} == static.keys()
    assert ["double:1", "double:2"] == static["total:1"]["upstream"]
    assert {"numbers:1", "double:1", "double:2", "double:3", "total:1"} == dynamic.keys()
    assert [["numbers:1"], ["double:1", "double:2", "double:3"]] == [dynamic["double:2"]["upstream"], dynamic["total:1"]["upstream"]]
    assert {"SUCCEEDED"} == {task["status"] for task in [*static.values(), *dynamic.values()]}


# R166
def test_nested_and_concurrent_runs_keep_their_tasks_lines_and_retries_apart(server: Server, programs: Programs) -> None:
    programs.run(
        """
        import logging, threading
        from auto_workflow import flow, get_context, task

        logging.basicConfig(level=logging.INFO)
        both = threading.Barrier(2)

        @task(retries=2)
        def part(name):
            both.wait()
            logging.getLogger("mine").info("part of %s", get_context().params["name"])
            if name == "a" and not tried:
                tried.append(name)
                both.wait()
                raise OSError("try again")
            if name == "b":
                both.wait()
                both.wait()
            return name

        tried = []

        @flow
        def inner(): return part(get_context().params["name"])

        @task
        def call(name): return inner.run(params={"name": name})

        @flow
        def outer(): return [call("a"), call("b")]

        assert outer.run() == ["a", "b"]
        """
    )

    (outer,) = runs_of(server, "outer")
    inner = {run["params"]["name"]: run for run in runs_of(server, "inner", 2)}
    assert {"call:1": "SUCCEEDED", "call:2": "SUCCEEDED"} == states_of(server, outer)
    assert {"a": 2, "b": 1} == {name: tasks_of(server, run)["part:1"]["attempt"] for name, run in inner.items()}
    assert [("part:1", "INFO", "part of b")] == lines_of(server, inner["b"])
    assert 2 == lines_of(server, inner["a"]).count(("part:1", "INFO", "part of a"))
    parents = {name: (run["metadata"]["flowspan.parent.run.id"], run["metadata"]["flowspan.parent.node"]) for name, run in inner.items()}
    assert {"a": (outer["run_id"], "call:1"), "b": (outer["run_id"], "call:2")} == parents


# R013 R165
def test_every_way_to_fail_ends_the_run(server: Server, programs: Programs) -> None:
    programs.run(
        """
        import asyncio, contextlib
        from auto_workflow import FailurePolicy, flow, task

        started = asyncio.Event()

        @task
        async def boom():
            await started.wait()
            raise ValueError("bad \\u2603")

        @task
        async def sibling():
            started.set()
            await asyncio.sleep(60)

        @task(timeout=0.05)
        async def late(): await asyncio.sleep(60)

        @task
        def after(_): return 1

        @task
        def fine(): return 2

        @flow
        def fails_fast(): return [after(boom()), sibling()]

        @flow
        def goes_on():
            bad()
            return fine()

        @task
        def bad(): raise KeyError("k")

        @flow
        def adds_up(): return [bad(), fine()]

        @flow
        def times_out(): return late()

        @flow
        def cannot_be_built(): raise RuntimeError("no plan")

        @flow
        def builds_nothing(): return 7

        for one, policy in ((fails_fast, "fail_fast"), (adds_up, "aggregate"), (times_out, "fail_fast"), (cannot_be_built, "fail_fast")):
            with contextlib.suppress(Exception):
                one.run(failure_policy=policy)
                print("did not fail", one)
        goes_on.run(failure_policy="continue")
        assert builds_nothing.run() == 7
        """
    )

    runs = {name: runs_of(server, name)[0] for name in ("fails_fast", "adds_up", "times_out", "cannot_be_built", "goes_on", "builds_nothing")}
    states = {name: run["status"] for name, run in runs.items()}
    assert {**dict.fromkeys(runs, "FAILED"), "builds_nothing": "SUCCEEDED"} == states
    assert {"boom:1": "FAILED", "sibling:1": "CANCELLED", "after:1": "SKIPPED"} == states_of(server, runs["fails_fast"])
    assert {"bad:1": "FAILED", "fine:1": "SUCCEEDED"} == states_of(server, runs["adds_up"]) == states_of(server, runs["goes_on"])
    assert {"late:1": "FAILED"} == states_of(server, runs["times_out"])
    assert "RuntimeError('no plan')" == runs["cannot_be_built"]["error"]
    assert "ValueError('bad ☃')" in tasks_of(server, runs["fails_fast"])["boom:1"]["error"]


# R013 R165
def test_a_cancelled_run_is_cancelled_with_what_ran_in_it(server: Server, programs: Programs) -> None:
    programs.run(
        """
        import asyncio, signal
        from auto_workflow import flow, task

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run that a shell started with & ignores it

        @task
        async def waits():
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)

        @flow
        def interrupted(): return waits()

        interrupted.run()
        """,
        fails=True,
    )

    (run,) = runs_of(server, "interrupted")
    assert ("CANCELLED", {"waits:1": "CANCELLED"}) == (run["status"], states_of(server, run))

"""Programs of auto-workflow from outside: seen while they run, killed, in other processes, with sinks of their own, and what they print."""

from __future__ import annotations

from tests.engines.programs import Programs, lines_of, runs_of, states_of, tasks_of
from tests.servers import Server


# R164
def test_a_task_in_a_process_pool_is_seen_with_its_lines(server: Server, programs: Programs) -> None:
    programs.run(
        """
        import logging
        from auto_workflow import flow, task

        @task(run_in="process")
        def heavy():
            import logging
            logging.getLogger("mine").warning("from another process")
            return 1

        @flow
        def in_processes(): return heavy()

        if __name__ == "__main__":
            assert in_processes.run() == 1
        """
    )

    (run,) = runs_of(server, "in_processes")
    assert ("SUCCEEDED", {"heavy:1": "SUCCEEDED"}) == (run["status"], states_of(server, run))
    assert [("heavy:1", "WARNING", "from another process")] == lines_of(server, run)


# R009 R164
def test_a_task_is_seen_while_it_runs(server: Server, programs: Programs) -> None:
    code = """
        import logging, sys
        from auto_workflow import flow, task

        @task
        def first(): return 1

        @task
        def waits(_):
            logging.getLogger().warning("waiting")
            sys.stdin.readline()

        @task
        def later(_): return 3

        @flow
        def live(): return later(waits(first()))

        live.run()
        """
    with programs.running(code) as program:
        found = server.wait_for("/api/v1/runs?limit=200", lambda answer: any(run["flow_name"] == "live" for run in answer["items"]))
        run = next(run for run in found["items"] if run["flow_name"] == "live")
        path = f"/api/v1/runs/{run['run_id']}/tasks"
        tasks = server.wait_for(path, lambda answer: {"RUNNING"} <= {task["status"] for task in answer["items"]})["items"]
        server.wait_for(f"/api/v1/runs/{run['run_id']}/logs", lambda answer: [line["message"] for line in answer["items"]] == ["waiting"])
        running = server.run(run["run_id"])
        program.communicate("go on\n", timeout=60)

    assert {"first:1": "SUCCEEDED", "waits:1": "RUNNING", "later:1": "PENDING"} == {task["id"]: task["status"] for task in tasks}
    assert ("RUNNING", None) == (running["status"], running["hint"])
    assert {"SUCCEEDED"} == set(states_of(server, runs_of(server, "live")[0]).values())


# R013
def test_a_killed_program_leaves_a_lost_run_with_everything_sent_before(server: Server, programs: Programs) -> None:
    code = """
        import sys
        from auto_workflow import flow, task

        @task
        def first(): return 1

        @task
        def waits(_): sys.stdin.readline()

        @flow
        def killed(): return waits(first())

        killed.run()
        """
    with programs.running(code) as program:
        found = server.wait_for("/api/v1/runs?limit=200", lambda answer: any(run["flow_name"] == "killed" for run in answer["items"]))
        run = next(run for run in found["items"] if run["flow_name"] == "killed")
        path = f"/api/v1/runs/{run['run_id']}"
        server.wait_for(f"{path}/tasks", lambda answer: "RUNNING" in {task["status"] for task in answer["items"]})
        program.kill()
        lost = server.wait_for(path, lambda answer: answer["hint"] is not None)

    assert ("RUNNING", "LOST") == (lost["status"], lost["hint"]["kind"])
    assert {"first:1": "SUCCEEDED", "waits:1": "RUNNING"} == states_of(server, run)


# R170 R173
def test_a_sink_subscribed_by_hand_beside_the_bridge_doubles_nothing(server: Server, programs: Programs) -> None:
    done = programs.run(
        """
        import logging
        from auto_workflow import flow, subscribe, task
        from otel_bridge import post_event_sink

        heard = []
        for name in ("flow_started", "flow_completed", "task_started", "task_succeeded", "task_failed", "task_retry"):
            subscribe(name, post_event_sink)
            subscribe(name, heard.append)

        @task(retries=1)
        def flaky():
            if not tried:
                tried.append(1)
                raise OSError("try again")

        tried = []

        @flow
        def sinks(): return flaky()

        sinks.run()
        print(len(heard))
        """
    )

    (run,) = runs_of(server, "sinks")
    assert "5" == done.stdout.strip().splitlines()[-1]
    assert (1, 2) == (len(tasks_of(server, run)), tasks_of(server, run)["flaky:1"]["attempt"])
    assert [] == lines_of(server, run)


# R161
def test_one_shared_sink_is_enough_where_nothing_is_bound(server: Server, programs: Programs) -> None:
    programs.run(
        """
        import os
        url = os.environ.pop("FLOWSPAN_URL")
        import auto_workflow, otel_bridge
        from auto_workflow import flow, subscribe, task
        otel_bridge.configure(url=url)
        for name in ("flow_started", "flow_completed", "task_started", "task_succeeded", "task_failed", "task_retry"):
            subscribe(name, otel_bridge.post_event_sink)

        @task
        def one(): return 1

        @flow
        def by_hand(): return one()

        by_hand.run()
        """,
        FLOWSPAN_BRIDGE_SPOOL="off",
        PYTHONPATH=str(programs.root),
    )

    (run,) = runs_of(server, "by_hand")
    assert ("SUCCEEDED", {"one:1": "SUCCEEDED"}) == (run["status"], states_of(server, run))


# R173
def test_what_a_program_prints_and_logs_is_the_same_with_and_without_the_bridge(server: Server, programs: Programs) -> None:
    code = """
        import logging
        logging.getLogger("early").warning("nothing is set up yet")
        from auto_workflow import flow, task
        logging.getLogger("later").warning("nor now")
        logging.basicConfig(format="%(name)s %(message)s", level=logging.INFO)

        @task
        def speaks():
            logging.getLogger("mine").info("hello %s", "you")
            logging.getLogger("mine").info("%d", "no number")
            print("printed")

        @flow
        def same(): return speaks()

        same.run()
        print(logging.getLogger().handlers, same.name, same.run.__name__, same.describe()["count"])
        """

    watched, alone = programs.run(code), programs.run(code, FLOWSPAN_URL="")

    assert alone.stdout == watched.stdout
    assert [line for line in alone.stderr.splitlines() if _is_steady(line)] == [
        line for line in watched.stderr.splitlines() if _is_steady(line)
    ]


def _is_steady(line: str) -> bool:
    return line.startswith(("nothing", "nor", "mine", "TypeError"))

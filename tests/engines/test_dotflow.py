"""The real dotflow, watched without a call in the flow's code: in every mode the right states, tasks, attempts and lines, while it runs."""

from __future__ import annotations

from datetime import datetime

from tests.engines.dotflow_programs import STEPS, seen
from tests.engines.programs import Programs, lines_of, runs_of, states_of, tasks_of
from tests.servers import Server

# What the programs of several tests begin with.


# R166 R167 R173
def test_a_sequential_workflow_is_seen_with_its_tries_its_failure_and_what_never_ran(server: Server, programs: Programs) -> None:
    programs.write("from dotflow import action\n\n@action\ndef fetch(): return 1\n", "remote.py")
    said = programs.run(
        STEPS
        + """
tries = []

@action(retry=3, retry_delay=0)
def load(previous_context):
    tries.append(1)
    if len(tries) < 3:
        raise OSError(f"busy {len(tries)}")
    log.info("%s loaded", previous_context.storage)

@action
class Report:
    @action
    def write(self): return "written"

flow = DotFlow(workflow_id="00000000-0000-4000-8000-000000000001")
flow.task.add(step=extract, initial_context={"day": {1}, "nan": float("nan")})
flow.task.add(step=[load, Report, "remote.fetch", boom, never])
flow.start()
print(*(task.task_id for task in flow.result_task()))
"""
    )

    (run,) = runs_of(server, "program")
    tasks = tasks_of(server, run)
    nodes = ["extract:1", "load:1", "Report:1", "fetch:1", "boom:1", "never:1"]
    assert ("FAILED", "program:program", "00000000-0000-4000-8000-000000000001") == (run["status"], run["flow_key"], run["run_id"])
    assert [*["SUCCEEDED"] * 4, "FAILED", "SKIPPED"] == [tasks[node]["status"] for node in nodes]
    assert [[], *([node] for node in nodes[:-1])] == [tasks[node]["upstream"] for node in nodes]
    assert ["program:extract", "program:Report", "remote:fetch"] == [tasks[node]["task_key"] for node in ("extract:1", "Report:1", "fetch:1")]
    assert (1, 3, "ValueError('bad \u2603')") == (tasks["extract:1"]["attempt"], tasks["load:1"]["attempt"], tasks["boom:1"]["error"])
    assert {"extract:1": {"day": [1], "nan": "nan"}} == run["params"]
    assert ("sequential", 6, 6) == (run["metadata"]["mode"], run["tasks_declared"], len(tasks))
    lines = lines_of(server, run)
    assert ("load:1", "INFO", "[1, 2] loaded") in lines
    as_stored = server.get(f"/api/v1/traces/{run['trace_ids'][0]}").text
    assert [] == [what for what in (*said.stdout.split()[:5], "in boom", "flowspan.event.task_id") if what not in as_stored]
    assert [] == [message for _, _, message in lines if " - In progress" in message or " - Completed" in message]


# R166 R163
def test_a_background_workflow_is_seen_while_it_runs_and_as_cancelled_if_the_program_ends_first(server: Server, programs: Programs) -> None:
    code = (
        STEPS
        + """
tries = []

@action(retry=2, retry_delay=0)
def ask():
    tries.append(1)
    if len(tries) == 1:
        raise OSError("not yet")
    log.info("asking")
    sys.stdin.readline()

waiting = threading.Event()

@action
def wait():
    waiting.set()
    threading.Event().wait()

after_all = threading.Event()

def stay(task):
    after_all.set()
    threading.Event().wait()

def flow(name, *steps, **more):
    made = DotFlow(name=name)
    made.task.add(step=list(steps), **more)
    return made.start(mode="background")

flow("asked", extract, ask, never).thread.join()
flow("left", extract, wait, never)
flow("all done", never, callback=stay)
waiting.wait()
after_all.wait()
log.info("said outside of both")
"""
    )

    with programs.running(code) as program:
        asking = seen(server, "asked", "RUNNING", "ask:1")
        while_it_runs = server.run(asking["run_id"])["status"], states_of(server, asking), lines_of(server, asking)
        assert program.stdin is not None
        program.stdin.write("go on\n")
        program.stdin.flush()
        program.wait(60)

    assert (2, "OSError('not yet')") == (tasks_of(server, asking)["ask:1"]["attempt"], _first_error(server, asking["run_id"], "ask:1"))
    assert ("RUNNING", {"extract:1": "SUCCEEDED", "ask:1": "RUNNING", "never:1": "PENDING"}) == while_it_runs[:2]
    (asked,), (left,), (all_done,) = runs_of(server, "asked"), runs_of(server, "left"), runs_of(server, "all done")
    assert ("SUCCEEDED", []) == (all_done["status"], lines_of(server, all_done))
    assert "said outside of both" not in {message for _, _, message in lines_of(server, left)}
    assert ("SUCCEEDED", {"SUCCEEDED"}) == (asked["status"], set(states_of(server, asked).values()))
    assert ("CANCELLED", {"extract:1": "SUCCEEDED", "wait:1": "CANCELLED", "never:1": "SKIPPED"}) == (left["status"], states_of(server, left))


def _first_error(server: Server, run_id: str, node: str) -> str:
    task = next(task for task in server.run(run_id, "/tasks") if task["id"] == node)
    return str(task["attempts"][0]["error"])


# R166
def test_parallel_tasks_are_seen_from_their_processes_and_one_that_dies_has_failed(server: Server, programs: Programs) -> None:
    code = (
        STEPS
        + """
@action
def die():
    log.info("about to die")
    wait_for("go")
    os._exit(3)

@action
def lose(): return lambda: "cannot be sent to the parent"

@action
def check():
    assert len([]) == 1

@action(timeout=1)
def sleep(): time.sleep(1.2)

flow = DotFlow(name="parallel")
flow.task.add(step=[extract, extract, die, lose, check, sleep, boom])
flow.start(mode="parallel")
print([task.status for task in flow.result_task()])
"""
    )

    with programs.running(code) as program:
        dying = seen(server, "parallel", "RUNNING", "die:1")
        seen(server, "parallel", "SUCCEEDED", "extract:2")
        (programs.folder / "go").touch()
        said, _ = program.communicate(timeout=60)

    assert "['Completed', 'Completed', 'Failed', 'Failed', 'Failed', 'Failed', 'Failed']" == said.strip()
    (run,) = runs_of(server, "parallel")
    tasks = tasks_of(server, run)
    assert ("FAILED", {"SUCCEEDED", "FAILED"}) == (run["status"], {task["status"] for task in tasks.values()})
    died = "RuntimeError('Worker process terminated without reporting a result')"
    errors = {node: task["error"] for node, task in tasks.items() if task["status"] == "FAILED"}
    raised = {"check:1": "AssertionError()", "sleep:1": "TimeoutError()", "boom:1": "ValueError('bad \u2603')"}
    assert {"die:1": died, "lose:1": died, **raised} == errors
    assert '"timeout"' in server.get(f"/api/v1/traces/{run['trace_ids'][0]}").text
    assert abs(_seconds(dying["started_at"]) - _seconds(tasks["die:1"]["started_at"])) < 0.01
    assert [[]] * 7 == [task["upstream"] for task in tasks.values()]
    assert ("die:1", "INFO", "about to die") in lines_of(server, run)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


# R166
def test_groups_run_beside_each_other_and_their_tasks_after_each_other(server: Server, programs: Programs) -> None:
    programs.run(
        STEPS
        + """
@action(retry=2, retry_delay=0)
def flaky():
    if not Path("tried").exists():
        Path("tried").touch()
        raise OSError("try again")

@action
def die(): os._exit(3)

def grouped(name, **more):
    flow = DotFlow(name=name)
    for group, steps in {"a": [extract, boom, never], "b": [extract, flaky, never], "c": [die, never]}.items():
        flow.task.add(step=steps, group_name=group)
    flow.start(**more)

grouped("groups", mode="sequential_group")
grouped("by itself", keep_going=True)
"""
    )

    (groups,), (by_itself,) = runs_of(server, "groups"), runs_of(server, "by itself")
    expected = {"extract:1": "SUCCEEDED", "boom:1": "FAILED", "never:1": "SKIPPED", "extract:2": "SUCCEEDED", "flaky:1": "SUCCEEDED"}
    expected |= {"never:2": "SUCCEEDED", "die:1": "FAILED", "never:3": "SKIPPED"}
    assert ("FAILED", expected) == (groups["status"], states_of(server, groups))
    assert ("FAILED", {**expected, "never:1": "SUCCEEDED"}) == (by_itself["status"], states_of(server, by_itself))
    tasks = tasks_of(server, groups)
    assert ([], ["extract:1"], ["boom:1"], [], ["extract:2"], ["flaky:1"], [], ["die:1"]) == tuple(tasks[node]["upstream"] for node in expected)
    assert (2, 1) == (tasks["flaky:1"]["attempt"], tasks_of(server, by_itself)["flaky:1"]["attempt"])

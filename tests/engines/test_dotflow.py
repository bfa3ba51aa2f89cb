"""The real dotflow, watched without a call in the flow's code: in every mode the right states, tasks, attempts and lines, while it runs."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.engines.programs import PYTHON, ROOT, Programs, lines_of, runs_of, states_of, tasks_of
from tests.servers import Server

# What the programs of several tests begin with.
STEPS = """
import logging, os, sys, threading, time
from pathlib import Path
from dotflow import Config, DotFlow, action

log = logging.getLogger("mine")
logging.basicConfig(level=logging.INFO)

@action
def extract(initial_context):
    log.info("from %s", initial_context.storage)
    return [1, 2]

@action
def boom(): raise ValueError("bad \\u2603")

@action
def never(): return 1

def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.01)
"""


def seen(server: Server, flow: str, state: str, node: str) -> dict[str, Any]:
    """Return a task run of the newest run of a flow once it is in this state."""
    path = "/api/v1/runs?limit=200"
    found = server.wait_for(path, lambda answer: any(run["flow_name"] == flow for run in answer["items"]))
    run_id = next(run["run_id"] for run in found["items"] if run["flow_name"] == flow)
    answer = server.wait_for(f"/api/v1/runs/{run_id}/tasks", lambda answer: _in_state(answer["items"], node, state))
    return next(task for task in answer["items"] if task["id"] == node)


def _in_state(tasks: list[dict[str, Any]], node: str, state: str) -> bool:
    return any((node, state) == (task["id"], task["status"]) for task in tasks)


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


# R013 R166
def test_every_way_to_end_is_told(server: Server, programs: Programs) -> None:
    programs.run(
        STEPS
        + """
from contextlib import suppress

@action
def stop(): raise KeyboardInterrupt

@action
def check(): assert len([]) == 1

def start(name, *steps, **more):
    flow = DotFlow(name=name)
    flow.task.add(step=list(steps))
    with suppress(KeyboardInterrupt, AssertionError, Exception):
        return flow.start(**more)

@action
def call():
    log.info("before")
    start("inner", extract)
    log.info("after")

start("interrupted", extract, stop, never)
start("asserted", check, never)
start("unasserted", check, never, mode="background").thread.join()
start("misspelt", extract, mode="sequentially")
start("kept", boom, never, keep_going=True)
start("outer", call)
"""
    )

    states = {run["flow_name"]: (run["status"], *states_of(server, run).values()) for run in _newest(server)}
    assert {
        "interrupted": ("CANCELLED", "SUCCEEDED", "CANCELLED", "SKIPPED"),
        "asserted": ("FAILED", "FAILED", "SKIPPED"),
        "unasserted": ("FAILED", "FAILED", "SKIPPED"),
        "misspelt": ("FAILED", "SKIPPED"),
        "kept": ("FAILED", "FAILED", "SUCCEEDED"),
        "inner": ("SUCCEEDED", "SUCCEEDED"),
        "outer": ("SUCCEEDED", "SUCCEEDED"),
    } == {name: states[name] for name in ("interrupted", "asserted", "unasserted", "misspelt", "kept", "inner", "outer")}
    (outer,), (inner,) = runs_of(server, "outer"), runs_of(server, "inner")
    assert (outer["run_id"], "call:1") == (inner["metadata"]["flowspan.parent.run.id"], inner["metadata"]["flowspan.parent.node"])
    assert {"before", "after"} <= {message for node, _, message in lines_of(server, outer) if node == "call:1"}


def _newest(server: Server) -> list[dict[str, Any]]:
    runs_of(server, "outer")
    runs: list[dict[str, Any]] = server.get_json("/api/v1/runs?limit=200")["items"]
    return runs


# R037
def test_a_second_start_is_another_execution_and_says_what_it_did_not_run_again(server: Server, programs: Programs) -> None:
    programs.run(
        STEPS
        + """
from dotflow.providers import StorageFile

flow = DotFlow(name="again", config=Config(storage=StorageFile(path="checkpoints")))
flow.task.add(step=never, group_name="a").add(step=never, group_name="b")
flow.start()
flow.start()
flow.task.add(step=boom, group_name="b")
flow.start(resume=True)
"""
    )

    second, first = runs_of(server, "again", 2)
    assert [(first["run_id"], 0, "SUCCEEDED"), (first["run_id"], 1, "FAILED")] == [
        (run["run_id"], run["generation"], run["status"]) for run in (first, second)
    ]
    assert {"never:1": "SUCCEEDED", "never:2": "SUCCEEDED"} == _states(server, first)
    assert {"never:1": "SUCCEEDED", "never:2": "SUCCEEDED", "boom:1": "FAILED"} == _states(server, second)
    lines = sorted(line for line in lines_of(server, second) if line[1] == "INFO")
    assert [(node, "INFO", "restored from a checkpoint, not run again") for node in ("never:1", "never:2")] == lines


def _states(server: Server, run: dict[str, Any]) -> dict[str, str]:
    """Return the state of each node of a run that has twins."""
    tasks = server.get_json(f"/api/v1/runs/{run['run_id']}/tasks?generation={run['generation']}")["items"]
    return {task["id"]: task["status"] for task in tasks}


# R170 R173
def test_a_tracer_that_is_in_use_stays_in_use_and_ours_goes_away_again(server: Server, programs: Programs) -> None:
    programs.run(
        STEPS
        + """
import pickle
from dotflow.providers import MetricsDefault, TracerOpenTelemetry
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_bridge.integrations import dotflow as integration
from otel_bridge.integrations.dotflow import FlowspanTracer

class Counts(MetricsDefault):
    def __init__(self): self.completed, self.tried = 0, 0
    def task_completed(self, task): self.completed += 1
    def task_retried(self, task): self.tried += 1

tries = []

@action(retry=2, retry_delay=0)
def flaky():
    tries.append(1)
    if len(tries) == 1: raise OSError("busy")

def start(name, tracer, *steps):
    config = Config(tracer=tracer, metrics=Counts())
    flow = DotFlow(name=name, config=config)
    flow.task.add(step=list(steps))
    flow.start()
    return config

theirs = TracerOpenTelemetry(service_name="theirs")
spans = InMemorySpanExporter()
theirs._trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(spans))

config = start("beside", theirs, flaky, extract)
names = [span.name.partition(":")[0] for span in spans.get_finished_spans()]
assert names == ["task", "task", "workflow"], names
assert len({span.context.trace_id for span in spans.get_finished_spans()}) == 1
assert (config.metrics.completed, config.metrics.tried) == (2, 1)
assert config.tracer._tracer is theirs._tracer

@action
def pickled():
    pickle.loads(pickle.dumps((sent._config.tracer, sent._config.metrics)))

sent = DotFlow(name="pickled")
sent.task.add(step=pickled)
sent.start()

integration.unbind()
assert config.tracer is theirs
start("unseen", None, extract)
start("said", FlowspanTracer(), extract, never)
start("unseen too", None, extract)
"""
    )

    (said,), (beside,), (pickled,) = runs_of(server, "said"), runs_of(server, "beside"), runs_of(server, "pickled")
    assert {"extract:1": "SUCCEEDED", "never:1": "SUCCEEDED"} == states_of(server, said)
    assert (2, "SUCCEEDED") == (tasks_of(server, beside)["flaky:1"]["attempt"], pickled["status"])
    names = [run["flow_name"] for run in server.get_json("/api/v1/runs?limit=200")["items"]]
    assert (1, 0, 0) == (names.count("beside"), names.count("unseen"), names.count("unseen too"))


# R163 R168
def test_children_that_end_at_once_lose_nothing_with_a_server_and_without(server: Server, programs: Programs) -> None:
    code = (
        STEPS
        + """
@action
def short(initial_context):
    log.info("line %d", initial_context.storage)

for _ in range(2):
    flow = DotFlow(name=sys.argv[0].rpartition("/")[2])
    for part in range(8):
        flow.task.add(step=short, initial_context=part)
    flow.start(mode="parallel")
"""
    )

    programs.run(code)
    online = [_whole(server, run) for run in runs_of(server, "program.py", 2)]
    server.stop()
    programs.run(code.replace("sys.argv[0]", "'offline'"))
    server.start()
    with programs.running("from otel_bridge.runs import Run, RunName; Run(RunName('next', 'next')).begin(); input()"):
        server.wait_for("/api/v1/runs?limit=200", lambda _: _is_empty(programs.folder / "spool.db"))
        offline = [_whole(server, run) for run in runs_of(server, "offline", 2)]

    expected = {f"short:{number}": ("SUCCEEDED", f"line {number - 1}") for number in range(1, 9)}
    assert [expected] * 2 == online
    assert [expected] * 2 == offline


def _whole(server: Server, run: dict[str, Any]) -> dict[str, tuple[str, str]]:
    lines = {node: message for node, _, message in lines_of(server, run)}
    return {node: (state, lines.get(node, "")) for node, state in states_of(server, run).items()}


def _is_empty(spool: Path) -> bool:
    with closing(sqlite3.connect(spool)) as connection:
        return bool(connection.execute("SELECT count(*) = 0 FROM parcels").fetchone()[0])


# R171
def test_the_example_is_started_by_one_line(server: Server, programs: Programs) -> None:
    command = [str(PYTHON), "-m", "otel_bridge.command", "run", str(PYTHON), str(ROOT / "examples" / "dotflow_pipeline.py")]
    environment = {**programs.environment(), "PYTHONPATH": str(ROOT)}

    subprocess.run(command, env=environment, cwd=programs.folder, check=True, capture_output=True, timeout=60)

    (report,), (sources,) = runs_of(server, "report"), runs_of(server, "sources")
    assert {"extract:1": "SUCCEEDED", "clean:1": "SUCCEEDED", "load:1": "SUCCEEDED"} == states_of(server, report)
    assert (2, "dotflow_pipeline:report") == (tasks_of(server, report)["clean:1"]["attempt"], report["flow_key"])
    assert {"extract:1": "SUCCEEDED", "extract:2": "SUCCEEDED", "extract:3": "SUCCEEDED"} == states_of(server, sources)
    assert ("extract:2", "WARNING", "customers: part 3 of 3 read") in lines_of(server, sources)

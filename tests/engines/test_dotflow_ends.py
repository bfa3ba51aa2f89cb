"""How workflows of dotflow end, start again and stand beside other tracers; children that end at once; the example."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.engines.dotflow_programs import STEPS
from tests.engines.programs import PYTHON, ROOT, Programs, lines_of, runs_of, states_of, tasks_of
from tests.servers import Server

# What the programs of several tests begin with.


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

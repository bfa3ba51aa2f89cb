"""Small programs that tell of themselves, each in a process of its own; and what a server was told, read from its requests."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_bridge import conventions as c
from tests.bad_servers import PATIENCE_S, Request
from tests.servers import clean_environment

ROOT = Path(__file__).parents[1]
PROLOGUE = """
import sys
from otel_bridge import bridge
from otel_bridge.runs import Run, RunName

def tell(name, lines=3):
    run = Run(RunName(name, "flow"))
    run.begin()
    for number in range(lines):
        node = run.new_node("task")
        run.begin_task(node, "task")
        run.log(f"{name} line {number}", node=node)
        run.end_task(node)
    run.end()
"""


def environment(url: str, spool: Path, **added: str) -> dict[str, str]:
    """Return the environment of a program that is watched. Its signs of life are rare, so that requests can be counted."""
    told = {"FLOWSPAN_URL": url, "FLOWSPAN_BRIDGE_SPOOL": str(spool), "FLOWSPAN_BRIDGE_HEARTBEAT_S": "600", "PYTHONPATH": str(ROOT)}
    return clean_environment(**{**told, **added})


def run_program(code: str, url: str, spool: Path, options: Sequence[str] = (), **added: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, after PROLOGUE; options: of its interpreter; added: to its environment."""
    command = [sys.executable, *options, "-c", PROLOGUE + textwrap.dedent(code)]
    return subprocess.run(command, env=environment(url, spool, **added), capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@contextmanager
def running_program(code: str, url: str, spool: Path, **added: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program beside the test, which writes to its standard input and reads what it prints. Killed at the end."""
    command = [sys.executable, "-c", PROLOGUE + textwrap.dedent(code)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=environment(url, spool, **added), text=True, **pipes)  # type: ignore[call-overload]  # pipes
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def step(process: subprocess.Popen[str]) -> str:
    """Let a program go on that reads a line, and return the line it prints then."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def ends_of(requests: Iterable[Request]) -> Counter[str]:
    """Return how often each finished span was told: "run of r1", "task:1 of r1"."""
    found: Counter[str] = Counter()
    for request in requests:
        if request.target == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    said = {one.key: one.value.string_value for one in span.attributes}
                    found[f"{said.get(c.TASK_RUN_ID, 'run')} of {said[c.PIPELINE_RUN_ID]}"] += 1
    return found


def lines_of(requests: Iterable[Request]) -> Counter[str]:
    """Return how often each log line was told."""
    found: Counter[str] = Counter()
    for request in requests:
        if request.target == "/v1/logs":
            for resource in ExportLogsServiceRequest.FromString(request.body).resource_logs:
                records = (record for scope in resource.scope_logs for record in scope.log_records)
                found.update(record.body.string_value for record in records if record.body.string_value)
    return found


def all_of(name: str, lines: int = 3) -> tuple[Counter[str], Counter[str]]:
    """Return the ends and the lines of `tell(name, lines)`, each once."""
    ends = [f"run of {name}", *(f"task:{number + 1} of {name}" for number in range(lines))]
    return Counter(ends), Counter(f"{name} line {number}" for number in range(lines))


def told(requests: Iterable[Request]) -> tuple[Counter[str], Counter[str]]:
    """Return the ends and the lines that were told."""
    requests = list(requests)
    return ends_of(requests), lines_of(requests)

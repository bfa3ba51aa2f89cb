"""The demo and the example, as a person starts them, against a real server: what the read API then says of their runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from otel_bridge.demo.event_reporter import EventReporter
from otel_bridge.demo.nightly_sales import nightly_sales
from otel_bridge.demo.pipeline import Reporter
from otel_bridge.demo.runner import Runner
from otel_bridge.demo.sdk_reporter import SdkReporter
from otel_bridge.demo.server import Server as Address
from tests.servers import PATIENCE_S, Server, clean_environment

MODES = ("sdk", "events", "both")
PACE = "0.05"
EXAMPLE = Path(__file__).parents[2] / "examples" / "data_pipeline.py"

LOST = "ConnectionError: the warehouse closed the connection"
BAD_SCORE = "ValueError: cannot score an empty segment: b2b"

# node -> state, error, attempts as (number, state, error)
EXPECTED_TASKS = {
    **{node: ("SUCCEEDED", None, []) for node in ("extract_orders", "extract_customers", "extract_rates", "clean:1", "clean:2", "clean:3")},
    "load_warehouse": ("SUCCEEDED", None, [(1, "FAILED", LOST), (2, "SUCCEEDED", None)]),
    "score_model": ("FAILED", BAD_SCORE, []),
    "publish_report": ("SKIPPED", None, []),
    "send_summary": ("SUCCEEDED", None, []),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server all tests of this module share."""
    with Server(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture(scope="module")
def runs(server: Server) -> dict[str, str]:
    """The demo's three runs, over: mode -> run id."""
    demo = start_demo(server.url, "--pace", PACE)
    assert (0, "") == (demo.returncode, demo.stderr)
    run_ids = [run_id_in(line) for line in demo.stdout.splitlines()]
    return {mode: run_id for mode in MODES for run_id in run_ids if f"-{mode}-" in run_id}


def start_demo(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return start("-m", "otel_bridge.demo", "--url", url, *options)


def start(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env=clean_environment(**environment), capture_output=True, text=True, timeout=60, check=False
    )


def run_id_in(line: str) -> str:
    return unquote(line.split()[0].rpartition("/runs/")[2])


def told(task: dict[str, Any]) -> tuple[str, str | None, list[tuple[int, str, str | None]]]:
    return task["status"], task["error"], [(one["number"], one["status"], one["error"]) for one in task["attempts"]]


# --- the demo, three ways --------------------------------------------------------------------------------------------------------------


# R001 R020 R023 R193
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_ends_in_the_same_task_runs_states_attempts_and_errors(server: Server, runs: dict[str, str], mode: str) -> None:
    tasks = server.run(runs[mode], "/tasks")

    assert EXPECTED_TASKS == {task["id"]: told(task) for task in tasks}
    assert len(EXPECTED_TASKS) == len(tasks)


# R001 R020 R023
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_ends_in_one_failed_run_with_its_parameters(server: Server, runs: dict[str, str], mode: str) -> None:
    run = server.run(runs[mode])

    assert ("nightly_sales", "FAILED", BAD_SCORE) == (run["flow_name"], run["status"], run["error"])
    assert {"SUCCEEDED": 8, "FAILED": 1, "SKIPPED": 1} == run["counts"]
    assert {"day": "2026-11-20", "shop": "eu", "batch_rows": 4000} == run["params"]
    assert {"deployment.environment.name": "demo"} == run["metadata"]
    assert ["demo", "sales"] == run["tags"]


# R023
def test_a_run_told_through_both_doors_is_one_run_of_two_traces(server: Server, runs: dict[str, str]) -> None:
    both = server.run(runs["both"])

    listed = server.wait_for("/api/v1/runs?kind=all", lambda answer: is_settled(answer["items"], runs.values()))["items"]

    assert sorted(runs.values()) == sorted(run["run_id"] for run in listed if run["run_id"] in runs.values())
    assert not {run["run_id"] for run in listed} & set(both["trace_ids"])
    assert 2 == len(both["trace_ids"])


def is_settled(listed: Sequence[dict[str, Any]], run_ids: Collection[str]) -> bool:
    return all(run["kind"] == "run" and (run["status"] == "FAILED" or run["run_id"] not in run_ids) for run in listed)


# R001 R020 R021
@pytest.mark.parametrize("mode", MODES)
def test_log_lines_and_exceptions_stand_at_their_task_once(server: Server, runs: dict[str, str], mode: str) -> None:
    lines = server.run(runs[mode], "/logs?task=score_model")

    assert [
        ("INFO", "loading model churn-7"),
        ("WARNING", "segment b2b has no orders"),
        ("ERROR", BAD_SCORE),
    ] == [(line["level"], line["message"]) for line in lines]


# --- live ------------------------------------------------------------------------------------------------------------------------------


def reporters_of(mode: str, address: Address, run_id: str) -> Sequence[Reporter]:
    made = {"sdk": SdkReporter, "events": EventReporter}
    return [make(address, nightly_sales(run_id)) for word, make in made.items() if mode in (word, "both")]


# R021
@pytest.mark.parametrize("mode", MODES)
def test_a_begun_run_is_running_and_shows_its_tasks_before_any_span_has_ended(server: Server, mode: str) -> None:
    run_id = f"begun/{mode}"
    runner = Runner(nightly_sales(run_id), reporters_of(mode, Address(server.url), run_id), pace=0.0)

    runner.begin()
    begun, announced = server.run(run_id), server.run(run_id, "/tasks")
    runner.work()

    assert "RUNNING" == begun["status"]
    assert dict.fromkeys(EXPECTED_TASKS, "PENDING") == {task["id"]: task["status"] for task in announced}
    assert "FAILED" == server.run(run_id)["status"]


# --- what a person sees when it does not work ------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_one_line_and_exit_code_1() -> None:
    demo = start_demo("http://127.0.0.1:9", "--only", "sdk")

    assert (1, "") == (demo.returncode, demo.stdout)
    assert ["flowspan demo: cannot reach http://127.0.0.1:9: [Errno 111] Connection refused"] == demo.stderr.splitlines()


def test_a_server_that_wants_a_key_gets_it_or_is_told_of_in_one_line(tmp_path: Path) -> None:
    with Server(tmp_path, SERVER_API_KEY="a-key") as server:
        without = start_demo(server.url, "--only", "both", "--pace", "0")
        with_key = start_demo(server.url, "--only", "both", "--pace", "0", "--api-key", "a-key")

    assert (1, 1) == (without.returncode, len(without.stderr.splitlines()))
    assert "401" in without.stderr
    assert (0, "") == (with_key.returncode, with_key.stderr)


# --- the example -----------------------------------------------------------------------------------------------------------------------


# R020 R193
def test_the_example_program_shows_up_as_a_run_with_its_tasks_and_lines(server: Server) -> None:
    example = start(str(EXAMPLE), OTEL_EXPORTER_OTLP_ENDPOINT=server.url, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")

    assert (0, "") == (example.returncode, example.stderr)
    listed = server.wait_for("/api/v1/runs?flow=data_pipeline", lambda answer: len(answer["items"]) == 1)
    run_id = listed["items"][0]["run_id"]
    assert "SUCCEEDED" == server.run(run_id)["status"]
    assert dict.fromkeys(("extract", "clean", "load"), "SUCCEEDED") == {task["id"]: task["status"] for task in server.run(run_id, "/tasks")}
    assert 9 == len(server.run(run_id, "/logs"))


# --- both in one command ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_told_to_stop_ends_with_its_pipeline(tmp_path: Path, told: signal.Signals) -> None:
    command = [sys.executable, "-m", "collector", "demo", "--port", "0", "--pace", "100"]
    environment = clean_environment(FLOWSPAN_DATA_DIR=str(tmp_path))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            greeting, first_run = demo.stdout.readline(), demo.stdout.readline()

            demo.send_signal(told)
            # The pipeline has the same standard output: this ends when both have ended.
            rest, _ = demo.communicate(timeout=PATIENCE_S)
        finally:
            demo.kill()

    assert greeting.startswith("Flowspan demo: http://127.0.0.1:")
    assert greeting.endswith("open a run below and watch it; Ctrl-C ends it\n")
    assert ("nightly-sdk-" in first_run, "", 0) == (True, rest, demo.returncode)


def test_a_pipeline_that_is_interrupted_leaves_its_tasks_and_ends(server: Server) -> None:
    command = [sys.executable, "-m", "otel_bridge.demo", "--url", server.url, "--pace", "100"]
    # A test run that a shell started with & ignores SIGINT, and its children would too.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True, preexec_fn=listen) as pipeline:
        try:
            assert pipeline.stdout is not None
            pipeline.stdout.readline()

            pipeline.send_signal(signal.SIGINT)

            assert 130 == pipeline.wait(timeout=PATIENCE_S)
        finally:
            pipeline.kill()

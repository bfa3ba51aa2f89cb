"""Opting in by environment: what switches the bridge on, and that nothing of it is there where nothing asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.engines.programs import ENGINES, PRELOAD, PROGRAM_S, PYTHON, Programs, runs_of
from tests.servers import Server

FLOWSPAN = str(ENGINES / "bin" / "flowspan")
KEY = "change-me"

ONE_TASK = """
    import sys
    from auto_workflow import flow, task

    @task
    def one(): return 1

    @flow(name=sys.argv[1])
    def named(): return one()

    named.run()
    sys.exit(int(sys.argv[2]))
"""


def call(programs: Programs, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does in a shell that knows nothing of the bridge."""
    environment = {"PYTHONPATH": "", "FLOWSPAN_URL": "", **environment}
    return subprocess.run(
        words, env=programs.environment(**environment), capture_output=True, text=True, timeout=PROGRAM_S, cwd=programs.folder, check=False
    )


# R160
def test_flowspan_run_shows_a_program_and_passes_its_arguments_and_exit_code(server: Server, programs: Programs) -> None:
    program = str(programs.write(ONE_TASK))

    done = call(programs, FLOWSPAN, "run", "--url", server.url, str(PYTHON), program, "by_command", "3")

    assert (3, "SUCCEEDED") == (done.returncode, runs_of(server, "by_command")[0]["status"])


def test_flowspan_run_says_what_it_cannot_start(programs: Programs) -> None:
    missing, nothing = call(programs, FLOWSPAN, "run", "no-such-program"), call(programs, FLOWSPAN, "run")

    assert (127, "flowspan run: no-such-program: No such file or directory\n") == (missing.returncode, missing.stderr)
    assert (2, True) == (nothing.returncode, "flowspan run python my_flow.py" in nothing.stderr)


def test_the_help_of_the_whole_command_names_its_light_half(programs: Programs) -> None:
    help_text = call(programs, sys.executable, "-m", "otel_bridge.command", "--help", PYTHONPATH=str(programs.root)).stdout

    told = " ".join(help_text.split())
    assert ("serve" in told, "flowspan run python my_flow.py" in told, "flowspan preload" in told) == (True, True, True)


# R160
def test_two_variables_of_auto_workflow_and_the_preload_path_are_enough(programs: Programs) -> None:
    program = str(programs.write(ONE_TASK))
    path = call(programs, FLOWSPAN, "preload").stdout.strip()
    with Server(programs.folder / "locked", SERVER_API_KEY=KEY) as locked:
        keys = {"AUTO_WORKFLOW_SERVER_URL": locked.url, "AUTO_WORKFLOW_SERVER_API_KEY": KEY}

        done = call(programs, str(PYTHON), program, "by_variables", "0", PYTHONPATH=path, **keys)

        found = locked.wait_for("/api/v1/runs", lambda answer: bool(answer["items"]), headers={"x-api-key": KEY})["items"]
    assert (0, ["by_variables"]) == (done.returncode, [run["flow_name"] for run in found])


# R173 R203
def test_without_an_address_nothing_of_the_bridge_is_there(programs: Programs) -> None:
    program = programs.write(
        """
        import auto_workflow, json, logging, sys
        loaded = [name for name in sys.modules if name.startswith(("otel_bridge", "opentelemetry"))]
        finders = [type(finder).__module__ for finder in sys.meta_path]
        made_by = logging.getLogRecordFactory().__module__
        print(json.dumps([sorted(loaded), "otel_bridge.import_hook" in finders, auto_workflow.Flow.run.__module__, made_by]))
        """
    )

    done = call(programs, str(PYTHON), str(program), PYTHONPATH=str(PRELOAD))

    loaded, has_finder, run_of, factory_of = json.loads(done.stdout)
    assert (False, "auto_workflow.flow", "logging") == (has_finder, run_of, factory_of)
    assert [] == [name for name in loaded if name not in LIGHT], done.stderr


# What looking at the environment loads.
LIGHT = {f"otel_bridge{module}" for module in ("", ".autobind", ".guard", ".switches")}


# R203
def test_importing_the_bridge_loads_neither_the_sdk_nor_what_an_engine_brings(programs: Programs) -> None:
    heavy = ("opentelemetry", "asyncio", "http", "ssl", "sqlite3", "concurrent", "auto_workflow", "google")
    code = f"import sys, otel_bridge; print([name for name in sys.modules if name.partition('.')[0] in {heavy!r}])"

    assert "[]" == call(programs, str(PYTHON), "-c", code, FLOWSPAN_URL=programs.url).stdout.strip()


def test_the_sitecustomize_that_ours_hides_is_run_too(programs: Programs) -> None:
    hidden = programs.folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import builtins; builtins.hidden_was_here = True")

    done = call(programs, str(PYTHON), "-c", "print(hidden_was_here)", PYTHONPATH=os.pathsep.join([str(PRELOAD), str(hidden)]))

    assert ("True", "") == (done.stdout.strip(), done.stderr)


def test_a_python_without_flowspan_starts_and_says_so_once(programs: Programs) -> None:
    bare = str(Path(sys._base_executable))  # type: ignore[attr-defined]  # the Python a venv was made of

    silent = call(programs, bare, "-c", "print(1)", PYTHONPATH=str(PRELOAD), FLOWSPAN_URL=programs.url)
    asked = call(programs, FLOWSPAN, "run", "--url", programs.url, bare, "-c", "print(1)")

    assert ("1\n", "", "1\n") == (silent.stdout, silent.stderr, asked.stdout)
    assert 1 == asked.stderr.count("\n") and "Flowspan is not installed there" in asked.stderr

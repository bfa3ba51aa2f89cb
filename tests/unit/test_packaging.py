"""What ships, and what a light install needs."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

SERVER_ONLY = ("fastapi", "uvicorn", "sqlalchemy", "psycopg", "jinja2", "pluggy", "pydantic", "typer", "starlette", "prometheus_client")

# Makes the server's packages impossible to import, as they are where only the bridge is installed.
WITHOUT_SERVER = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {SERVER_ONLY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def _names(dependencies: list[str]) -> set[str]:
    return {dependency.partition(">")[0].partition("[")[0] for dependency in dependencies}


# R201
def test_the_top_level_is_the_fixed_one() -> None:
    folders = {"otel_bridge", "collector", "storage_plugins", "viewer", "compat_events", "deploy", "tests"}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")

    top = {name.partition("/")[0] for name in tracked if name}

    assert folders | {"docs", "examples", ".ci", "pyproject.toml", "README.md", "run"} <= top
    assert not {name for name in top if (ROOT / name).is_dir()} - folders - {"docs", "examples", ".ci"}


# R202
def test_the_packages_of_the_card_are_used() -> None:
    wanted = {"opentelemetry-sdk", "opentelemetry-exporter-otlp", "opentelemetry-proto", "fastapi", "uvicorn", "sqlalchemy", "psycopg"}

    assert wanted | {"jinja2", "pluggy"} <= _names(PROJECT["dependencies"]) | _names(PROJECT["optional-dependencies"]["server"])


# R203
def test_the_light_install_brings_the_sdk_and_its_exporter_and_nothing_else() -> None:
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} == _names(PROJECT["dependencies"])


# By engines that are there, and by Python itself at its start (tests/engines).
LOADED_LATER = {"integrations", "preload"}


# R203
def test_the_bridge_imports_without_the_server() -> None:
    paths = [path for path in (ROOT / "otel_bridge").rglob("*.py") if path.stem != "__main__" and path.parent.name not in LOADED_LATER]
    modules = [str(path.relative_to(ROOT))[:-3].replace("/", ".") for path in paths]

    done = _python(WITHOUT_SERVER + f"import {', '.join(module.removesuffix('.__init__') for module in modules)}")

    assert (0, "") == (done.returncode, done.stderr)


# R203
@pytest.mark.parametrize("package", ["collector", "storage_plugins.sqlite.plugin", "viewer.plugin", "compat_events.flow_events"])
def test_a_server_package_without_the_extra_says_which_extra_to_install(package: str) -> None:
    done = _python(_HIDE_FASTAPI + f"import {package}")

    assert "pip install 'flowspan[server]'" in done.stderr


_HIDE_FASTAPI = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "fastapi" else found(name, package)
"""


# R203
def test_the_command_without_the_server_says_so_in_one_line() -> None:
    done = _python(WITHOUT_SERVER + "from otel_bridge.command import main\nmain()")

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert "pip install 'flowspan[server]'" in done.stderr


# R204
def test_the_server_needs_3_11_and_the_bridge_3_10() -> None:
    assert ">=3.10" == PROJECT["requires-python"]
    for path in (ROOT / "otel_bridge").rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))
    assert (3, 11) <= sys.version_info[:2]


@pytest.mark.parametrize(("word", "code"), [("help", 0), ("--help", 0), ("-h", 0), ("unknown", 2), ("", 2)])
def test_run_lists_its_commands_when_asked_and_for_a_word_it_does_not_know(word: str, code: int) -> None:
    done = subprocess.run([ROOT / "run", word], capture_output=True, text=True, timeout=60, check=False)

    told, silent = (done.stdout, done.stderr) if code == 0 else (done.stderr, done.stdout)
    assert (code, "") == (done.returncode, silent)
    assert {"up", "demo", "test", "check", "bench", "lock", "help"} == {line.split()[1] for line in told.splitlines()}

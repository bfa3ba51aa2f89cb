"""The `flowspan` command's light half: `run` and `preload` for programs to watch; the server's commands, if they are installed."""

from __future__ import annotations

import os
import sys
from argparse import REMAINDER, ArgumentParser
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

GROUP = "flowspan.commands"
# The same as the server's commands answer when a person must mend something first.
MUST_BE_MENDED = 2
# What a shell answers for a command it does not find.
NOT_FOUND = 127
DEFAULT_URL = "http://127.0.0.1:8000"
PRELOAD = Path(__file__).parent / "preload"


def main() -> None:
    """Run the command line. Exits with 2 where only the bridge is installed and the server is asked for."""
    words = sys.argv[1:]
    if words[:1] == ["run"]:
        run(words[1:])
    if words[:1] == ["preload"]:
        sys.stdout.write(f"{preload_path()}\n")
        return
    try:
        for entry in entry_points(group=GROUP, name="server"):
            entry.load()()
            return
    except ModuleNotFoundError as error:
        _give_up(f"the Flowspan server is not installed ({error.name} is missing): pip install 'flowspan[server]'")
    except ImportError as error:
        _give_up(str(error))


def run(words: Sequence[str]) -> NoReturn:
    """Become the program that is named, with the engines it imports followed."""
    asked = _read_arguments(words)
    environ = dict(os.environ)
    environ["FLOWSPAN_URL"] = asked.url or environ.get("FLOWSPAN_URL") or environ.get("AUTO_WORKFLOW_SERVER_URL") or DEFAULT_URL
    if asked.api_key:
        environ["FLOWSPAN_API_KEY"] = asked.api_key
    environ["PYTHONPATH"] = preload_path()
    environ["FLOWSPAN_RUN"] = "1"
    try:
        os.execvpe(asked.program[0], asked.program, environ)  # noqa: S606  # it is what the user asked for, without a shell
    except OSError as error:
        sys.stderr.write(f"flowspan run: {asked.program[0]}: {error.strerror}\n")
        sys.exit(NOT_FOUND)


def preload_path() -> str:
    """Return a PYTHONPATH with which a program's engines are followed: what is on it already, behind the folder of our sitecustomize."""
    present = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder and folder != str(PRELOAD)]
    return os.pathsep.join([str(PRELOAD), *present])


def _read_arguments(words: Sequence[str]) -> _Asked:
    parser = ArgumentParser(prog="flowspan run", description="Run a Python program and see its flows, without a change to it.")
    parser.add_argument("--url", default="", help=f"the Flowspan server (default: $FLOWSPAN_URL, else {DEFAULT_URL})")
    parser.add_argument("--api-key", default="", help="a key it takes (default: $FLOWSPAN_API_KEY)")
    parser.add_argument("program", nargs=REMAINDER, help="the program and its arguments: python my_flow.py")
    asked = parser.parse_args(words, namespace=_Asked())
    asked.program = asked.program[1:] if asked.program[:1] == ["--"] else asked.program
    if not asked.program:
        parser.error("name the program to run: flowspan run python my_flow.py")
    return asked


class _Asked:
    url: str
    api_key: str
    program: list[str]


def _give_up(reason: str) -> NoReturn:
    sys.stderr.write(f"{reason}\n")
    sys.exit(MUST_BE_MENDED)


if __name__ == "__main__":
    main()

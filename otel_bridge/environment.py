"""Where and from what code this process runs: host, user, git revision, trigger. Read once, without starting a program."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from otel_bridge import conventions as c
from otel_bridge.json_text import json_text

# Where build and schedule systems say which revision they run, and what made them run it.
_REVISION_NAMES = ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT", "BUILDKITE_COMMIT", "GIT_SHA")
_TRIGGER_NAMES = ("FLOWSPAN_TRIGGER", "GITHUB_EVENT_NAME", "CI_PIPELINE_SOURCE", "BUILDKITE_SOURCE")
_ENVIRONMENT_NAMES = ("FLOWSPAN_ENVIRONMENT", "ENVIRONMENT", "APP_ENV")
# What the program's own file is called as a module.
_PROGRAM = ("__main__", "__mp_main__")


@lru_cache(maxsize=1)
def run_metadata() -> Mapping[str, str]:
    """Return what is known of this process's surroundings; what is not known is left out."""
    known = {
        "host": platform.node(),
        "user": _user(),
        "trigger": _first(_TRIGGER_NAMES) or ("terminal" if sys.stdin is not None and sys.stdin.isatty() else ""),
        "python": platform.python_version(),
        c.REVISION: _first(_REVISION_NAMES) or revision_of(_program_folder()),
        c.ENVIRONMENT_NAME: _first(_ENVIRONMENT_NAMES),
    }
    return {key: value for key, value in known.items() if value}


@lru_cache(maxsize=1)
def metadata_text() -> str:
    """Return `run_metadata` as JSON: to write it takes longer than all else that a run's beginning costs."""
    return json_text(run_metadata())


def program_name() -> str:
    """Return the name of the program that runs: its file without the suffix, or the package of `python -m`."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "python"


def definition_key(function: object, name: str) -> str:
    """Return `module:name`, the stable key of what a function defines; the name alone if its module is not known.

    The program's own file is `__main__` whatever it is called, and `__mp_main__` in processes that multiprocessing spawns; its name stands
    for it.
    """
    module = getattr(function, "__module__", None)
    if not isinstance(module, str):
        return name
    return f"{program_name() if module in _PROGRAM else module}:{name}"


def _program_folder() -> Path:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        return Path(file).resolve().parent if file else Path.cwd()
    except OSError:
        return Path("/")


def _first(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _user() -> str:
    return _first(("USER", "LOGNAME", "USERNAME"))


def revision_of(folder: Path) -> str:
    """Return the commit of the working tree around this folder, empty if there is none. Read from git's files (gitrepository-layout)."""
    try:
        git = next((parent / ".git" for parent in (folder, *folder.parents) if (parent / ".git").exists()), None)
        if git is None:
            return ""
        if git.is_file():  # a linked worktree or a submodule
            git = (git.parent / git.read_text(encoding="utf-8").partition(":")[2].strip()).resolve()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        return _resolve(git, head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    except (OSError, ValueError):
        return ""


def _resolve(git: Path, name: str) -> str:
    common = git / "commondir"
    shared = (git / common.read_text(encoding="utf-8").strip()).resolve() if common.exists() else git
    for folder in (git, shared):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8").strip()
    for line in (shared / "packed-refs").read_text(encoding="utf-8").splitlines():
        revision, _, found = line.partition(" ")
        if found == name:
            return revision
    return ""

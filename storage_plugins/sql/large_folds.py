"""Folds a large run for the cache: by its outline, or whole where only the whole fold can tell."""

from __future__ import annotations

from sqlalchemy import Connection

from collector.fold import fold
from collector.picture import RunPicture
from storage_plugins.sql.facts import find_place, load_facts
from storage_plugins.sql.large_run_outline import WHOLE_ONLY, to_text
from storage_plugins.sql.large_runs import newest_of_each_task, outline


def fold_large_run(connection: Connection, project: int, run_key: bytes, version: int, now_ns: int) -> tuple[RunPicture, str] | None:
    """Return a large run's picture, with the task runs the catalogue learns from, and the text of its outline. None if nothing names it."""
    found = outline(connection, project, run_key, now_ns)
    if found is not None:
        _, place = find_place(connection, project, run_key)
        return RunPicture(found.run, newest_of_each_task(connection, place, found), {}), to_text(found, version)
    facts = load_facts(connection, project, run_key)
    return (fold(run_key, facts, now_ns), WHOLE_ONLY) if facts is not None else None

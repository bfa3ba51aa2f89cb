"""Opt-in by environment: with FLOWSPAN_URL (or AUTO_WORKFLOW_SERVER_URL) set, engines are followed when the program imports them.

`install` runs before the program does, from the `sitecustomize` of `flowspan run` or of PYTHONPATH="$(flowspan preload)"; or when `otel_bridge`
is imported. It imports no engine: it waits, as an import hook, until the program does.
"""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module

from otel_bridge.guard import harmlessly
from otel_bridge.switches import URL_NAMES

# Engine's module -> ours that binds it.
ENGINES = {
    "auto_workflow": "otel_bridge.integrations.auto_workflow",
    "dotflow": "otel_bridge.integrations.dotflow",
    "celery": "otel_bridge.integrations.celery",
    "rq": "otel_bridge.integrations.rq",
    "ray": "otel_bridge.integrations.ray",
}


def is_wanted() -> bool:
    """Return whether the environment asks for it."""
    return any(os.environ.get(name, "").strip() for name in URL_NAMES)


_installed: list[bool] = []


@harmlessly
def install() -> None:
    """Follow the engines that are imported already, and those that will be. Does nothing unless the environment asks for it."""
    if not is_wanted() or _installed:
        return
    from otel_bridge.import_hook import when_imported

    _installed.append(True)
    for engine, integration in ENGINES.items():
        when_imported(engine, partial(bind_engine, integration))


@harmlessly
def bind_engine(integration: str) -> None:
    """Bind one engine, that has just been imported; and take the program's log lines."""
    from otel_bridge.log_records import follow_loggers

    import_module(integration).bind()
    follow_loggers()

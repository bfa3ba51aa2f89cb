"""Finds plugins by entry point and calls their hooks, each on its own: one that fails is named, counted, and costs the others nothing."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

import pluggy

from collector import hookspecs
from collector.dialects import Dialect, Recogniser
from collector.errors import FlowspanError
from collector.metrics import Metrics
from collector.settings import Settings
from collector.storage import Storage
from otel_bridge.facts import LogLine, SpanEnd, SpanMoment, Work

log = logging.getLogger(__name__)

GROUP = "flowspan"


class NoStorage(FlowspanError):
    """No plugin answers for this storage address."""


def load_plugins(metrics: Metrics) -> pluggy.PluginManager:
    """Return a manager with every plugin of the entry-point group; one that cannot be imported is logged and left out."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            manager.register(entry.load(), name=entry.name)
            manager.check_pending()  # a misspelt hook would never be called, and nobody would know
        except Exception:
            metrics.plugin_failures.labels(entry.name).inc()
            log.exception("plugin %s cannot be loaded and is left out", entry.name)
            if manager.has_plugin(entry.name):  # one of its hooks is wrong: the others are registered
                manager.unregister(name=entry.name)
        else:
            log.info("plugin %s loaded from %s", entry.name, entry.value)
    return manager


def make_storage(manager: pluggy.PluginManager, settings: Settings) -> Storage:
    """Return the storage that answers for the configured address. Raises NoStorage, or whatever its plugin raises: then nothing starts."""
    storage: Storage | None = manager.hook.make_storage(settings=settings)
    if storage is None:
        scheme = settings.storage_url().partition(":")[0]
        installed = ", ".join(sorted(hook.plugin_name for hook in manager.hook.make_storage.get_hookimpls()))
        raise NoStorage(f"no plugin stores at {scheme}: addresses; installed are {installed}")
    return storage


def load_dialects(manager: pluggy.PluginManager, metrics: Metrics) -> list[Dialect]:
    """Return every plugin's dialects, by order; one that fails at a record is passed over, counted, and its first failure logged."""
    dialects: list[Dialect] = collect(manager, metrics, "make_dialects")
    return [replace(one, recognise=_guarded(one, metrics)) for one in sorted(dialects, key=lambda dialect: dialect.order)]


def _guarded(dialect: Dialect, metrics: Metrics) -> Recogniser:
    failures = metrics.plugin_failures.labels(dialect.name)
    failed = False

    def recognise(fact: SpanEnd | SpanMoment | LogLine, /) -> Work | None:
        nonlocal failed
        try:
            return dialect.recognise(fact)
        except Exception:
            failures.inc()
            if not failed:
                log.exception("dialect %s failed at a record, and is asked again at the next", dialect.name)
            failed = True
            return None

    return recognise


def collect(manager: pluggy.PluginManager, metrics: Metrics, hook: str, **arguments: Any) -> list[Any]:
    """Call a hook that returns a list in every plugin, one by one, and return all they gave."""
    found: list[Any] = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        try:
            found += implementation.function(*(arguments[name] for name in implementation.argnames)) or []
        except Exception:
            metrics.plugin_failures.labels(implementation.plugin_name).inc()
            log.exception("plugin %s failed in %s and is left out", implementation.plugin_name, hook)
    return found

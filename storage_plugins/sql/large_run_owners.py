"""Finds which task run the spans of a large run belong to, for the spans at hand: up their parents, level by level, by the primary key.

The answer is that of collector.lineage, which knows every span of a run.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from collector.fold import fold
from collector.lineage import NOBODY
from collector.picture import KIND_RUN, RunPicture
from collector.winners import Seen, SpanKey
from otel_bridge import conventions as c
from storage_plugins.sql.facts import load_facts
from storage_plugins.sql.large_run_outline import Outline
from storage_plugins.sql.large_run_rows import TASK_ROLES, Ground
from storage_plugins.sql.large_run_spans import read_spans

# Spans nest a handful deep. Beyond so many levels, two statements each, the fold finds them all at once.
MOST_LEVELS = 100


class Owners:
    """The owners of spans of a run whose outline is known; what was found once is kept."""

    def __init__(self, connection: Connection, ground: Ground, outline: Outline) -> None:
        self._connection = connection
        self._ground = ground
        self._outline = outline
        self._seen: dict[SpanKey, Seen | None] = {}
        self._found: dict[SpanKey, str] = {}

    def picture(self, keys: Iterable[SpanKey]) -> RunPicture:
        """Return the run with the owners of these spans, of those that anything is known of."""
        wanted = set(keys)
        if not self._look_up(wanted - self._found.keys()):
            return self._fold()
        for key in wanted:
            self._find(key)
        owners = {key: self._found[key] for key in wanted if key in self._found}
        return RunPicture(self._outline.run, [], owners, frozenset(self._outline.run.trace_ids))

    def _fold(self) -> RunPicture:
        run = self._outline.run
        facts = load_facts(self._connection, self._ground.place.project, run.run_key)
        assert facts is not None
        return fold(run.run_key, facts, 0)

    def _look_up(self, keys: set[SpanKey]) -> bool:
        """Read these spans and all above them, as far as a task or the run. False if they are nested too deeply."""
        for _ in range(MOST_LEVELS):
            keys = {key for key in keys if key[1] and key not in self._seen}
            if not keys:
                return True
            found = {span.key: span for span in read_spans(self._connection, self._ground, keys).seen()}
            self._seen |= {key: found.get(key) for key in keys}
            keys = {span.parent_key for span in found.values() if not self._is_end(span)}
        return False

    def _is_end(self, span: Seen) -> bool:
        roots = self._outline.roots
        return span.key in roots or span.parent_key in roots or (self._outline.rule.by_node and span.work.role in TASK_ROLES)

    def _find(self, key: SpanKey) -> None:
        path: dict[SpanKey, None] = {}
        owner = None
        while key not in path and owner is None:  # else its parents go round in a circle
            span = self._seen.get(key)
            if span is None:
                break
            path[key] = None
            owner = self._found.get(key, self._own_word(span))
            key = span.parent_key
        self._found.update(dict.fromkeys(path, owner or ""))

    def _own_word(self, span: Seen) -> str | None:
        """Return the node of a span that is a task, empty for the run's own; None for others, which belong to whom their parent does."""
        if span.key in self._outline.roots:
            return ""
        if self._outline.rule.by_node:
            return span.work.node if span.work.role in TASK_ROLES else None
        return span.key[1].hex() if span.work.role != c.ROLE_RUN and self._is_plain_task(span) else None

    def _is_plain_task(self, span: Seen) -> bool:
        """Return whether it is a child of the root, or its parent is unseen: collector.lineage says when each is a task."""
        roots, parent = self._outline.roots, span.parent_key
        if parent in roots:
            return True
        is_named = self._outline.run.kind == KIND_RUN
        return not (is_named and roots) and self._seen.get(parent) is None and (parent[1] != NOBODY or not is_named)

"""A dialect as data: under which attribute keys a system names its runs and tasks, and how such a table is read.

A system that needs more than keys (a scope's name, a pattern in the span's name) is a Recogniser of its own, which may ask its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from otel_bridge import conventions as c
from otel_bridge.facts import Attributes, LogLine, SpanEnd, SpanMoment, Work, harmless, short_key
from otel_bridge.identity import run_key

Keys = tuple[str, ...]

# Columns of four bytes in some storages; no run restarts and no task tries that often.
LARGEST_NUMBER = 2**31 - 1

_TASK_ROLES = (c.ROLE_TASK, c.ROLE_ATTEMPT, c.ROLE_PART)
_RUN_ROLES = (c.ROLE_RUN, c.ROLE_PART)


@dataclass(frozen=True, slots=True)
class Table:
    """Where a system writes what a span is in a workflow. Of several keys the first that is present counts.

    default_source: who issues the run ids where no attribute of `source` says so. What names the run (source, run_id, generation, flow_name,
    flow_key) may stand on the resource; what names a task must stand on the span or log record itself.
    """

    default_source: str
    run_id: Keys
    flow_name: Keys
    task_name: Keys
    node: Keys
    source: Keys = ()
    generation: Keys = ()
    flow_key: Keys = ()
    task_key: Keys = ()
    attempt: Keys = ()
    role: Keys = ()

    def recognise(self, fact: SpanEnd | SpanMoment | LogLine, /) -> Work | None:
        """Return the fact's Work, or None if it names neither a run nor a task in these words, or its run id is of no use.

        A task without a run id has an empty run_key: its nearest ancestor with one says which run it is in.
        """
        own, anywhere = (fact.attributes,), (fact.attributes, fact.resource.attributes)
        task_name = _text(_find(self.task_name, own))
        node = _text(_find(self.node, own)) or ("" if self._speaks_of_the_run(fact) else task_name)
        if not node and _find(self.run_id, anywhere) is None:
            return None
        work = self.name_run(anywhere)
        if work is None:
            return None
        work.task_name, work.node = task_name, short_key(node)
        work.task_key = short_key(_text(_find(self.task_key, own)) or task_name)
        work.attempt = self._attempt(fact)
        work.role = self._role(fact, work)
        return work

    def _speaks_of_the_run(self, fact: SpanEnd | SpanMoment | LogLine) -> bool:
        """A retry notice may name a task and not which node of it: it says that it is the run's, and the fold finds the node it means."""
        return isinstance(fact, SpanMoment) and fact.kind == c.RETRIED and _find(self.role, (fact.attributes,)) == c.ROLE_RUN

    def name_run(self, places: Sequence[Attributes]) -> Work | None:
        """Return a Work that says which run and flow it is, as far as attributes in these places do; None if the run id is of no use.

        Its run_key is empty if there is no run id.
        """
        work = Work()
        stated_run = _find(self.run_id, places)
        if stated_run is not None and not self._name_run(work, _text(stated_run), places):
            return None
        work.flow_name = _text(_find(self.flow_name, places))
        work.flow_key = short_key(_text(_find(self.flow_key, places)) or work.flow_name)
        return work

    def _name_run(self, work: Work, run_id: str, places: Sequence[Attributes]) -> bool:
        if not run_id:
            return False
        work.source = short_key(_text(_find(self.source, places)) or self.default_source)
        work.run_id = short_key(run_id)
        work.generation = _whole(_find(self.generation, places)) or 0
        work.run_key = run_key(work.source, work.run_id, work.generation)
        return True

    def _attempt(self, fact: SpanEnd | SpanMoment | LogLine) -> int | None:
        """A retry notice's number is that of the try that failed; it does not number the span."""
        if isinstance(fact, SpanMoment) and fact.kind == c.RETRIED:
            return None
        return self.attempt_of(fact.attributes)

    def attempt_of(self, own: Attributes) -> int | None:
        """Return which attempt a span with these attributes is."""
        return _whole(_find(self.attempt, (own,)))

    def _role(self, fact: SpanEnd | SpanMoment | LogLine, work: Work) -> str:
        return c.ROLE_PART if isinstance(fact, LogLine) else self.role_of(fact.attributes, work.attempt, has_node=bool(work.node))

    def role_of(self, own: Attributes, attempt: int | None, *, has_node: bool) -> str:
        """Return the role of a span with these attributes."""
        stated = _find(self.role, (own,))
        if stated in (_TASK_ROLES if has_node else _RUN_ROLES):
            return str(stated)
        if has_node:
            return c.ROLE_ATTEMPT if attempt else c.ROLE_TASK
        return c.ROLE_PART if _find(self.run_id + self.flow_name, (own,)) is None else c.ROLE_RUN


def _find(keys: Keys, places: Sequence[Attributes]) -> Any:
    for attributes in places:
        for key in keys:
            value = attributes.get(key)
            if value is not None:
                return value
    return None


def _text(value: Any) -> str:
    """Return text or an integer as text; anything else names nothing."""
    if isinstance(value, str):
        return harmless(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _whole(value: Any) -> int | None:
    """Return an integer of at least 0, or such a number as text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= len(str(LARGEST_NUMBER)):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_NUMBER:
        return value
    return None

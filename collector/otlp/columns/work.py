"""What spans are in a workflow, a column at a time: dialects that are tables of keys, and plain traces.

Texts are columns throughout. What only few combinations of values decide (which run, which role) is asked of the Table once for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from collector.dialects import Dialect
from collector.dialects.plain import PlainTraces, service_of
from collector.dialects.table import Table
from collector.otlp.columns import kernels as k
from collector.otlp.columns.pairs import Words
from otel_bridge import conventions as c
from otel_bridge.facts import KEY_CHARS, Resource, Work, short_key

Columns = dict[str, pa.Array]

# The columns a Work fills, and what they are in a span that says nothing.
NOTHING_SAID: Final[dict[str, pa.Scalar]] = {
    "source": k.text(""),
    "run_id": k.text(""),
    "generation": k.int64(0),
    "run_key": k.binary(b""),
    "flow_key": k.text(""),
    "flow_name": k.text(""),
    "task_key": k.text(""),
    "task_name": k.text(""),
    "node": k.text(""),
    "attempt": pa.scalar(None, k.INT64),
    "role": k.text(""),
    "dialect": k.text(""),
}
_OF_RUN = ("source", "run_id", "generation", "run_key", "flow_key", "flow_name")


@dataclass(frozen=True, slots=True)
class Speech:
    """What dialects may look at in a group of spans. sender: which of `resources` sent each span."""

    words: Words
    sender: pa.Array
    resources: Sequence[Resource]
    name: pa.Array
    parent_span_id: pa.Array

    def __len__(self) -> int:
        """Count the spans."""
        return len(self.name)


@dataclass(frozen=True, slots=True)
class Recognised:
    """What one dialect says. mask: of which spans it speaks, None for all."""

    mask: pa.Array | None
    columns: Columns


def interpret_columns(speech: Speech, dialects: Sequence[Dialect]) -> Columns:
    """Return the columns of a Work for each span, and "result": what `dialects.interpret` says of it. dialects: as TraceTerms allows."""
    said: list[Recognised] = []
    for dialect in dialects:
        one = _plain(speech) if isinstance(dialect.table, PlainTraces) else _tabled(speech, dialect.table)
        if one is not None:
            one.columns["dialect"] = k.text(dialect.name)
            said.append(one)
            if one.mask is None or one.mask.true_count == len(speech):
                break
    columns: dict[str, Any] = dict(NOTHING_SAID)
    for one in reversed(said):
        columns = {name: _chosen(one.mask, one.columns.get(name, NOTHING_SAID[name]), other) for name, other in columns.items()}
    columns["result"] = _results(speech, columns["role"])
    return {name: k.repeated(one, len(speech)) if isinstance(one, pa.Scalar) else one for name, one in columns.items()}


def _chosen(mask: pa.Array | None, mine: Any, other: Any) -> Any:
    if mask is None or mine is other or mask.true_count == len(mask):
        return mine
    return pc.if_else(mask, mine, other)


# --- plain traces ------------------------------------------------------------------------------------------------------------------------


def _plain(speech: Speech) -> Recognised:
    services = pa.array([service_of(resource) for resource in speech.resources], k.TEXT).take(speech.sender)
    nameless = pc.or_(pc.equal(speech.name, k.text("")), pc.equal(services, k.text("")))
    is_root = pc.and_not(pc.equal(speech.parent_span_id, k.binary(b"")), nameless)
    if not k.has_any(is_root):
        return Recognised(None, {})
    names = speech.name.filter(is_root)
    nothing = k.repeated(k.text(""), len(speech))
    keys = _short(k.join(services.filter(is_root), k.text(":"), names))
    return Recognised(
        None,
        {"flow_key": pc.replace_with_mask(nothing, is_root, keys), "flow_name": pc.replace_with_mask(nothing, is_root, names)},
    )


# --- tables ------------------------------------------------------------------------------------------------------------------------------


def _tabled(speech: Speech, table: object) -> Recognised | None:
    """Return what a table says, None if it speaks of no span."""
    assert isinstance(table, Table)
    runs = _runs(speech, table)
    task_name = speech.words.text_of(table.task_name)
    node = _first_said(speech.words.text_of(table.node), task_name)
    if runs is None and node is None:
        return None
    usable, named, columns = runs or (k.TRUE, k.FALSE, {})
    has_node = k.FALSE if node is None else pc.not_equal(node, k.text(""))
    mask = pc.and_(pc.or_(named, has_node), usable)
    if not k.has_any(mask):
        return None
    if node is not None:
        columns["node"] = _short(node)
    if task_name is not None:
        columns["task_name"] = task_name
    task_key = _first_said(speech.words.text_of(table.task_key), task_name)
    if task_key is not None:
        columns["task_key"] = _short(task_key)
    return Recognised(mask, columns | _roles(speech, table, has_node))


def _first_said(first: pa.Array | None, second: pa.Array | None) -> pa.Array | None:
    if first is None or second is None:
        return second if first is None else first
    return pc.if_else(pc.equal(first, k.text("")), second, first)


def _runs(speech: Speech, table: Table) -> tuple[pa.Array, pa.Array, Columns] | None:
    """Return where the run id is of use or there is none, where a run is named, and the columns that say which; None if nothing does."""
    keys = table.run_id + table.flow_name + table.source + table.generation + table.flow_key
    stated = speech.words.stated(keys)
    of_senders = any(key in resource.attributes for resource in speech.resources for key in keys)
    if not stated and not of_senders:
        return None
    different = k.combine([speech.sender, *map(speech.words.pair_of, stated)] if of_senders else [*map(speech.words.pair_of, stated)])
    senders = different.of(speech.sender)
    works = [
        table.name_run((own, speech.resources[sender].attributes))
        for own, sender in zip(speech.words.attributes(stated, different.firsts), senders, strict=True)
    ]
    said = [work or Work() for work in works]
    kinds = {name: NOTHING_SAID[name].type for name in _OF_RUN}
    columns = {name: different.spread([getattr(work, name) for work in said], kind) for name, kind in kinds.items()}
    usable = different.spread([work is not None for work in works], k.BOOL)
    return usable, pc.not_equal(columns["run_key"], k.binary(b"")), columns


def _roles(speech: Speech, table: Table, has_node: Any) -> Columns:
    """Return role and attempt: few combinations of words decide them."""
    keys = speech.words.stated(table.attempt + table.role + table.run_id + table.flow_name)
    # The run's own words count by being there, not by what they say.
    presence = [pc.is_valid(speech.words.pair_of(key)) for key in keys if key in table.run_id + table.flow_name]
    words = [speech.words.pair_of(key) for key in keys if key in table.attempt + table.role]
    nodes = k.repeated(has_node, len(speech)) if isinstance(has_node, pa.Scalar) else has_node
    different = k.combine([nodes, *presence, *words])
    own = speech.words.attributes(keys, different.firsts)
    attempts = [table.attempt_of(attributes) for attributes in own]
    roles = [
        table.role_of(attributes, attempt, has_node=has) for attributes, attempt, has in zip(own, attempts, different.of(nodes), strict=True)
    ]
    return {"role": different.spread(roles, k.TEXT), "attempt": different.spread(attempts, k.INT64)}


def _short(texts: pa.Array) -> pa.Array:
    """Return texts as they may stand in an index."""
    if (pc.max(pc.binary_length(texts)).as_py() or 0) <= KEY_CHARS:
        return texts
    long = k.rows_where(pc.greater(pc.utf8_length(texts), pa.scalar(KEY_CHARS, k.INT32)))
    return k.put(texts, {row: short_key(texts[row].as_py()) for row in long})


def _results(speech: Speech, role: Any) -> Any:
    """Return what ends state about themselves, under the key that their role has for it."""
    stated = {key: speech.words.text_of((key,)) for key in (c.PIPELINE_RESULT, c.TASK_RUN_RESULT)}
    if isinstance(role, pa.Scalar) or (stated[c.PIPELINE_RESULT] is None and stated[c.TASK_RUN_RESULT] is None):
        return k.text("")
    nothing = k.text("")
    of_run, of_task = (nothing if found is None else found for found in stated.values())
    tasks = pa.array([c.ROLE_TASK, c.ROLE_ATTEMPT], k.TEXT)
    found = pc.if_else(pc.equal(role, k.text(c.ROLE_RUN)), of_run, pc.if_else(pc.is_in(role, value_set=tasks), of_task, nothing))
    return pc.if_else(pc.is_in(found, value_set=pa.array(sorted(c.RESULTS), k.TEXT)), found, nothing)

"""The finished spans of a group of requests become one record batch. Spans that need care are made by rows, and put in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from collector.model import DEFAULT_PROJECT, ODD_DAY
from collector.otlp.columns import kernels as k
from collector.otlp.columns.careful import CarefulReader, with_careful
from collector.otlp.columns.digests import span_digests
from collector.otlp.columns.envelopes import Envelopes, Request, read_envelopes
from collector.otlp.columns.json_text import events_json, maps_json, pair_texts
from collector.otlp.columns.pairs import Maps, Pairs, Words, read_pairs
from collector.otlp.columns.result import SPAN_SCHEMA
from collector.otlp.columns.wire import NotColumnar, Spans, parse_events, parse_spans
from collector.otlp.columns.work import Speech, interpret_columns
from collector.otlp.spans import SPAN_ID_BYTES, TRACE_ID_BYTES, read_links
from collector.otlp.terms import TraceTerms
from collector.otlp.values import read_attributes
from collector.rows import DAY_NS, FUTURE_NS, describe_error_type, describe_exception, links_json
from collector.verdict import Decoded
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP, harmless
from otel_bridge.timestamps import LATEST_NS

_LATEST, _UNSET = pa.scalar(LATEST_NS, pa.uint64()), pa.scalar(0, pa.uint64())
_FAILED = pa.scalar(c.STATUS_ERROR, k.INT64)

# Text columns in which a NUL makes a span one that needs care. Events' names are made harmless with their quotes.
_TEXTS = ("trace_state", "name", "status_message")


def make_columns(requests: Sequence[Request], terms: TraceTerms) -> list[Decoded]:
    """Return what some requests hold, their spans as columns. Raises NotColumnar, or what pyarrow raises, if that cannot be made."""
    wire = parse_spans([request.body for request in requests])
    envelopes = read_envelopes(requests)
    if len(wire.groups) != envelopes.begins[-1]:
        raise NotColumnar("ptars and upb see different spans")
    return _Maker(requests, terms, wire, envelopes).make()


@dataclass(slots=True)
class _Maker:
    requests: Sequence[Request]
    terms: TraceTerms
    wire: Spans
    envelopes: Envelopes

    def make(self) -> list[Decoded]:
        fields = self.wire.fields
        events = parse_events(fields["events"].flatten())
        pairs, (own, of_events) = read_pairs([fields["attributes"], events["attributes"]])
        texts = pair_texts(pairs)
        offsets = k.offsets_of(fields["events"])
        careful = self._careful(pairs, own, of_events)
        columns = self._plain_columns()
        columns["attributes"] = maps_json(own, texts)
        columns["events"] = events_json(offsets, events, maps_json(of_events, texts))
        columns["links"] = self._links()
        columns |= self._work(pairs, own, columns)
        columns["error"] = self._errors(events, offsets, Words(pairs, of_events), columns)
        columns["digest"] = span_digests(columns)
        spans = pa.record_batch([columns[field.name] for field in SPAN_SCHEMA], schema=SPAN_SCHEMA)
        return with_careful(spans, careful, CarefulReader(self.requests, self.envelopes, self.terms))

    def _plain_columns(self) -> dict[str, pa.Array]:
        """Return the columns that are fields of the wire, or follow from them."""
        fields, rows = self.wire.fields, len(self.wire.groups)
        received_ns = [self.requests[group.request].received_ns for group in self.envelopes.groups]
        start_ns, end_ns = fields["start"].cast(k.INT64, safe=False), fields["end"].cast(k.INT64, safe=False)
        columns = {
            "project": k.repeated(k.int64(DEFAULT_PROJECT), rows),
            "rank": k.repeated(k.int64(RANK_OTLP), rows),
            "received_ns": self._of_group(received_ns, k.INT64),
            "start_ns": start_ns,
            "end_ns": end_ns,
            "weight": end_ns,
            "parent_span_id": _usable_ids(fields["parent_span_id"]),
            "resource_id": self._of_group(self.envelopes.resource_ids(), k.BYTES),
            "scope_id": self._of_group(self.envelopes.scope_ids(), k.BYTES),
            "status_code": pc.fill_null(fields["status_code"], pa.scalar(0, k.INT32)).cast(k.INT64),
            "status_message": pc.fill_null(fields["status_message"], k.text("")),
        }
        columns |= {name: fields[name] for name in ("trace_id", "span_id", "trace_state", "name")}
        columns |= {name: fields[name].cast(k.INT64) for name in ("flags", "kind", "dropped_attributes", "dropped_events", "dropped_links")}
        columns["day"] = self._days(pc.if_else(pc.equal(start_ns, k.int64(0)), end_ns, start_ns), columns["received_ns"])
        return columns

    def _of_group(self, values: Sequence[object], kind: pa.DataType) -> pa.Array:
        """Spread what is one for each group over its spans."""
        return pa.array(values, kind).take(self.wire.groups)

    def _days(self, time_ns: pa.Array, received_ns: pa.Array) -> pa.Array:
        """Return what RowMaker says of each row."""
        odd = pc.greater(time_ns, pc.add(received_ns, k.int64(FUTURE_NS)))
        kept_days = self.terms.retention_days
        if kept_days:
            odd = pc.or_(odd, pc.less(time_ns, pc.subtract(received_ns, k.int64(kept_days * DAY_NS))))
        return pc.if_else(odd, k.int64(ODD_DAY), pc.divide(time_ns, k.int64(DAY_NS)))

    def _work(self, pairs: Pairs, own: Maps, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
        sender = self._of_group([group.sender for group in self.envelopes.groups], k.INT32)
        speech = Speech(Words(pairs, own), sender, self.envelopes.resources, columns["name"], columns["parent_span_id"])
        return interpret_columns(speech, self.terms.dialects)

    # --- one by one, where few spans have any ----------------------------------------------------------------------------------------

    def _links(self) -> pa.Array:
        lists = self.wire.fields["links"]
        linked = k.rows_where(pc.greater(pc.list_value_length(lists), pa.scalar(0, k.INT32))) if len(lists.flatten()) else []
        found = {row: links_json(read_links(self.envelopes.find(row)[1].links)) for row in linked}
        return k.put(k.repeated(k.text("[]"), len(lists)), found)

    def _errors(self, events: dict[str, pa.Array], offsets: pa.Array, words: Words, columns: dict[str, pa.Array]) -> pa.Array:
        """Return "Type: message" of the last exception, else the status message of a failed span, as rows.py does. words: of the events."""
        failed = pc.equal(columns["status_code"], _FAILED)
        messages = columns["status_message"]
        errors = pc.if_else(failed, messages, k.text(""))
        raised = pc.indices_nonzero(pc.equal(events["name"], k.text(c.EXCEPTION_EVENT)))
        owners = pa.ListArray.from_arrays(offsets, events["name"]).value_parent_indices().take(raised).to_pylist()
        described = words.attributes(words.stated((c.EXCEPTION_TYPE, c.EXCEPTION_MESSAGE)), raised)
        # Of a span's exceptions the last stays.
        found = {row: describe_exception(said) or messages[row].as_py() for row, said in zip(owners, described, strict=True)}
        silent = {*k.rows_where(pc.and_(failed, pc.equal(messages, k.text(""))))} - found.keys()
        found |= {row: describe_error_type(read_attributes(self.envelopes.find(row)[1].attributes)) for row in silent}
        return k.put(errors, {row: harmless(text) for row, text in found.items()})

    def _careful(self, pairs: Pairs, own: Maps, of_events: Maps) -> list[int]:
        """Return which spans are not simply finished ones, or hold what only rows can tell the meaning of."""
        found = {*k.rows_where(self._unfinished()), *self._with_nul()}
        odd = pairs.odd()
        found.update(own.having(odd), own.repeating(len(pairs.keys)))
        odd_events = [*of_events.having(odd), *of_events.repeating(len(pairs.keys))]
        if odd_events:
            owners = pc.list_parent_indices(self.wire.fields["events"])
            found.update(owners.take(pa.array(odd_events, k.INT64)).to_pylist())
        return sorted(found)

    def _unfinished(self) -> pa.Array:
        """Return which spans cannot be stored or have not ended."""
        fields = self.wire.fields
        bad_id = pc.or_(_is_no_id(fields["trace_id"], TRACE_ID_BYTES), _is_no_id(fields["span_id"], SPAN_ID_BYTES))
        bad_time = pc.or_(pc.greater(fields["start"], _LATEST), pc.greater(fields["end"], _LATEST))
        runs_yet = pc.and_(pc.not_equal(fields["start"], _UNSET), pc.equal(fields["end"], _UNSET))
        return pc.or_(pc.or_(bad_id, bad_time), runs_yet)

    def _with_nul(self) -> list[int]:
        columns = [self.wire.fields[name] for name in _TEXTS]
        return [row for column in columns if b"\0" in k.data_of(column) for row in k.rows_where(pc.match_substring(column, "\0"))]


def _is_no_id(ids: pa.Array, size: int) -> pa.Array:
    return pc.or_(pc.not_equal(pc.binary_length(ids), pa.scalar(size, k.INT32)), pc.equal(ids, k.binary(bytes(size))))


def _usable_ids(ids: pa.Array) -> pa.Array:
    unusable = _is_no_id(ids, SPAN_ID_BYTES)
    return pc.if_else(unusable, k.binary(b""), ids) if k.has_any(unusable) else ids

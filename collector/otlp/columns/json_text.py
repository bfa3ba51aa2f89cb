"""JSON text a column at a time, to the letter what `attributes.to_json` makes of the same values; what needs care is made by it, one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from collector.attributes import to_json
from collector.otlp.columns import kernels as k
from collector.otlp.columns.pairs import Maps, Pairs
from otel_bridge.timestamps import LATEST_NS

# What JSON escapes.
ESCAPED = bytes([*range(0x20), ord('"'), ord("\\")])
_ESCAPED_PATTERN = r'["\\\x00-\x1f]'
BLOCK_ROWS = 128

# Doubles that Arrow writes as Python does but for the ".0" of a whole one. Beyond them it uses exponents differently.
_LEAST_PLAIN, _BEYOND_PLAIN, _ZERO = (pa.scalar(limit, pa.float64()) for limit in (1e-4, 1e9, 0.0))
_LATEST, _UNKNOWN = pa.scalar(LATEST_NS, pa.uint64()), pa.scalar(0, pa.uint64())


def pair_texts(pairs: Pairs) -> pa.Array:
    """Return `"key":value` of each pair.

    It is the same wherever the pair stands: upb refuses what nests deeper than 47 lists, before attributes.MAX_DEPTH cuts.
    """
    values = pairs.values
    parts = [quoted(values["text"])]
    for kind, write in (("bool", _cast), ("int", _cast), ("double", _doubles)):
        if values[kind].null_count < len(pairs):
            parts.append(write(values[kind]))
    keys = pa.array([f"{to_json(key)}:" for key in pairs.keys], k.TEXT).take(pairs.key_codes)
    return k.join(keys, k.put(pc.coalesce(*parts, k.text("null")), _by_rows(pairs)))


def _by_rows(pairs: Pairs) -> dict[int, str]:
    """Return the texts of the values that nest, or are bytes."""
    found: dict[int, str] = {}
    for kind in ("list", "map", "bytes"):
        column = pairs.values[kind]
        if column.null_count < len(pairs):
            found |= {pair: to_json(pairs.value(pair)) for pair in k.rows_where(column.is_valid())}
    return found


def quoted(texts: pa.Array) -> pa.Array:
    """Return texts as JSON strings, nulls as nulls."""
    plain = k.join(k.text('"'), texts, k.text('"'))
    return k.put(plain, {row: to_json(texts[row].as_py()) for row in _escaped_rows(texts)})


def _escaped_rows(texts: pa.Array) -> Iterator[int]:
    """Yield the rows with something to escape: a pattern costs 115 ns a row, so blocks of rows are searched for the bytes first, 2 ns a row."""
    offsets, data = k.texts_of(texts)
    for begin in range(0, len(texts), BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, len(texts))
        block = data[offsets[begin] : offsets[end]]
        if len(block.translate(None, ESCAPED)) < len(block):
            rows = pc.match_substring_regex(texts.slice(begin, end - begin), _ESCAPED_PATTERN)
            yield from (begin + row for row in k.rows_where(rows))


def _cast(values: pa.Array) -> pa.Array:
    return values.cast(k.TEXT)


def _doubles(values: pa.Array) -> pa.Array:
    """Python's repr: 1 us each, Arrow's text 0.14."""
    size = pc.abs(values)
    is_plain = pc.or_(pc.and_(pc.greater_equal(size, _LEAST_PLAIN), pc.less(size, _BEYOND_PLAIN)), pc.equal(size, _ZERO))
    texts = values.cast(k.TEXT)
    is_whole = pc.invert(pc.match_substring(texts, "."))
    if k.has_any(is_whole):
        texts = pc.if_else(is_whole, k.join(texts, k.text(".0")), texts)
    others = k.rows_where(pc.invert(is_plain))
    return k.put(texts, dict(zip(others, map(to_json, values.take(pa.array(others, k.INT64)).to_pylist()), strict=True)))


def maps_json(maps: Maps, texts: pa.Array) -> pa.Array:
    """Return attribute lists as JSON objects. texts: of the pairs."""
    return k.join(k.text("{"), _listed(maps.offsets, texts.take(maps.codes)), k.text("}"))


def _listed(offsets: pa.Array, texts: pa.Array) -> pa.Array:
    return pc.binary_join(pa.ListArray.from_arrays(offsets, texts), k.text(","))


def events_json(offsets: pa.Array, events: dict[str, pa.Array], attributes: pa.Array) -> pa.Array:
    """Return spans' events as rows.py writes them: [[time, name, attributes, dropped], ...]. attributes: JSON of each event's."""
    times = pc.if_else(pc.less_equal(events["time"], _LATEST), events["time"], _UNKNOWN)
    comma = k.text(",")
    parts = (k.text("["), times.cast(k.TEXT), comma, quoted(events["name"]), comma, attributes, comma)
    each = k.join(*parts, events["dropped"].cast(k.TEXT), k.text("]"))
    return k.join(k.text("["), _listed(offsets, each), k.text("]"))

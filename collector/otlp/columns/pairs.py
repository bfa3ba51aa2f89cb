"""The attributes of a group of spans: each different key-value of all of them is parsed, and made JSON text of, once.

Of 8 attributes on each of 5,120 spans a third are different; parsed one by one all of them cost 2.5 times as much.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from collector.otlp.columns import kernels as k
from collector.otlp.columns.wire import parse_pairs
from collector.otlp.values import read_value

_ZERO_ROW = pa.array([0], k.INT64)


@dataclass(slots=True)
class Pairs:
    """Different key-values. key_codes: which of `keys` each has; values: by kind, as wire.parse_pairs gives them."""

    raw: pa.Array
    keys: list[str]
    key_codes: pa.Array
    values: dict[str, pa.Array]
    _read: dict[int, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the different key-values."""
        return len(self.raw)

    def value(self, pair: int) -> Any:
        """Return a value as rows have it."""
        if pair not in self._read:
            self._read[pair] = read_value(KeyValue.FromString(self.raw[pair].as_py()).value)
        return self._read[pair]

    def odd(self) -> pa.Array | None:
        """Return which pairs only rows can tell the meaning of, None if there are none.

        A key that may make a map look tagged; a NUL, which `harmless` replaces: two keys may become one; a value of several kinds at once.
        """
        odd_keys = [code for code, key in enumerate(self.keys) if key.startswith("$") or "\0" in key]
        found = [pc.is_in(self.key_codes, value_set=pa.array(odd_keys, self.key_codes.type))] if odd_keys else []
        texts = self.values["text"]
        if b"\0" in k.data_of(texts):
            found.append(pc.fill_null(pc.match_substring(texts, "\0"), k.FALSE))
        if self.values["strindex"].null_count < len(self):
            found.append(self.values["strindex"].is_valid())
        several = self._several_kinds()
        found += [] if several is None else [several]
        return _any_of(found)

    def _several_kinds(self) -> pa.Array | None:
        """upb keeps the last of a oneof, ptars all."""
        counts = None
        for mask in self._present():
            counts = pc.cast(mask, k.INT32) if counts is None else pc.add(counts, pc.cast(mask, k.INT32))
        if counts is None or (pc.max(counts).as_py() or 0) <= 1:
            return None
        return pc.greater(counts, pa.scalar(1, k.INT32))

    def nothing(self) -> pa.Array | None:
        """Return which pairs have no value, None if all have one."""
        something = _any_of(self._present())
        if something is None:
            return k.repeated(k.TRUE, len(self)) if len(self) else None
        return None if something.true_count == len(self) else pc.invert(something)

    def _present(self) -> list[pa.Array]:
        """Return for each kind that comes at all which pairs are of it."""
        return [column.is_valid() for column in self.values.values() if column.null_count < len(self)]


def _any_of(masks: Sequence[pa.Array]) -> pa.Array | None:
    found = None
    for mask in masks:
        found = mask if found is None else pc.or_(found, mask)
    return found


@dataclass(frozen=True, slots=True)
class Maps:
    """Attribute lists: where each begins and ends among the entries, and which pair each entry is."""

    offsets: pa.Array
    codes: pa.Array
    key_codes: pa.Array

    def __len__(self) -> int:
        """Count the lists."""
        return len(self.offsets) - 1

    def owners(self) -> pa.Array:
        """Return which list each entry is in."""
        return pa.ListArray.from_arrays(self.offsets, self.codes).value_parent_indices()

    def having(self, odd: pa.Array | None) -> list[int]:
        """Return the lists with an odd pair in them."""
        if odd is None or not k.has_any(odd):
            return []
        return sorted(set(self.owners().filter(odd.take(self.codes)).to_pylist()))

    def repeating(self, keys: int) -> list[int]:
        """Return the lists in which a key comes twice. keys: how many there are.

        Lists with the same keys have the same sum of the keys' numbers, and there are few such lists: only one of each is looked at. The
        numbers are random and of this call, so that no sender can make two sums meet; 0.06 us a span, counting distinct entries 0.5.
        """
        if not len(self.codes):
            return []
        numbers = pa.array([random.getrandbits(62) for _ in range(keys)], k.INT64)
        sums = pa.concat_arrays([_ZERO_ROW, pc.cumulative_sum(numbers.take(self.key_codes))])
        alike = k.combine([pc.subtract(sums.take(self.offsets.slice(1)), sums.take(self.offsets.slice(0, len(self))))])
        bad = [code for code, row in enumerate(alike.firsts.to_pylist()) if self._repeats(row)]
        if not bad:
            return []
        return k.rows_where(pc.is_in(alike.codes, value_set=pa.array(bad, alike.codes.type)))

    def _repeats(self, row: int) -> bool:
        begin, end = self.offsets[row].as_py(), self.offsets[row + 1].as_py()
        keys = self.key_codes.slice(begin, end - begin).to_pylist()
        return len(set(keys)) < len(keys)


@dataclass(slots=True)
class Words:
    """What attribute lists say under a key: each key is looked for once."""

    pairs: Pairs
    maps: Maps
    _places: dict[str, int] = field(init=False)
    _found: dict[str, pa.Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Number the keys."""
        self._places = {key: place for place, key in enumerate(self.pairs.keys)}

    def stated(self, keys: Iterable[str]) -> list[str]:
        """Return those of some keys that there are."""
        return [key for key in keys if key in self._places]

    def pair_of(self, key: str) -> pa.Array:
        """Return which pair states a key in each list, null where none does or its value is nothing. The key is one of those stated."""
        if key not in self._found:
            self._found[key] = self._find(self._places[key])
        return self._found[key]

    def _find(self, place: int) -> pa.Array:
        entries = pc.indices_nonzero(pc.equal(self.maps.key_codes, pa.scalar(place, k.INT32)))
        nothing = self.pairs.nothing()
        if nothing is not None:
            entries = entries.filter(pc.invert(nothing.take(self.maps.codes.take(entries))))
        return pc.scatter(self.maps.codes.take(entries), self.maps.owners().take(entries), max_index=len(self.maps) - 1)

    def text_of(self, keys: Sequence[str]) -> pa.Array | None:
        """Return what the first of some keys states in each list, text or an integer as text, else empty; None if no list has one."""
        stated = [self.pair_of(key) for key in self.stated(keys)]
        if not stated:
            return None
        pair = stated[0] if len(stated) == 1 else pc.coalesce(*stated)
        values = self.pairs.values
        return pc.coalesce(values["text"].take(pair), values["int"].take(pair).cast(k.TEXT), k.text(""))

    def attributes(self, keys: Sequence[str], lists: pa.Array) -> list[dict[str, Any]]:
        """Return what some lists say under some keys, as rows have it. keys: all stated."""
        columns = [self._values(self.pair_of(key).take(lists)) for key in keys]
        rows = zip(*columns, strict=True) if columns else [()] * len(lists)
        return [{key: value for key, value in zip(keys, row, strict=True) if value is not None} for row in rows]

    def _values(self, pairs: pa.Array) -> list[Any]:
        """Texts are at hand; what else there is, is read pair by pair."""
        texts = self.pairs.values["text"].take(pairs).to_pylist()
        return [
            self.pairs.value(pair) if text is None and pair is not None else text for text, pair in zip(texts, pairs.to_pylist(), strict=True)
        ]


def read_pairs(lists: Sequence[pa.ListArray]) -> tuple[Pairs, list[Maps]]:
    """Return the different key-values of columns of attribute lists, and each column by them."""
    entries = [column.flatten() for column in lists]
    encoded = (pa.concat_arrays(entries) if len(entries) > 1 else entries[0]).dictionary_encode()
    keys, values = parse_pairs(encoded.dictionary)
    encoded_keys = keys.dictionary_encode()
    pairs = Pairs(encoded.dictionary, encoded_keys.dictionary.to_pylist(), encoded_keys.indices, values)
    maps, begin = [], 0
    for column, own in zip(lists, entries, strict=True):
        codes = encoded.indices.slice(begin, len(own))
        maps.append(Maps(k.offsets_of(column), codes, pairs.key_codes.take(codes)))
        begin += len(own)
    return pairs, maps

"""What every step needs of Arrow and pyarrow does not have in one word.

Every constant has its type here: pyarrow looks for numpy and pandas whenever it has to guess one, 90-140 us each time, and 2 us otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TEXT, BYTES, INT64, INT32, BOOL = pa.string(), pa.binary(), pa.int64(), pa.int32(), pa.bool_()
TRUE, FALSE = pa.scalar(True, BOOL), pa.scalar(False, BOOL)


@cache
def text(value: str) -> pa.Scalar:
    """Return a constant of type string."""
    return pa.scalar(value, TEXT)


@cache
def binary(value: bytes) -> pa.Scalar:
    """Return a constant of type binary."""
    return pa.scalar(value, BYTES)


@cache
def int64(value: int) -> pa.Scalar:
    """Return a constant of type int64."""
    return pa.scalar(value, INT64)


def join(*parts: pa.Array | pa.Scalar) -> pa.Array:
    """Return texts put together row by row; null where a part is."""
    return pc.binary_join_element_wise(*parts, binary(b"") if _is_binary(parts) else text(""))


def _is_binary(parts: Sequence[pa.Array | pa.Scalar]) -> bool:
    return any(part.type == BYTES for part in parts)


def repeated(value: pa.Scalar, rows: int) -> pa.Array:
    """Return a column of one value."""
    return pa.repeat(value, rows)


def numbered(rows: int) -> pa.Array:
    """Return 0, 1, 2, ... as int64."""
    return pa.array(range(rows), INT64)


def is_in(rows: int, places: Iterable[int]) -> pa.Array:
    """Return for each of so many rows whether it is one of these."""
    mask = bytearray(rows)
    for place in places:
        mask[place] = 1
    return pc.not_equal(pa.Array.from_buffers(pa.int8(), rows, [None, pa.py_buffer(mask)]), pa.scalar(0, pa.int8()))


def put(column: pa.Array, values: dict[int, Any]) -> pa.Array:
    """Return a column with other values at some rows."""
    if not values:
        return column
    rows = sorted(values)
    return pc.replace_with_mask(column, is_in(len(column), rows), pa.array([values[row] for row in rows], column.type))


def rows_where(mask: pa.Array) -> list[int]:
    """Return at which rows a mask is true."""
    found: list[int] = pc.indices_nonzero(mask).to_pylist()
    return found


def has_any(mask: pa.Array) -> bool:
    """Return whether a mask is true anywhere."""
    return bool(mask.true_count)


def data_of(column: pa.Array) -> bytes:
    """Return all texts of a string or binary column as one; of a slice, those around it too."""
    buffer = column.buffers()[2]
    return b"" if buffer is None else buffer.to_pybytes()


def values_of(column: pa.Array) -> list[Any]:
    """Return a column as Python values. `to_pylist` makes an object at a time, 90 ns each; integers and columns of no text need not."""
    _, first, *_ = column.buffers()
    rows = slice(column.offset, column.offset + len(column))
    if column.type == INT64 and not column.null_count and len(column):
        return memoryview(first).cast("q")[rows].tolist()
    if column.type == TEXT and not column.null_count and len(column):
        offsets = memoryview(first).cast("i")
        if offsets[rows.start] == offsets[rows.stop]:
            return [""] * len(column)
    found: list[Any] = column.to_pylist()
    return found


def texts_of(column: pa.Array) -> tuple[memoryview, bytes]:
    """Return where each text of a string column begins, and where the last ends, in bytes that hold them all."""
    _, offsets, data = column.buffers()
    begins = memoryview(b"" if offsets is None else offsets).cast("i")
    return begins[column.offset :] if len(column) else memoryview(bytes(4)).cast("i"), b"" if data is None else data.to_pybytes()


def offsets_of(lists: pa.ListArray) -> pa.Array:
    """Return where each list begins in `lists.flatten()`, and where the last ends."""
    offsets = lists.offsets
    begin = offsets[0].as_py() if len(offsets) else 0
    return pc.subtract(offsets, pa.scalar(begin, INT32)) if begin else offsets


@dataclass(frozen=True, slots=True)
class Combinations:
    """Which different rows some columns have together: few, where rows are many.

    codes: which combination each row is; firsts: the first row of each.
    """

    codes: pa.Array
    firsts: pa.Array

    def of(self, column: pa.Array) -> list[Any]:
        """Return a column's value in each combination."""
        found: list[Any] = column.take(self.firsts).to_pylist()
        return found

    def spread(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """Return one value for each combination as a column."""
        return pa.array(values, kind).take(self.codes)


def combine(columns: Sequence[pa.Array]) -> Combinations:
    """Find the combinations in columns of anything that can be compared, nulls among them. There is at least one column."""
    codes = _codes(columns[0])
    for column in columns[1:]:
        codes = _codes(pc.add(pc.multiply(codes.cast(INT64), pa.scalar(len(column) + 1, INT64)), _codes(column).cast(INT64)))
    greatest = pc.max(codes).as_py()
    different = pa.array(range(0 if greatest is None else greatest + 1), codes.type)
    return Combinations(codes, pc.index_in(different, value_set=codes))


def _codes(column: pa.Array) -> pa.Array:
    """Return numbers for values, from 0 in the order they first come."""
    return column.dictionary_encode(null_encoding="encode").indices

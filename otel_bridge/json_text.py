"""Any Python value as a short JSON text: parameters hold objects, NaN, sets, themselves, and sometimes a whole table.

It is made in the program's own thread: nothing is asked of a value that might cost more than a look, as the repr of somebody else's class.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sized
from dataclasses import fields, is_dataclass
from datetime import date, time
from functools import partial
from itertools import islice
from types import MethodType
from typing import Any

# Enough for parameters a person reads; a data frame is not one of them.
MOST_VALUES = 500
MOST_DEPTH = 8
MOST_TEXT_CHARS = 2_000
MOST_CHARS = 32_000
MOST_BYTES = 500
# Their arrays and frames know their shape.
_TABLES = frozenset({"numpy", "pandas", "polars"})
# What a command line was read into is told as a dict is.
_NAMESPACES = frozenset({"argparse.Namespace", "types.SimpleNamespace"})

# A parameter of such a name is no business of whoever looks at a run: db_password, accessToken. "max_tokens" and "secretary" are.
_SECRET = re.compile(
    r"(?:^|[_\-. ]|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]))"
    r"(?i:password|passwd|passphrase|pwd|secret|token|(?:api|private|secret|access)[_\-]?key|authorization|credentials?)$"
)
MASKED = "***"

_write = json.JSONEncoder(ensure_ascii=False).encode


def json_text(value: Any) -> str:
    """Return value as JSON, cut where it is too large or too deep; what JSON has no word for as its repr. Never raises an Exception.

    What is under a key that names a secret (password, api_key, accessToken, ...) is masked, unless it is a number, a bool or None.
    """
    if _is_flat(value):  # as what every log line carries: 2 us in place of 8
        return _write(value)
    text = _write(_Walk().plain(value, 0))
    return text if len(text) <= MOST_CHARS else json.dumps({"cut": text[:MOST_CHARS]}, ensure_ascii=False)


def _is_flat(value: Any) -> bool:
    if type(value) is not dict or len(value) > MOST_DEPTH:
        return False
    return all(_is_short(key) and _is_short(item) and not _SECRET.search(key) for key, item in value.items())


def _is_short(value: Any) -> bool:
    return type(value) is str and len(value) <= MOST_TEXT_CHARS


def describe(value: Any) -> str:
    """Return repr(value), cut; a repr that raises is itself described."""
    try:
        return cut(repr(value))
    except Exception as error:  # noqa: BLE001  # somebody else's __repr__
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def cut(text: str, most: int = MOST_TEXT_CHARS) -> str:
    """Return text, or its beginning and how much was left out."""
    return text if len(text) <= most else f"{text[:most]}… {len(text) - most} characters more"


class _Walk:
    """One walk over one value, with what may still be visited."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def plain(self, value: Any, depth: int) -> Any:
        self._left -= 1
        kind = type(value)  # isinstance would ask a lazy object what it is, and that its database
        if value is None or kind is bool:
            return value
        if issubclass(kind, str):
            return cut(str(value))
        if issubclass(kind, int):
            return int(value) if -(2**63) <= value < 2**63 else describe(value)
        if issubclass(kind, float):
            return float(value) if math.isfinite(value) else describe(value)
        if issubclass(kind, (date, time)):
            return value.isoformat()
        return _named(value) if depth >= MOST_DEPTH else self._compound(value, kind, depth + 1)

    def _compound(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, Mapping):
            return self._mapping(value, depth)
        if issubclass(kind, (list, tuple, set, frozenset, deque)):
            return self._items(value, depth)
        if is_dataclass(kind):
            return self._fields(value, depth)
        if _name_of(kind) in _NAMESPACES:
            return self._mapping(vars(value), depth)
        return _described(value, kind)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        try:
            made = {self._key(key): self._valued(key, item, depth) for key, item in self._affordable(value.items())}
            return made if len(made) >= len(value) else {**made, "…": f"{len(value) - len(made)} more"}
        except Exception:  # noqa: BLE001  # somebody else's Mapping, or one that changes meanwhile
            return _named(value)

    def _fields(self, value: Any, depth: int) -> Any:
        """As its repr shows them, but bounded, and without secrets."""
        try:
            return self._mapping({field.name: getattr(value, field.name) for field in fields(value) if field.repr}, depth)
        except Exception:  # noqa: BLE001  # one that was not set
            return _named(value)

    def _valued(self, key: Any, item: Any, depth: int) -> Any:
        is_secret = type(key) is str and _SECRET.search(key) and not issubclass(type(item), (int, float, type(None)))
        return MASKED if is_secret else self.plain(item, depth)

    def _items(self, value: Any, depth: int) -> Any:
        try:
            made = [self.plain(item, depth) for item in self._affordable(value)]
            return made if len(made) == len(value) else [*made, f"… {len(value) - len(made)} more"]
        except Exception:  # noqa: BLE001  # it changes while it is read
            return _named(value)

    def _affordable(self, items: Any) -> Iterator[Any]:
        """Yield items while values may be visited; what is nested takes from the same budget."""
        for item in islice(items, max(self._left, 0)):
            if self._left <= 0:
                return
            yield item

    def _key(self, key: Any) -> str:
        return cut(key) if issubclass(type(key), str) else _described(key, type(key))


def _described(value: Any, kind: type) -> str:
    """Return the repr of a value if it is known to be short, or the name of its class."""
    if issubclass(kind, (bytes, bytearray)):
        return repr(value[:MOST_BYTES]) + (f"… {len(value) - MOST_BYTES} bytes more" if len(value) > MOST_BYTES else "")
    if issubclass(kind, type):
        return cut(type.__repr__(value))
    return describe(value) if _has_short_repr(kind) else _named(value)


def _has_short_repr(kind: type) -> bool:
    """Return whether it is one of the standard library's, of a kind that does not write what it holds; or a number of numpy's."""
    writer = next(one for one in kind.__mro__ if "__repr__" in vars(one))
    if issubclass(kind, (Sized, MethodType, partial)):
        return issubclass(kind, range)
    if writer is object:  # an address says nothing
        return False
    return _package_of(writer) in sys.stdlib_module_names or any(_name_of(one) == "numpy.generic" for one in kind.__mro__)


def _named(value: Any) -> str:
    """Return what a value is and, if that is known without asking it, how much."""
    kind = type(value)
    size = ""
    if _package_of(kind) in sys.stdlib_module_names and issubclass(kind, Sized):
        size = f" of {len(value)}"
    elif _package_of(kind) in _TABLES and hasattr(kind, "shape"):
        size = f" of {' x '.join(map(str, value.shape))}"
    return f"<{_name_of(kind)}{size}>"


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _package_of(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]

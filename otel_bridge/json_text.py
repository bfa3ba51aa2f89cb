"""Any Python value as a short JSON text: parameters hold objects, NaN, sets, themselves, and sometimes a whole table. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from itertools import islice
from typing import Any

# Enough for parameters a person reads; a data frame is not one of them.
MOST_VALUES = 500
MOST_DEPTH = 8
MOST_TEXT_CHARS = 2_000
MOST_CHARS = 32_000

# A parameter of such a name is no business of whoever looks at a run. "max_tokens" and "secretary" are.
_SECRET = re.compile(
    r"(?:^|[_\-. ])(?:password|passwd|pwd|secret|token|api[_\-]?key|private[_\-]?key|authorization|credentials?)$", re.IGNORECASE
)
MASKED = "***"

_write = json.JSONEncoder(ensure_ascii=False).encode


def json_text(value: Any) -> str:
    """Return value as JSON, cut where it is too large or too deep; what JSON has no word for as its repr. Never raises an Exception.

    A text under a key that names a secret (password, api_key, access_token, ...) is masked.
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
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return cut(str(value))
        if isinstance(value, int):
            return int(value) if -(2**63) <= value < 2**63 else describe(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else describe(value)
        if isinstance(value, (date, time)):
            return value.isoformat()
        if depth >= MOST_DEPTH:
            return describe(type(value))
        if isinstance(value, Mapping):
            return self._mapping(value, depth + 1)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._items(value, depth + 1)
        return describe(value)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        try:
            made = {self._key(key): self._valued(key, item, depth) for key, item in self._affordable(value.items())}
        except Exception:  # noqa: BLE001  # somebody else's Mapping, or one that changes meanwhile
            return describe(value)
        if len(made) < len(value):
            made["…"] = f"{len(value) - len(made)} more"
        return made

    def _valued(self, key: Any, item: Any, depth: int) -> Any:
        is_secret = isinstance(item, (str, bytes)) and isinstance(key, str) and _SECRET.search(key)
        return MASKED if is_secret else self.plain(item, depth)

    def _items(self, value: Any, depth: int) -> Any:
        try:
            made = [self.plain(item, depth) for item in self._affordable(value)]
        except Exception:  # noqa: BLE001  # it changes while it is read
            return describe(type(value))
        return made if len(made) == len(value) else [*made, f"… {len(value) - len(made)} more"]

    def _affordable(self, items: Any) -> Iterator[Any]:
        """Yield items while values may be visited; what is nested takes from the same budget."""
        for item in islice(items, max(self._left, 0)):
            if self._left <= 0:
                return
            yield item

    def _key(self, key: Any) -> str:
        return cut(key) if isinstance(key, str) else describe(key)

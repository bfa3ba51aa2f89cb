"""Pages by key: a page goes on after the last key of the one before, whatever came since. A cursor is that key as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from collector.answers import Page
from collector.questions import LARGEST_PAGE, BadCursor

Item = TypeVar("Item")
Key = tuple[int | str, ...]


def page_of(items: Iterable[Item], key_of: Callable[[Item], Key], limit: int, after: Key | None, *, descending: bool = False) -> Page[Item]:
    """Return the first items by key, beyond `after`. No two items have the same key."""
    left = [item for item in items if after is None or (key_of(item) < after if descending else key_of(item) > after)]
    left.sort(key=key_of, reverse=descending)
    size = max(1, min(limit, LARGEST_PAGE))
    page = left[:size]
    return Page(page, cursor_of(key_of(page[-1])) if len(left) > size else None)


def cursor_of(key: Key) -> str:
    """Return the cursor of what comes after a key."""
    return json.dumps(key)


def key_of_cursor(cursor: str | None, *kinds: type) -> Key | None:
    """Return the key a cursor holds, of exactly these types; None for the first page. Raises BadCursor for text that is no cursor."""
    if cursor is None:
        return None
    try:
        key = json.loads(cursor)
    except ValueError as error:
        raise BadCursor from error
    if not isinstance(key, list) or [type(part) for part in key] != list(kinds):
        raise BadCursor
    return tuple(key)

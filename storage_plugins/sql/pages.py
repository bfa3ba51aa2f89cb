"""Keyset cursors of lists: opaque text around the last row's key, so that a page goes on where the last one ended, whatever came since."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from collector.questions import BadCursor
from otel_bridge.facts import harmless

Key = tuple[int | str, ...]

# The longest key is a flow_key of KEY_CHARS and a bit, of which each may be 12 characters of JSON, and base64 adds a third.
LONGEST_CURSOR = 16_384


def to_cursor(key: Key) -> str:
    """Return the text of a key; bytes go in as hex."""
    return urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def from_cursor(cursor: str, *kinds: type) -> Key:
    """Return the key of a cursor, of exactly these types. Raises BadCursor for text that is none of ours."""
    if len(cursor) > LONGEST_CURSOR:
        raise BadCursor
    try:
        key = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError) as error:
        raise BadCursor from error
    fits = isinstance(key, list) and len(key) == len(kinds) and all(type(part) is kind for part, kind in zip(key, kinds, strict=True))
    if not fits or any(abs(part) >= 2**63 if isinstance(part, int) else harmless(part) != part for part in key):
        raise BadCursor
    return tuple(key)


def hex_of(part: int | str) -> bytes:
    """Return the bytes a cursor carries as hex. Raises BadCursor."""
    try:
        return bytes.fromhex(str(part))
    except ValueError as error:
        raise BadCursor from error

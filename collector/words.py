"""What several facts about one thing say together: of ends the greatest, of attributes the last word, of texts the first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from re import Pattern
from typing import Any

from collector.attributes import attributes_from_json, from_json
from collector.model import FoldSpan
from collector.picture import CANCELLED, FAILED, SKIPPED, SUCCEEDED
from collector.winners import Seen
from otel_bridge import conventions as c

STATE_OF_RESULT = {
    c.RESULT_SUCCESS: SUCCEEDED,
    c.RESULT_FAILURE: FAILED,
    c.RESULT_ERROR: FAILED,
    c.RESULT_TIMEOUT: FAILED,
    c.RESULT_CANCELLATION: CANCELLED,
    c.RESULT_SKIP: SKIPPED,
}


def greatest_end(spans: Iterable[Seen]) -> FoldSpan | None:
    """Return the end that speaks for these spans together, None if none has ended."""
    ends = [seen.end for seen in spans if seen.end is not None]
    if len(ends) < 2:
        return ends[0] if ends else None
    return max(ends, key=lambda end: (end.rank, end.weight, end.digest))


def stated_state(end: FoldSpan) -> str:
    """Return what an end says of itself: its result word, else its status; empty if it only says that it is over."""
    if end.result in STATE_OF_RESULT:
        return STATE_OF_RESULT[end.result]
    return {c.STATUS_ERROR: FAILED, c.STATUS_OK: SUCCEEDED}.get(end.status_code, "")


def merged_attributes(spans: Iterable[Seen], wanted: Pattern[str] | None = None) -> dict[str, Any]:
    """Merge what a span's moments and end say: the end last, so that its word stands.

    wanted: finds a key the caller will ask for; a text without one is not parsed.
    """
    merged: dict[str, Any] = {}
    for seen in spans:
        for text in _attribute_texts(seen):
            if text and (wanted is None or wanted.search(text)):
                merged.update(attributes_from_json(text))
    return merged


def _attribute_texts(seen: Seen) -> list[str]:
    last = [seen.end.attributes] if seen.end is not None else []
    if not seen.once and not seen.often:
        return last
    once = [seen.once[kind].attributes for kind in (c.ANNOUNCED, c.QUEUED, c.BEGUN) if kind in seen.once]
    often = [moment.attributes for moment in seen.often if moment.kind != c.RETRIED]
    return [*once, *often, *last]


def first_text(values: Iterable[str]) -> str:
    """Return the first text that is not empty."""
    return next((value for value in values if value), "")


def first_number(values: Iterable[int]) -> int:
    """Return the first number that is not 0."""
    return next((value for value in values if value), 0)


def whole_number(value: Any) -> int | None:
    """Return a whole number that fits an int column of any database, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31 else None


def structure_of(value: Any) -> Any:
    """Return what a value holds: spans of older SDKs have no maps, so their senders write one as JSON text. Other text stays text."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        return from_json(value)
    except (ValueError, RecursionError):
        return value


def text_of(value: Any) -> str:
    """Return an attribute's value as text, empty for none."""
    return "" if value is None else str(value)


def sequence_of(value: Any) -> Sequence[Any]:
    """Return an attribute's value as a sequence: of itself if it is none."""
    if value is None:
        return ()
    return value if isinstance(value, list) else [value]

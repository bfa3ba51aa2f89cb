"""An exception as events tell it: its repr and traceback, cut. Never raises."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from otel_bridge.json_text import cut, describe

# A message or traceback longer than this is a file, not a line.
MOST_MESSAGE_CHARS = 16_000


def error_fields(error: BaseException | str | None) -> Mapping[str, Any]:
    """Return what an event says of an error; text is taken for the repr of one."""
    if error is None:
        return {}
    if isinstance(error, str):
        return {"error": cut(error, MOST_MESSAGE_CHARS)}
    return {"error": describe(error), "traceback": traceback_of(error)}


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error as text, cut; empty if it cannot be written."""
    try:
        return cut("".join(traceback.format_exception(type(error), error, error.__traceback__)), MOST_MESSAGE_CHARS)
    except Exception:  # noqa: BLE001  # somebody else's __str__
        return ""

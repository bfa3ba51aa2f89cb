"""Times, durations and senders' texts as a page prints them. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from otel_bridge.timestamps import to_iso
from viewer.present import browser_safe

NAME_CHARS = 200
TEXT_CHARS = 4000

# Above a minute a duration has two units: until so many of the larger one, the larger and the smaller in seconds.
UNITS = ((60, "min", "s", 60, 1), (24, "h", "min", 3600, 60), (100, "d", "h", 86_400, 3600))


@dataclass(frozen=True, slots=True)
class Moment:
    """A time to print: iso for machines, text for people (UTC). Both empty if unknown."""

    iso: str = ""
    text: str = ""


def moment(time_ns: int) -> Moment:
    """Return a time to print, to the second."""
    iso = to_iso(time_ns) if time_ns else ""
    return Moment(iso, iso[:19].replace("T", " "))


def clock(time_ns: int) -> Moment:
    """Return a time to print within a day, to the millisecond."""
    iso = to_iso(time_ns) if time_ns else ""
    return Moment(iso, iso[11:23])


def duration_text(duration_ns: int) -> str:
    """Return a duration in its two largest units; static/times.js says the same."""
    seconds = max(duration_ns, 0) / 1e9
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for most, large, small, large_s, small_s in UNITS:
        if whole < large_s * most:
            return f"{whole // large_s} {large} {whole % large_s // small_s} {small}"
    return f"{whole // 86_400:,} d"


def clip(text: str, limit: int = NAME_CHARS) -> str:
    """Return text no longer than a page bears; the API has it whole."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def json_text(value: object) -> str:
    """Return a sender's value as JSON to read, clipped; empty if there is none."""
    if value is None or value in ({}, [], ""):
        return ""
    return clip(json.dumps(browser_safe(value), ensure_ascii=False, indent=2), TEXT_CHARS)


def elapsed_text(started_ns: int, finished_ns: int, now_ns: int, *, is_open: bool) -> str:
    """Return how long something took, or has taken so far if it is open; empty if nobody knows."""
    until_ns = now_ns if is_open else finished_ns
    return duration_text(until_ns - started_ns) if started_ns and until_ns else ""

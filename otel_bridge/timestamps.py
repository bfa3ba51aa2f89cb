"""Times as people send them, made nanoseconds since the epoch, UTC. Pure.

R012: none, ISO with or without a zone, epoch seconds, ms, us or ns, as a number or as text.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache

LATEST_NS = 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# An epoch number tells its unit by its size: 10^11 s is the year 5138, 10^11 ms is 1973.
_UNITS = ((Decimal(10) ** 11, 10**9), (Decimal(10) ** 14, 10**6), (Decimal(10) ** 17, 10**3))
_NANOSECONDS = 10**17
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9})\d*)?\s*(Z|z|[+-]\d\d(?::?\d\d)?)?")
_NUMBER = re.compile(r"\s*\d{1,20}(\.\d{1,20})?\s*")


def to_ns(value: object) -> int:
    """Return value as ns since the epoch, or 0 where it says no usable time (then the receipt stands in for it)."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, int) and value >= _NANOSECONDS:  # as the bridge tells all its times: 0.2 us in place of 4
        return _within(value)
    if isinstance(value, (int, float)):
        return _from_number(value if isinstance(value, int) else repr(value))
    if isinstance(value, str):
        return _from_number(value) if _NUMBER.fullmatch(value) else _from_iso(value.strip())
    return 0


def to_iso(time_ns: int) -> str:
    """Return ns since the epoch as ISO 8601 in UTC with microseconds, as seed 000's timestamptz prints."""
    seconds, rest_ns = divmod(time_ns, 10**9)
    return f"{_second_text(seconds)}.{rest_ns // 1000:06}Z"


@lru_cache(1024)
def _second_text(seconds: int) -> str:
    """What is told at one time is of few seconds: strftime is most of what a time costs (8 us, not 1)."""
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def _from_number(written: int | str) -> int:
    try:
        number = Decimal(written)
    except InvalidOperation:
        return 0
    if not number.is_finite() or number <= 0 or number > LATEST_NS:
        return 0
    factor = next((factor for bound, factor in _UNITS if number < bound), 1)
    return _within(int(number * factor))


def _from_iso(text: str) -> int:
    match = _ISO.fullmatch(text)
    if match is None:
        return 0
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in (None, "Z", "z") else f"{zone[:3]}:{zone[3:].lstrip(':') or '00'}"
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}{offset}") - EPOCH
    except (ValueError, OverflowError):
        return 0
    return _within((whole.days * 86_400 + whole.seconds) * 10**9 + int((fraction or "0").ljust(9, "0")))


def _within(time_ns: int) -> int:
    return time_ns if 0 < time_ns <= LATEST_NS else 0

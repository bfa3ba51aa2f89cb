"""What is worth more than what, when not everything can be kept."""

from __future__ import annotations

from enum import IntEnum


class Worth(IntEnum):
    """How useful a record is; the least useful goes first. A run without its end is wrong for ever, without a line it is only poorer."""

    LINE = 0
    START = 1
    SPAN = 2
    END = 3

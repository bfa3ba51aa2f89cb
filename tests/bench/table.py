"""A small table of figures on standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One line: what was measured, how much, and what to hold it against. The unit is in the name."""

    name: str
    value: float
    note: str


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print figures under a title, three significant digits each."""
    width = max(len(figure.name) for figure in figures)
    lines = [f"{figure.name:<{width}}  {_digits(figure.value):>9}  {figure.note}".rstrip() for figure in figures]
    say("\n".join([title, *("  " + line for line in lines)]))


def say(line: str) -> None:
    """Print one line at once, so that a long bench is seen to move."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

"""The built-in dialects as a plugin. Apart from the package itself, which the hook specifications import."""

from __future__ import annotations

from collections.abc import Sequence

from collector.dialects import Dialect, pipeline, plain
from collector.hookspecs import hookimpl


@hookimpl
def make_dialects() -> Sequence[Dialect]:
    """Return ours and plain traces."""
    return (pipeline.DIALECT, plain.DIALECT)

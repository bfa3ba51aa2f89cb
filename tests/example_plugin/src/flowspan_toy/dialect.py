"""The toy's dialect: the instrumentation scope `toy` names its runs and steps in attributes of its own."""

from __future__ import annotations

from typing import Final

from collector.dialects import Dialect, LogLine, SpanEnd, SpanMoment, Work
from collector.dialects.table import Table

SCOPE: Final = "toy"

TABLE: Final = Table(
    default_source="toy",
    run_id=("toy.run",),
    flow_name=("toy.flow",),
    task_name=("toy.step",),
    node=("toy.node",),
    attempt=("toy.try",),
)


def recognise(fact: SpanEnd | SpanMoment | LogLine, /) -> Work | None:
    """Return the Work of what the scope `toy` sent. A moment has no scope: nobody sends any in these words."""
    if isinstance(fact, SpanMoment) or fact.scope.name != SCOPE:
        return None
    return TABLE.recognise(fact)


# A named system: after ours (0), before the conventions (200) and plain traces (1000).
DIALECT: Final = Dialect("toy", 100, recognise)

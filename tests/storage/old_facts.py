"""What stores that forget are given to forget, and where it would be left."""

from __future__ import annotations

from collector.batch import Batch
from collector.steady import batch_of, plain_span, run_ended
from collector.testing.retention import DAY_S
from storage_plugins.sql.tables import FACTS, table_of

KEPT_DAYS = 2
# Its clock is wrong by years.
NO_DAY = run_ended("r1", 1000 * DAY_S)
# Every table that retention empties.
EMPTIED = (*(table_of(table).name for table in FACTS), "runs", "run_traces", "run_dirty", "run_changes", "processes")


def many(count: int) -> Batch:
    """Return so many plain traces of the first day, of two spans each."""
    spans = [(plain_span(trace, 1, "GET /", 0), plain_span(trace, 2, "load", 0, parent=1)) for trace in range(1, count + 1)]
    return batch_of(*(span for pair in spans for span in pair))

"""A dotflow pipeline that knows nothing of Flowspan. Start it, where dotflow is installed beside `flowspan`, with

    flowspan run python examples/dotflow_pipeline.py

and its two workflows are on the Runs page of http://127.0.0.1:8000 while they run: the steps of one follow each other, the second try of
`clean` succeeds; the other reads its sources at once, each in a process.
"""

# mypy: disable-error-code="untyped-decorator"
import logging
import time
from typing import Any

from dotflow import DotFlow, action

logger = logging.getLogger("pipeline")
tries: list[str] = []


@action
def extract(initial_context: Any) -> list[str]:
    """Read the rows of one source. Log lines of a step are seen while it runs."""
    for part in range(1, 4):
        time.sleep(0.1)
        logger.warning("%s: part %d of 3 read", initial_context.storage, part)
    return [f"{initial_context.storage} {number}" for number in range(3)]


@action(retry=3, retry_delay=0)
def clean(previous_context: Any) -> list[str]:
    """Fail at first, as services do."""
    tries.append("another")
    if len(tries) == 1:
        raise ConnectionError("the service is busy")
    return [row.upper() for row in previous_context.storage]


@action
def load(previous_context: Any) -> int:
    """Say what would be written."""
    logger.warning("%d rows written", len(previous_context.storage))
    return len(previous_context.storage)


if __name__ == "__main__":
    report = DotFlow(name="report")
    report.task.add(step=extract, initial_context="orders").add(step=clean).add(step=load)
    report.start()

    sources = DotFlow(name="sources")
    for source in ("orders", "customers", "stock"):
        sources.task.add(step=extract, initial_context=source)
    sources.start(mode="parallel")

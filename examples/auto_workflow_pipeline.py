"""An auto-workflow program that knows nothing of Flowspan. In an environment that has both (`pip install auto-workflow flowspan`):

    flowspan run python examples/auto_workflow_pipeline.py

and its run is on the Runs page while it runs: a fan-out, a retry, a nested flow, log lines.
"""

import logging
import time
from typing import Any

from auto_workflow import fan_out, flow, task

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("pipeline")
tried: list[str] = []


@task
def list_shops() -> list[str]:
    """Return what is worked on."""
    time.sleep(0.5)
    return ["eu", "us", "jp"]


@task(retries=2, retry_backoff=0.2, tags={"slow"})
def read_orders(shop: str) -> int:
    """Count a shop's orders; one of the shops answers at the second try only."""
    time.sleep(0.4)
    if shop == "us" and shop not in tried:
        tried.append(shop)
        raise ConnectionError("the shop closed the connection")
    log.info("read the orders of %s", shop)
    return 100


@task
def write_report(counts: list[int]) -> Any:
    """Run another flow: it is a run of its own, and says where it was started."""
    return report.run(params={"orders": sum(counts)})


@task
def render() -> str:
    """Write the report."""
    time.sleep(0.5)
    log.warning("two orders have no price")
    return "report.html"


@flow
def report() -> Any:
    """Render the report."""
    return render()


@flow
def nightly_orders() -> Any:
    """Read the orders of every shop and report on them."""
    return write_report(fan_out(read_orders, list_shops()))


if __name__ == "__main__":
    print(nightly_orders.run(params={"day": "2026-11-20"}))  # noqa: T201  # what the program is for

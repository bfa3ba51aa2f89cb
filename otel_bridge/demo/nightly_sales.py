"""The pipeline `nightly_sales`: three extracts at once, a fan-out, a load that needs a second try, and a branch that fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from otel_bridge.demo.pipeline import Line, Run, Task, Work

PARTS = 4


def nightly_sales(run_id: str) -> Run:
    """Return a new run: about 16 seconds at pace 1.0."""
    extracts = [
        Task("extract_orders", "extract_orders", _extract("orders", 48_000, 3.6), description="Reads the day's orders from the shop"),
        Task("extract_customers", "extract_customers", _extract("customers", 12_400, 2.8)),
        Task("extract_rates", "extract_rates", _extract("exchange rates", 168, 2.0)),
    ]
    extracted = [task.node for task in extracts]
    cleans = [Task(f"clean:{part}", "clean", _clean(part), extracted) for part in (1, 2, 3)]
    cleaned = [task.node for task in cleans]
    rest = [
        Task("load_warehouse", "load_warehouse", _load_warehouse, cleaned, tries=3, description="Loads what is clean, in one transaction"),
        Task("score_model", "score_model", _score_model, cleaned),
        Task("publish_report", "publish_report", _publish_report, ["load_warehouse", "score_model"]),
        Task("send_summary", "send_summary", _send_summary, ["load_warehouse"]),
    ]
    return Run(
        run_id=run_id,
        flow="nightly_sales",
        tasks=[*extracts, *cleans, *rest],
        params={"day": "2026-11-20", "shop": "eu", "batch_rows": 4000},
        tags=["demo", "sales"],
        environment="demo",
    )


def _extract(what: str, rows: int, works_s: float) -> Work:
    def work(attempt: int) -> Iterator[Line]:
        yield Line(f"reading {what}", 0.4)
        for part in range(1, PARTS + 1):
            yield Line(f"read {rows * part // PARTS:,} of {rows:,} {what}", works_s / PARTS)

    return work


def _clean(part: int) -> Work:
    def work(attempt: int) -> Iterator[Line]:
        yield Line(f"part {part} of 3: 16,000 rows", 0.8 + 0.4 * part)
        yield Line(f"left out {7 * part} rows without a price", 0.6, logging.WARNING)
        yield Line("looked for duplicates: none", 0.4, logging.DEBUG)
        yield Line(f"part {part} is clean", 0.2)

    return work


def _load_warehouse(attempt: int) -> Iterator[Line]:
    yield Line("opened a transaction", 0.7)
    yield Line("copied 16,000 rows", 0.7)
    if attempt == 1:
        raise ConnectionError("the warehouse closed the connection")
    yield Line("copied 32,000 rows", 0.7)
    yield Line("copied 47,958 rows", 0.7)
    yield Line("committed", 0.2)


def _score_model(attempt: int) -> Iterator[Line]:
    yield Line("loading model churn-7", 1.2)
    yield Line("segment b2b has no orders", 1.0, logging.WARNING)
    raise ValueError("cannot score an empty segment: b2b")


def _publish_report(attempt: int) -> Iterator[Line]:
    yield Line("published", 1.0)


def _send_summary(attempt: int) -> Iterator[Line]:
    yield Line("wrote the summary: 47,958 orders", 1.0)
    yield Line("sent to sales@example.com", 1.0)

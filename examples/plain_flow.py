"""A flow without an engine: two decorators and plain Python. Start it with

    FLOWSPAN_URL=http://127.0.0.1:8000 .venv/bin/python examples/plain_flow.py

and watch it run on the Runs page. Without the variable the same program runs unseen.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from otel_bridge import flow, log, progress, task


@task
def fetch(city: str) -> list[int]:
    """Pretend to read sales. A call of a task is a task run: fetch:1, fetch:2, ..."""
    sales = []
    for hour in range(1, 11):
        time.sleep(0.1)
        sales.append(len(city) * hour)
        progress(hour, 10)
    return sales


@task(tags=["report"])
def report(sales: dict[str, list[int]]) -> str:
    """Add up city by city. What is called in a task is shown under it, functions and blocks alike."""
    lines = []
    for city, each in sales.items():
        with task(f"add up {city}"):
            time.sleep(0.3)
            lines.append(f"{city}: {sum(each)}")
            log(lines[-1], payload={"hours": len(each)})
    return "\n".join(lines)


@flow(tags=["example"])
def plain_flow(*cities: str) -> str:
    """Fetch all cities at once, then report. Threads and process pools stay in the run they are used in."""
    with ThreadPoolExecutor() as pool:
        sales = dict(zip(cities, pool.map(fetch, cities), strict=True))
    return report(sales)


if __name__ == "__main__":
    print(plain_flow("Bern", "Geneva", "Zug"))  # noqa: T201  # what the program is for

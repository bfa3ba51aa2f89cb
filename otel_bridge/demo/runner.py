"""Runs a pipeline in threads and tells reporters what happens. It knows no wire: what is reported where is the reporters' business."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from otel_bridge.demo.pipeline import Line, Reporter, Run, Task

WORKERS = 3
# How long a task rests before it is tried again, at pace 1.0.
BACKOFF_S = 1.5


class Runner:
    """Executes one run: `begin`, then `work` to its end."""

    def __init__(self, run: Run, reporters: Sequence[Reporter], pace: float) -> None:
        """pace: what every wait is multiplied with."""
        self._run = run
        self._reporters = reporters
        self._pace = pace
        self._errors: list[Exception] = []

    def begin(self) -> None:
        """Begin the run and announce its tasks; when this returns, the server knows of them. Raises Undelivered."""
        self._tell(lambda reporter, at_ns: reporter.run_began(at_ns))
        for task in self._run.tasks:
            self._announce(task)
        for reporter in self._reporters:
            reporter.flush()

    def work(self) -> None:
        """Run every task whose upstream succeeded, end the run and close the reporters. Raises Undelivered."""
        with ThreadPoolExecutor(WORKERS) as pool:
            self._run_all(pool)
        error = self._errors[0] if self._errors else None
        self._tell(lambda reporter, at_ns: reporter.run_ended(error, at_ns))
        for reporter in self._reporters:
            reporter.close()

    def _announce(self, task: Task) -> None:
        self._tell(lambda reporter, at_ns: reporter.task_announced(task, at_ns))

    def _queue(self, task: Task) -> None:
        self._tell(lambda reporter, at_ns: reporter.task_queued(task, at_ns))

    def _run_all(self, pool: ThreadPoolExecutor) -> None:
        waiting = list(self._run.tasks)
        running: dict[Future[Exception | None], Task] = {}
        succeeded: set[str] = set()
        while True:
            for task in [task for task in waiting if succeeded.issuperset(task.upstream)]:
                waiting.remove(task)
                self._queue(task)
                running[pool.submit(self._run_task, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, error = running.pop(future), future.result()
                if error is None:
                    succeeded.add(task.node)
                else:
                    self._errors.append(error)

    def _run_task(self, task: Task) -> Exception | None:
        self._tell(lambda reporter, at_ns: reporter.task_began(task, at_ns))
        number = 1
        error = self._attempt(task, number)
        while task.is_retried(number, error):
            time.sleep(BACKOFF_S * self._pace)
            number += 1
            error = self._attempt(task, number)
        self._tell(lambda reporter, at_ns: reporter.task_ended(task, error, at_ns))
        return error

    def _attempt(self, task: Task, number: int) -> Exception | None:
        if task.tries == 1:
            return self._do_work(task, number)
        self._tell(lambda reporter, at_ns: reporter.attempt_began(task, number, at_ns))
        error = self._do_work(task, number)
        self._tell(lambda reporter, at_ns: reporter.attempt_ended(task, number, error, at_ns))
        return error

    def _do_work(self, task: Task, number: int) -> Exception | None:
        try:
            for line in task.work(number):
                self._log(task, line)
                time.sleep(line.then_s * self._pace)
        except Exception as error:  # noqa: BLE001  # whatever a task raises is what a runner is there to report
            return error
        return None

    def _log(self, task: Task, line: Line) -> None:
        self._tell(lambda reporter, at_ns: reporter.task_logged(task, line, at_ns))

    def _tell(self, tell: Callable[[Reporter, int], None]) -> None:
        """One clock reading for all: two reporters of one run must tell of the same moment."""
        at_ns = time.time_ns()
        for reporter in self._reporters:
            tell(reporter, at_ns)

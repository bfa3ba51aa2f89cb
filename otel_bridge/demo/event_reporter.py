"""Reports a run as flow events: POST /api/v1/events from a thread of its own, whatever waits in one array."""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from typing import Any

from otel_bridge.demo.pipeline import Line, Run, Task, Undelivered, describe
from otel_bridge.demo.server import Server, TryAgain

PATH = "/api/v1/events"
LARGEST_ARRAY = 50
# A server that is restarted is back within these. Sending twice is harmless: every event carries its time.
WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0)

Event = dict[str, Any]


class EventReporter:
    """Tells one run in flow events, with the names auto-workflow uses."""

    def __init__(self, server: Server, run: Run, *, with_lines: bool = True) -> None:
        """with_lines: False where somebody else sends this run's log lines: a line has no id, told twice it is two lines."""
        self._run = run
        self._with_lines = with_lines
        self._sender = EventSender(server)
        self._began_ns: dict[str, int] = {}

    def run_began(self, at_ns: int) -> None:
        """Send flow_started."""
        run = self._run
        metadata = {"deployment.environment.name": run.environment}
        self._send("flow_started", at_ns, params=run.params, tags=run.tags, metadata=metadata, tasks=len(run.tasks))

    def task_announced(self, task: Task, at_ns: int) -> None:
        """Send task_announced."""
        described = {"description": task.description} if task.description else {}
        self._send_of(task, "task_announced", at_ns, upstream=task.upstream, **described)

    def task_queued(self, task: Task, at_ns: int) -> None:
        """Send task_queued."""
        self._send_of(task, "task_queued", at_ns)

    def task_began(self, task: Task, at_ns: int) -> None:
        """Send task_started."""
        self._began_ns[task.node] = at_ns
        self._send_of(task, "task_started", at_ns)

    def attempt_began(self, task: Task, number: int, at_ns: int) -> None:
        """Send nothing: in flow events attempts are known from the retries between them."""

    def attempt_ended(self, task: Task, number: int, error: Exception | None, at_ns: int) -> None:
        """Send task_retry if another attempt follows."""
        if error is not None and task.is_retried(number, error):
            self._send_of(task, "task_retry", at_ns, attempt=number, max=task.tries, error=describe(error))

    def task_logged(self, task: Task, line: Line, at_ns: int) -> None:
        """Send task_log."""
        if self._with_lines:
            self._send_of(task, "task_log", at_ns, level=logging.getLevelName(line.level), message=line.message)

    def task_ended(self, task: Task, error: Exception | None, at_ns: int) -> None:
        """Send task_ok or task_err."""
        duration_ms = (at_ns - self._began_ns[task.node]) / 1e6
        if error is None:
            self._send_of(task, "task_ok", at_ns, duration_ms=duration_ms)
            return
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._send_of(task, "task_err", at_ns, duration_ms=duration_ms, error=describe(error), traceback=trace)

    def run_ended(self, error: Exception | None, at_ns: int) -> None:
        """Send flow_completed, as engines do: it says only that the run is over, its tasks say how."""
        self._send("flow_completed", at_ns, tasks=len(self._run.tasks))

    def flush(self) -> None:
        """Wait until the server has everything. Raises Undelivered."""
        self._sender.flush()

    def close(self) -> None:
        """Flush and end the thread. Raises Undelivered."""
        self._sender.close()

    def _send_of(self, task: Task, name: str, at_ns: int, **fields: Any) -> None:
        self._send(name, at_ns, task=task.name, node=task.node, **fields)

    def _send(self, name: str, at_ns: int, **fields: Any) -> None:
        self._sender.send({"event": name, "ts": at_ns, "run_id": self._run.run_id, "flow": self._run.flow, **fields})


class EventSender:
    """Posts events in order from one thread. After a failure it drops what follows, and says so at the next flush."""

    def __init__(self, server: Server) -> None:
        """Start the thread."""
        self._server = server
        self._failure: Undelivered | None = None
        # No bound: a run of this demo has some eighty events.
        self._queue: queue.Queue[Event | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="flow events", daemon=True)
        self._thread.start()

    def send(self, event: Event) -> None:
        """Put an event in the queue."""
        self._queue.put(event)

    def flush(self) -> None:
        """Wait until every event was answered. Raises Undelivered."""
        self._queue.join()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Flush and end the thread. Raises Undelivered."""
        self._queue.put(None)
        self._thread.join()
        self.flush()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            events = [first, *self._waiting()]
            if self._failure is None:
                self._deliver(events)
            for _ in events:
                self._queue.task_done()
        self._queue.task_done()

    def _waiting(self) -> list[Event]:
        """Take what waits already. Only this thread takes, so what was seen stays there."""
        events: list[Event] = []
        while len(events) < LARGEST_ARRAY - 1 and not self._queue.empty():
            event = self._queue.get()
            if event is None:
                self._queue.task_done()
                self._queue.put(None)
                break
            events.append(event)
        return events

    def _deliver(self, events: list[Event]) -> None:
        for wait_s in (*WAITS_S, None):
            try:
                self._server.post(PATH, events[0] if len(events) == 1 else events)
                return
            except TryAgain as error:
                if wait_s is None:
                    self._failure = error
                    return
                time.sleep(wait_s)
            except Undelivered as error:
                self._failure = error
                return

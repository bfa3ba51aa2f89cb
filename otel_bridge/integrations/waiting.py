"""Task runs that were tried here and wait to be tried again, by this process or another."""

from __future__ import annotations

from otel_bridge.runs import Run

# A span each, some 3 KB.
MOST_HELD = 500


class Waiting:
    """Speaks for them meanwhile: a process that holds one gives signs of life. The oldest are left; another process may have taken them up."""

    def __init__(self, most: int = MOST_HELD) -> None:
        """Hold none. most: how many are held."""
        self._most = most
        self._held: dict[tuple[str, str], Run] = {}

    def hold(self, run: Run, node: str) -> None:
        """Speak for a task run from now on."""
        self._held[run.run_id, node] = run
        if len(self._held) > self._most:
            oldest = next(iter(self._held))
            self._held.pop(oldest).leave_task(oldest[1])

    def take_up(self, run: Run, node: str) -> None:
        """Hold it no longer: it is tried again here, and its end will be told."""
        self._held.pop((run.run_id, node), None)

"""A watcher of one run over a live socket, as a browser is one: it comes again from where it was when it is cut off or told to."""

from __future__ import annotations

import json
import threading
from urllib.parse import urlencode

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

LOOK_EVERY_S = 0.2
COME_AGAIN_S = 0.1


class Watcher(threading.Thread):
    """Notes which lines of a run's log it was told. interrupted: how often it had to connect again; resyncs: how often to begin anew."""

    def __init__(self, port: int, run_id: str) -> None:
        super().__init__(daemon=True)
        self.seen: set[str] = set()
        self.interrupted = 0
        self.resyncs = 0
        self._address = f"ws://127.0.0.1:{port}/ws/runs/{run_id}"
        self._cursor = ""
        self._changed = threading.Condition()
        self._told = threading.Event()

    def wait_for(self, lines: set[str], timeout_s: float) -> set[str]:
        """Wait until it was told of all these lines. Returns those it was not."""
        with self._changed:
            self._changed.wait_for(lambda: lines <= self.seen, timeout_s)
            return lines - self.seen

    def stop(self) -> None:
        """Let it end."""
        self._told.set()
        self.join()

    def run(self) -> None:
        """Watch until told to stop."""
        while not self._told.is_set():
            try:
                self._watch()
            except (OSError, WebSocketException):
                self.interrupted += 1
                self._told.wait(COME_AGAIN_S)

    def _watch(self) -> None:
        query = f"?{urlencode({'cursor': self._cursor})}" if self._cursor else ""
        with connect(self._address + query) as socket:
            while not self._told.is_set():
                try:
                    message = json.loads(socket.recv(timeout=LOOK_EVERY_S))
                except TimeoutError:
                    continue
                if message["kind"] == "resync":
                    self.resyncs += 1
                    self._cursor = ""
                    return
                self._hear(message["kind"], message["data"])

    def _hear(self, kind: str, data: dict[str, str]) -> None:
        if kind == "flow":
            self._cursor = data["cursor"]
        elif kind == "log":
            with self._changed:
                self.seen.add(data["message"])
                self._changed.notify_all()

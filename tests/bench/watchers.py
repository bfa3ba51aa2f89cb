"""Watchers of runs over live sockets: one that comes again from where it was, as a browser does, and many that cost next to nothing."""

from __future__ import annotations

import json
import re
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.protocol import State
from websockets.sync.client import connect
from websockets.uri import parse_uri

LOOK_EVERY_S = 0.2
COME_AGAIN_S = 0.1
# Without a message for so long, a crowd takes what it has for all.
SILENCE_S = 15.0
READ_BYTES = 262_144

# A line that says nothing but its number.
SAID = re.compile(rb'"message": ?"(\d+)"')


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


class Crowd(threading.Thread):
    """Many open pages in one thread, so that the bench leaves the server its share of the machine. Notes when each number is first seen.

    Each page asks as ours does, and takes compressed frames, as browsers do. It ends when every page has seen its share, or hears nothing.
    """

    def __init__(self, port: int, run_ids: Sequence[str], share: int) -> None:
        """run_ids: one page each. share: how many lines each run will tell, numbers from SAID."""
        super().__init__(daemon=True)
        self.seen_at: list[dict[int, float]] = [{} for _ in run_ids]
        self._missing = share * len(run_ids)
        self._selector = selectors.DefaultSelector()
        for run_id, seen_at in zip(run_ids, self.seen_at, strict=True):
            page = _open_page(port, f"/ws/runs/{run_id}?html=1&batch=1")
            self._selector.register(page.socket, selectors.EVENT_READ, (page, seen_at))

    def run(self) -> None:
        """Listen until all was seen."""
        while self._missing and (ready := self._selector.select(SILENCE_S)):
            for key, _ in ready:
                page, seen_at = key.data
                self._note(page.read(), seen_at)
                if page.is_over:
                    self._selector.unregister(page.socket)

    def close(self) -> None:
        """Close every page."""
        for key in list(self._selector.get_map().values()):
            key.data[0].socket.close()
        self._selector.close()

    def _note(self, frames: list[bytes], seen_at: dict[int, float]) -> None:
        now = time.perf_counter()
        for frame in frames:
            for number in SAID.findall(frame):
                self._missing -= int(number) not in seen_at
                seen_at.setdefault(int(number), now)


@dataclass(slots=True)
class _Page:
    """One socket, and what reads frames from it."""

    socket: socket.socket
    protocol: ClientProtocol
    is_over: bool = False

    def read(self) -> list[bytes]:
        """Return the frames that have come, and answer pings. A resync is the end of a page."""
        told = self.socket.recv(READ_BYTES)
        self.is_over = not told
        self.protocol.receive_data(told) if told else self.protocol.receive_eof()
        frames = [bytes(one.data) for one in self.protocol.events_received() if isinstance(one, Frame)]
        for answer in self.protocol.data_to_send():
            self.socket.sendall(answer)
        return frames


def _open_page(port: int, path: str) -> _Page:
    """Open a socket; it is ours once the server has accepted it."""
    compressed = ClientPerMessageDeflateFactory(client_max_window_bits=True)
    protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}{path}"), extensions=[compressed], max_size=None)
    page = _Page(socket.create_connection(("127.0.0.1", port)), protocol)
    protocol.send_request(protocol.connect())
    page.socket.sendall(b"".join(protocol.data_to_send()))
    while protocol.state is State.CONNECTING:
        page.read()
        assert not page.is_over, f"the server refused {path}"
    return page

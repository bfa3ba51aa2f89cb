"""Load that costs next to nothing: ready bytes over kept connections. The generator shares the machine with what it measures."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from tests.bench.requests import PROTOBUF, Request

TIMEOUT_S = 120.0
READ_BYTES = 65_536
# A whole request was taken: OTLP says so by an empty message, flow events by this.
TAKEN = (b"", b'{"ok":true}')


@dataclass(slots=True)
class Load:
    """What sending came to. answer_s: of each request; statuses: how often each; refused: answers that did not take everything."""

    took_s: float = 0.0
    answer_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    refused: int = 0


class Connection:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def exchange(self, message: bytes) -> tuple[int, bytes]:
        """Send one request, ready to go, and return the answer's status and body. Raises OSError."""
        self._socket.sendall(message)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._read()
        head, _, body = answer.partition(b"\r\n\r\n")
        length = _length(head)
        while len(body) < length:
            body += self._read()
        return int(head.split(b" ", 2)[1]), body

    def _read(self) -> bytes:
        found = self._socket.recv(READ_BYTES)
        if not found:
            raise ConnectionError("the server closed the connection")
        return found


def ready(request: Request) -> bytes:
    """Return a request as it goes over the wire."""
    return message("POST", request.path, request.body, request.media)


def message(method: str, path: str, body: bytes = b"", media: str = PROTOBUF) -> bytes:
    """Return any request as it goes over the wire."""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def send_all(port: int, messages: Sequence[bytes], connections: int) -> Load:
    """Send everything over so many connections, each the next as soon as the last is answered."""
    load, waiting = Load(), deque(messages)
    threads = [threading.Thread(target=_work, args=(port, waiting, load)) for _ in range(connections)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.took_s = time.perf_counter() - began
    assert sum(load.statuses.values()) == len(messages), "a sender's connection broke"
    return load


def _work(port: int, waiting: deque[bytes], load: Load) -> None:
    with closing(Connection(port)) as connection:
        while True:
            try:
                sent = waiting.popleft()
            except IndexError:
                return
            began = time.perf_counter()
            status, body = connection.exchange(sent)
            load.answer_s.append(time.perf_counter() - began)
            load.statuses[status] += 1
            load.refused += status != 200 or body not in TAKEN


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0

"""Real sockets behind which something is wrong: servers that never answer, refuse, cut off or talk nonsense; and a proxy."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO

import trustme

# What a test waits for happens at once; a machine that tests several things at once may be slow.
PATIENCE_S = 60.0

# Of this process alone: nobody vouches for it but itself.
AUTHORITY = trustme.CA()


@dataclass(frozen=True)
class Request:
    """One request as it came. body: inflated. connection: which of the server's connections it came by, from 1."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


Answer = Callable[[Request], bytes | None]


def status(code: int, *headers: str, body: bytes = b"") -> Answer:
    """Answer every request with this status. headers: as they are written, "Retry-After: 2"."""
    lines = [f"HTTP/1.1 {code} so", f"Content-Length: {len(body)}", *headers, "", ""]
    return lambda request: "\r\n".join(lines).encode() + body


def silence(request: Request) -> None:
    """Never answer, and keep the connection open."""


def raw(answer: bytes) -> Answer:
    """Answer with these bytes, and close."""
    return lambda request: answer + _AND_CLOSE


ok = status(200)
cut = raw(b"HTTP/1.1 2")
garbage = raw(b"\x00\xff SSH-2.0 nonsense\r\n\r\n")
hang_up = raw(b"")
# Closed by a server that has promised to keep it: what clients find out with the next request.
ok_then_closed = raw(b"HTTP/1.1 200 so\r\nContent-Length: 0\r\n\r\n")

_AND_CLOSE = b"<and close>"


class BadServer:
    """Listens on the loopback and answers each request as `answer` says, which may be changed at any time. Use it in a `with` statement."""

    def __init__(self, answer: Answer = ok, *, tls: bool = False) -> None:
        """tls: with a certificate of AUTHORITY."""
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self._scheme = "https" if tls else "http"
        self._context = _server_context() if tls else None
        self._changed = threading.Condition()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> BadServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_connections()

    @property
    def url(self) -> str:
        """Return its address."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[bytes]:
        """Return what it was sent."""
        return [request.body for request in self.requests]

    def wait_for(self, count: int) -> list[Request]:
        """Return the requests once there are so many. Raises TimeoutError."""
        self.wait_until(lambda requests: len(requests) >= count)
        return list(self.requests)

    def wait_until(self, is_enough: Callable[[list[Request]], bool]) -> None:
        """Wait until the requests are what they should be. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: is_enough(self.requests), PATIENCE_S):
                raise TimeoutError(f"{len(self.requests)} requests came, and are not what was waited for")

    def close_connections(self) -> None:
        """Close every connection, as a server does with those that are idle."""
        with self._changed:
            taken, self._open = self._open, []
        for connection in taken:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                connection, _ = self._listener.accept()
                with self._changed:
                    self.connections += 1
                threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError, ValueError):  # the other end has gone, or this one was closed
            spoken = self._context.wrap_socket(connection, server_side=True) if self._context is not None else connection
            with self._changed:
                self._open.append(spoken)
            with spoken, spoken.makefile("rb") as stream:
                while (request := _read(stream, number)) is not None:
                    self._take(request)
                    if not self._reply(spoken, self.answer(request)):
                        return

    def _take(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def _reply(self, connection: socket.socket, said: bytes | None) -> bool:
        """Send what is to be said; return whether the connection stays."""
        if said is None:
            return True
        connection.sendall(said.removesuffix(_AND_CLOSE))
        return not said.endswith(_AND_CLOSE)


def _read(stream: IO[bytes], number: int) -> Request | None:
    words = stream.readline().decode("latin-1").split()
    if len(words) != 3:
        return None
    headers = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Request(words[0], words[1], headers, gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body, number)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


class Proxy(BadServer):
    """A forward proxy: CONNECT opens a tunnel, a whole address is asked for. Every other request is answered 400."""

    def __init__(self) -> None:
        """It knows no names but addresses."""
        super().__init__(self._forward)

    def _forward(self, request: Request) -> bytes | None:
        host, _, path = request.target.removeprefix("http://").partition("/")
        if request.method == "CONNECT" or not request.target.startswith("http://"):
            return status(400)(request)
        with socket.create_connection(_address(host), PATIENCE_S) as server:
            lines = [f"{request.method} /{path} HTTP/1.1", f"Content-Length: {len(request.body)}", "Connection: close", "", ""]
            server.sendall("\r\n".join(lines).encode() + request.body)
            return server.recv(65536)

    def _serve(self, connection: socket.socket, number: int) -> None:
        """Only the first line decides; after a CONNECT it is bytes to and fro."""
        head = connection.recv(65536, socket.MSG_PEEK)
        if not head.startswith(b"CONNECT "):
            super()._serve(connection, number)
            return
        with suppress(OSError), connection, socket.create_connection(_address(head.split()[1].decode()), PATIENCE_S) as server:
            with connection.makefile("rb") as stream:
                request = _read(stream, number)
            assert request is not None
            self._take(request)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pass_on, args=(server, connection), daemon=True)
            back.start()
            _pass_on(connection, server)
            back.join()


def _address(authority: str) -> tuple[str, int]:
    host, _, port = authority.rpartition(":")
    return host, int(port)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)

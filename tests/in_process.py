"""The real application on a real port, in a thread of the test's own process: quick to start, and its parts can be looked at.

A server in a process of its own, to be killed, is tests/servers.py.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # googleapis-common-protos has stubs but no py.typed
from prometheus_client.parser import text_string_to_metric_families

from collector.app import create_app
from collector.doors import Collector
from collector.server import bind, make_server, port_of
from collector.settings import Settings

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}

# Nothing here takes a second; a machine that tests several things at once may be slow: with a load of 11 on two cores a start took 53 s.
PATIENCE_S = 120.0
# Between two looks at what will happen: without it who waits takes a core from whom it waits for.
LOOK_EVERY_S = 0.01

Headers = dict[str, str]


@dataclass
class Server:
    """A running application and a client of it, which follows no redirect."""

    app: FastAPI
    port: int
    client: httpx.Client
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        """Return the address it listens at."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def collector(self) -> Collector:
        """Return what plugins are given."""
        collector: Collector = self.app.state.collector
        return collector

    def soon(self, work: Callable[[], object]) -> None:
        """Have something done in the event loop, before it takes another request: the application's parts belong to it."""
        self.loop.call_soon_threadsafe(work)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask for a path."""
        return self.client.get(path, headers=headers)

    def get_as_written(self, path: str) -> httpx.Response:
        """Ask for a path that no client tidies up: "/runs/.." stays what it is."""
        return self.client.get("/", extensions={"target": path.encode()})

    def json(self, path: str) -> Any:
        """Return what the API answers with 200."""
        answer = self.client.get(path)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    def post(self, path: str, body: bytes | str, *headers: Headers) -> httpx.Response:
        """Send a body with all these headers."""
        merged = {name: value for some in headers for name, value in some.items()}
        return self.client.post(path, content=body, headers=merged)

    def send(self, *events: object) -> httpx.Response:
        """Send flow events as one array."""
        return self.post("/api/v1/events", json.dumps(events), JSON)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels, 0 if there is none."""
        families = text_string_to_metric_families(self.client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        return sum(one.value for one in samples if one.name == f"flowspan_{name}" and labels.items() <= one.labels.items())


@contextmanager
def running(**given: Any) -> Iterator[Server]:
    """Serve with these settings, in memory unless they say otherwise; stopped, with everything stored, at the end."""
    settings = Settings(**({"database_url": "memory:"} | given))
    app = create_app(settings)
    listener = bind("127.0.0.1", 0)
    port = port_of(listener)
    server = make_server(app, settings)
    server.config.ws_ping_timeout = PATIENCE_S  # who reads nothing answers no ping: a test that stands still for long would be cut off
    thread = threading.Thread(target=server.run, args=([listener],), name="server")
    thread.start()
    try:
        # No TLS here: to read the machine's certificates takes each client 25 ms of a core.
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, trust_env=False, verify=False) as client:
            client.get("/health/live")
            yield Server(app, port, client, server.servers[0].get_loop())
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def eventually(question: Callable[[], bool]) -> None:
    """Ask until the answer is yes. For what a server does after it has answered: the lists are folded then."""
    until = time.monotonic() + PATIENCE_S
    while not question():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(LOOK_EVERY_S)


def zipped(body: bytes | str) -> bytes:
    """Return a body in gzip."""
    return gzip.compress(body.encode() if isinstance(body, str) else body, mtime=0)  # the same bytes in every process


def unfinished(server: Server, media_type: str, beginning: bytes, *, length: int, path: str = "/v1/traces") -> socket.socket:
    """Send the head of a request and the beginning of its body. Closing the socket is going away."""
    sender = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    sender.sendall(head.encode() + beginning)
    return sender


def read_answer(sender: socket.socket) -> httpx.Response:
    """Read one answer that says how long it is."""
    with sender.makefile("rb") as lines:
        status = int(lines.readline().split()[1])
        head = iter(lambda: lines.readline().strip().decode(), "")
        headers = httpx.Headers([(name, value.strip()) for name, _, value in (line.partition(":") for line in head)])
        return httpx.Response(status, headers=headers, content=lines.read(int(headers["content-length"])))


def status_of(answer: httpx.Response) -> Any:
    """Return the google.rpc.Status of an error, which is in protobuf if the content type says so."""
    if answer.headers["content-type"] == PROTOBUF["Content-Type"]:
        return Status.FromString(answer.content)
    found = answer.json()
    assert JSON["Content-Type"] == answer.headers["content-type"]
    assert {"code", "message", "details"} == found.keys()
    return Status(code=found["code"], message=found["message"])

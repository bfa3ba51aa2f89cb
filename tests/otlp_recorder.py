"""An OTLP/HTTP endpoint that is no Flowspan server: it takes everything, as a Jaeger does, and keeps it to be looked at."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class OtlpRecorder:
    """What came in. `spans` are of /v1/traces; `paths` of everything."""

    def __init__(self, url: str) -> None:
        """url: where it listens."""
        self.url = url
        self.paths: list[str] = []
        self.bodies: list[bytes] = []

    def spans(self, *, of_bridge: bool = False) -> list[Span]:
        """Return the spans that came, by start: those the program made itself, or those the bridge made of its runs."""
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found += [span for span in scope.spans if (scope.scope.name == "flowspan") == of_bridge]
        return sorted(found, key=lambda span: span.start_time_unix_nano)


@contextmanager
def recording() -> Iterator[OtlpRecorder]:
    """Listen on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            recorder.paths.append(self.path)
            if self.path == "/v1/traces":
                recorder.bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        recorder = OtlpRecorder(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()

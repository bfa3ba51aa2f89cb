"""What the collector says of itself: metrics, health, log lines with request ids, and its own API pages."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from collector.log_format import JsonFormatter, TextFormatter
from tests.fragile_storage import fragile_server
from tests.in_process import JSON, PATIENCE_S, PROTOBUF, Server, eventually, running
from tests.live_sockets import open_socket
from tests.otlp_bodies import a_span, span_request

TRACES = span_request(a_span(), a_span(span_id=b"bad")).SerializeToString()


# R150
def test_metrics_count_what_came_what_was_stored_and_why_the_rest_was_not(server: Server) -> None:
    server.post("/v1/traces", TRACES, PROTOBUF)
    server.post("/v1/traces", b"[]", JSON)
    server.send({"event": "flow_started", "run_id": "r1"}, {"event": "flow_started"})

    assert (2, 1) == (server.metric("received_total", signal="traces"), server.metric("stored_total", signal="traces"))
    assert (2, 1) == (server.metric("received_total", signal="events"), server.metric("stored_total", signal="events"))
    assert 1 == server.metric("refused_total", signal="traces", reason="record")
    assert 1 == server.metric("refused_total", signal="traces", reason="unreadable")
    assert 1 == server.metric("refused_total", signal="events", reason="record")


# R150
def test_metrics_tell_of_the_queue_the_commits_and_the_folds(server: Server) -> None:
    server.send({"event": "flow_started", "run_id": "r1"})
    eventually(lambda: server.metric("fold_seconds_count") >= 1)

    assert 0 == server.metric("queue_bytes")
    assert 1 == server.metric("commit_seconds_count")
    assert 1 == server.metric("commit_requests_sum")


# R150
def test_metrics_tell_of_every_read(server: Server) -> None:
    before = server.metric("read_seconds_count")

    server.get("/flows")

    assert server.metric("read_seconds_count") > before


# R150
def test_requests_are_counted_by_the_pattern_of_their_path(server: Server) -> None:
    server.post("/v1/traces", TRACES, PROTOBUF)
    server.send({"event": "flow_started", "run_id": "a/b"})
    for path in ("/runs/a%2Fb", "/runs/none", "/api/v1/runs/a%2Fb", "/static/live.js", "/static/none.js", "/nowhere", "/else"):
        server.get(path)

    def count(route: str, status: str) -> float:
        return server.metric("http_requests_total", route=route, status=status)

    assert (1, 1) == (count("/v1/traces", "200"), count("/api/v1/events", "200"))
    assert (1, 1) == (count("/runs/{run_id:path}", "200"), count("/runs/{run_id:path}", "404"))
    assert 1 == count("/api/v1/runs/{run_id:path}", "200")
    assert (1, 1, 2) == (count("/static", "200"), count("/static", "404"), count("unmatched", "404"))
    assert 1 == server.metric("http_request_seconds_count", route="/v1/traces")


# R150 R188
def test_open_sockets_are_counted(server: Server) -> None:
    server.send({"event": "flow_started", "run_id": "r1"})

    with open_socket(server.port, "/ws/runs/r1") as socket:
        socket.recv(timeout=PATIENCE_S)
        during = server.metric("sockets", kind="ws")
    eventually(lambda: server.metric("sockets", kind="ws") == 0)

    assert 1 == during


# R151
@pytest.mark.parametrize("path", ["/healthz", "/health/live", "/health/ready"])
def test_a_healthy_server_says_so(server: Server, path: str) -> None:
    answer = server.get(path)

    assert (200, {"status": "ok"}) == (answer.status_code, answer.json())


# R151
def test_without_its_store_it_lives_and_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fragile_server(tmp_path, monkeypatch) as (server, weather):
        weather.down = True
        gone = [server.get(path).status_code for path in ("/health/live", "/health/ready", "/healthz")]
        weather.down = False
        back = [server.get(path).status_code for path in ("/health/live", "/health/ready", "/healthz")]

    assert ([200, 503, 503], [200, 200, 200]) == (gone, back)


def test_without_its_store_pages_and_api_say_so_and_do_not_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ("/flows", "/runs", "/runs/r1", "/api/v1/runs", "/api/v1/runs/r1", "/api/v1/flows", "/api/v1/traces/" + "ab" * 16, "/sse/runs/r1")

    with fragile_server(tmp_path, monkeypatch) as (server, weather):
        weather.down = True
        answers = [server.get(path) for path in paths]

    assert [503] * len(paths) == [answer.status_code for answer in answers]
    assert all("retry-after" in answer.headers for answer in answers)


# R154
def test_a_request_keeps_the_id_it_came_with(server: Server) -> None:
    answer = server.get("/healthz", **{"X-Request-ID": "build-7.3_a"})

    assert "build-7.3_a" == answer.headers["x-request-id"]


# R154
@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "<script>"])
def test_a_request_without_a_usable_id_gets_one(server: Server, given: str) -> None:
    answers = [server.get("/nowhere", **{"X-Request-ID": given}) for _ in range(2)]

    first, second = (answer.headers["x-request-id"] for answer in answers)
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert first != second


# R154
def test_each_request_is_one_line_with_its_id_and_never_a_key(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []
    formatter = JsonFormatter()
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(formatter.format(record))  # type: ignore[method-assign]  # formatted in the request's context

    with caplog.at_level(logging.INFO, "collector"), running(server_api_keys=("a-secret",)) as server:
        logging.getLogger("collector.access").addHandler(handler)
        server.get("/sse/runs/x?api_key=a-secret", **{"X-Request-ID": "me"})
        server.post("/v1/traces", b"[]", JSON, {"x-api-key": "a-secret"})
        logging.getLogger("collector.access").removeHandler(handler)

    first, second = (json.loads(line) for line in lines)
    assert ("me", "INFO", "collector.access") == (first["request_id"], first["level"], first["logger"])
    assert "POST /v1/traces 400" in second["message"]
    assert "a-secret" not in "".join(lines)


# R154
def test_a_json_line_holds_the_traceback() -> None:
    try:
        raise KeyError("x")
    except KeyError:
        record = logging.getLogger("a").makeRecord("a", logging.ERROR, "", 0, "it %s", ("broke",), __import__("sys").exc_info())

    line = json.loads(JsonFormatter().format(record))

    assert ("it broke", "ERROR", "a") == (line["message"], line["level"], line["logger"])
    assert "KeyError: 'x'" in line["exception"]
    assert line["ts"].endswith("Z")


# R154
def test_no_text_of_a_sender_begins_a_line_of_the_log() -> None:
    record = logging.getLogger("a").makeRecord("a", logging.INFO, "", 0, "GET %s", ("/x\nforged \x1b[31m\u2028",), None)

    line = TextFormatter().format(record)

    assert line.endswith("INFO a GET /x\n  forged \\x1b[31m\\u2028")


def test_a_path_with_line_ends_makes_no_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "collector.access"), running() as server:
        server.get("/x%0Aforged")

    assert "GET /x%0Aforged 404" in caplog.text


# R141
@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_api_is_described_without_another_host(server: Server, path: str) -> None:
    page = server.get(path)

    fetched = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert 200 == page.status_code
    assert fetched
    assert all(address.startswith("/") and not address.startswith("//") for address in fetched)
    assert [200] * len(fetched) == [server.get(address).status_code for address in fetched]


# R141
def test_openapi_names_every_read_address(server: Server) -> None:
    paths = server.json("/openapi.json")["paths"]

    assert {"/api/v1/runs", "/api/v1/runs/{run_id}", "/api/v1/runs/{run_id}/tasks", "/api/v1/runs/{run_id}/logs"} <= paths.keys()
    assert {"/api/v1/flows", "/api/v1/flows/{flow_key}", "/api/v1/traces/{trace_id}", "/healthz", "/metrics"} <= paths.keys()


# R109
@pytest.mark.parametrize("path", ["/flows", "/healthz", "/nowhere", "/docs", "/metrics", "/api/v1/flows"])
def test_every_answer_tells_browsers_what_not_to_do(server: Server, path: str) -> None:
    headers = server.get(path).headers

    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "nosniff" == headers["x-content-type-options"]

"""What OTLP over HTTP bounds: bytes, time, room in the queue, and the pages that may send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fragile_storage import fragile_server
from tests.in_process import GZIP, JSON, PROTOBUF, Server, eventually, read_answer, running, status_of, unfinished, zipped
from tests.otlp_bodies import a_span, span_request

TRACES = span_request(a_span()).SerializeToString()


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """Return a server that the tests of this file share: none of them looks at more than its own answer."""
    with running(max_body_bytes=1_000_000, cors_allowed_origins=("https://shop.example",)) as one:
        yield one


# --- limits ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
@pytest.mark.parametrize(("body", "more"), [(b"x" * 1_000_001, {}), (zipped(b"\0" * 50_000_000), GZIP), (zipped(b"\0" * 1_000_001), GZIP)])
def test_a_body_too_large_is_413_inflated_or_not(shared: Server, headers: dict[str, str], body: bytes, more: dict[str, str]) -> None:
    answer = shared.post("/v1/traces", body, headers, more)

    assert (413, headers["Content-Type"]) == (answer.status_code, answer.headers["content-type"])
    assert "1000000" in status_of(answer).message


def test_a_body_of_unsaid_length_is_limited_too(shared: Server) -> None:
    chunks = (b"x" * 100_000 for _ in range(11))

    answer = shared.client.post("/v1/traces", content=chunks, headers=PROTOBUF)

    assert 413 == answer.status_code


def test_a_body_that_does_not_come_is_408() -> None:
    with running(body_timeout_s=0.05) as server, unfinished(server, PROTOBUF["Content-Type"], b"x", length=1000) as sender:
        answer = read_answer(sender)

    assert (408, "application/x-protobuf") == (answer.status_code, answer.headers["content-type"])
    assert status_of(answer).message


# R050 R146
@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_a_full_queue_is_503_until_there_is_room(headers: dict[str, str]) -> None:
    with running(queue_bytes=4096, retry_after_s=7) as server:
        with unfinished(server, PROTOBUF["Content-Type"], b"x" * 4000, length=4001):
            eventually(lambda: server.metric("queue_bytes") >= 4000)
            refused = server.post("/v1/traces", b" " * 100, headers)
        eventually(lambda: server.metric("queue_bytes") == 0)
        taken = server.post("/v1/traces", TRACES, PROTOBUF)

    assert (503, "7", headers["Content-Type"]) == (refused.status_code, refused.headers["retry-after"], refused.headers["content-type"])
    assert 14 == status_of(refused).code
    assert 200 == taken.status_code


def test_a_body_larger_than_the_whole_queue_is_413_for_it_will_never_fit() -> None:
    with running(queue_bytes=4096) as server:
        answer = server.post("/v1/traces", b"x" * 5000, PROTOBUF)

    assert 413 == answer.status_code


# R050
def test_a_store_that_is_down_is_503_and_recovers_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fragile_server(tmp_path, monkeypatch, retry_after_s=3) as (server, weather):
        weather.down = True
        refused = server.post("/v1/traces", TRACES, PROTOBUF)
        weather.down = False
        taken = server.post("/v1/traces", TRACES, PROTOBUF)

    assert (503, "3", 14) == (refused.status_code, refused.headers["retry-after"], status_of(refused).code)
    assert 200 == taken.status_code


# --- browsers ----------------------------------------------------------------------------------------------------------------------------


# R147
def test_a_page_of_an_allowed_origin_may_send(shared: Server) -> None:
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }

    preflight = shared.client.options("/v1/traces", headers=asked)
    refused = shared.post("/v1/traces", b"[]", JSON, {"Origin": "https://shop.example"})

    assert (200, "https://shop.example") == (preflight.status_code, preflight.headers["access-control-allow-origin"])
    assert "content-type" in preflight.headers["access-control-allow-headers"]
    assert (400, "https://shop.example") == (refused.status_code, refused.headers["access-control-allow-origin"])


def test_no_other_page_may(server: Server) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}

    preflight = server.client.options("/v1/traces", headers=asked)
    answer = server.post("/v1/traces", TRACES, PROTOBUF, {"Origin": "https://shop.example"})

    assert 405 == preflight.status_code
    assert "access-control-allow-origin" not in {*preflight.headers, *answer.headers}


def test_more_records_than_one_request_may_hold_are_413_and_cost_the_others_nothing() -> None:
    with running(max_records=2) as server:
        spans = span_request(*(a_span(span_id=bytes([0] * 7 + [number])) for number in range(1, 4))).SerializeToString()
        events = [{"event": "flow_started", "run_id": f"r{number}"} for number in range(3)]

        answers = [server.post("/v1/traces", spans, PROTOBUF), server.send(*events), server.send(*events[:2])]

    assert [413, 413, 200] == [answer.status_code for answer in answers]
    assert "in parts" in answers[1].json()["error"]

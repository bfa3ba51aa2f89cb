"""One connection to a server that may be anything: what each answer means for the sender, and that the key goes nowhere else."""

from __future__ import annotations

import gzip
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_bridge.transport import MOST_RETRY_AFTER_S, Answer, Transport
from tests.bad_servers import AUTHORITY, BadServer, Proxy, cut, garbage, hang_up, ok, ok_then_closed, silence, status
from tests.bad_servers import Answer as Behaviour

TIMEOUT_S = 20.0
BODY = gzip.compress(b"body")


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def post(url: str, timeout_s: float = TIMEOUT_S) -> Answer:
    transport = Transport(url, "the key", timeout_s)
    try:
        return transport.post("/v1/traces", BODY)
    finally:
        transport.close()


def test_a_body_arrives_as_it_was_made_with_the_key_and_below_the_path_of_the_address() -> None:
    with BadServer() as server:
        answer = post(f"{server.url}/base")

        request = server.requests[0]
    assert Answer(taken=True, is_answered=True) == answer
    assert ("POST", "/base/v1/traces", b"body") == (request.method, request.target, request.body)
    assert ("Bearer the key", "application/x-protobuf") == (request.headers["authorization"], request.headers["content-type"])


@pytest.mark.parametrize(
    ("code", "again"),
    [*((code, False) for code in (400, 413, 415, 422)), *((code, True) for code in (301, 401, 403, 404, 429, 500, 502, 503, 504))],
)
def test_what_a_status_means(code: int, again: bool) -> None:
    with BadServer(status(code, body=b"because")) as server:
        answer = post(server.url)

    assert Answer(taken=False, again=again, reason=f"it answered {code} because", is_answered=True) == answer
    assert 1 == len(server.requests)


# R162
def test_many_requests_go_over_one_connection() -> None:
    with BadServer() as server:
        transport = Transport(server.url, "", TIMEOUT_S)
        taken = [transport.post("/v1/logs", BODY).taken for _ in range(20)]
        transport.close()

    assert ([True] * 20, 1) == (taken, server.connections)
    assert "authorization" not in server.requests[0].headers


def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew() -> None:
    with BadServer(ok_then_closed) as server:
        transport = Transport(server.url, "", TIMEOUT_S)
        taken = [transport.post("/v1/logs", BODY).taken for _ in range(3)]
        transport.close()

    assert ([True] * 3, 3, 3) == (taken, server.connections, len(server.requests))


def test_an_answer_longer_than_anybody_reads_is_not_taken_for_the_next_one() -> None:
    with BadServer(status(503, body=b"x" * 1_000_000)) as server:
        transport = Transport(server.url, "", TIMEOUT_S)
        first = transport.post("/v1/logs", BODY)
        server.answer = ok
        second = transport.post("/v1/logs", BODY)
        transport.close()

    assert (False, True) == (first.taken, second.taken)
    assert len(first.reason) < 300


@pytest.mark.parametrize("behaviour", [cut, garbage, hang_up])
def test_an_answer_that_is_none_may_be_tried_again(behaviour: Behaviour) -> None:
    with BadServer(behaviour) as server:
        answer = post(server.url)

    assert (False, True, False) == (answer.taken, answer.again, answer.is_answered)
    assert "cannot be reached" in answer.reason


def test_a_server_that_never_answers_is_given_up_after_the_timeout() -> None:
    with BadServer(silence) as server:
        answer = post(server.url, timeout_s=0.2)

    assert Answer(taken=False, again=True, reason="it cannot be reached: timed out") == answer


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.0.0.1:nonsense", "http://[", "http://no-such-host.invalid", "http://\x00"])
def test_an_address_where_nobody_is_may_be_tried_again(url: str) -> None:
    answer = post(url)

    assert (False, True, False) == (answer.taken, answer.again, answer.is_answered)


@pytest.mark.parametrize("key", ["s3cr3t\nkey", "s3cr3t-☃"])
def test_a_key_that_no_header_can_hold_is_not_told_to_anybody(key: str) -> None:
    with BadServer() as server:
        answer = Transport(server.url, key, TIMEOUT_S).post("/v1/traces", BODY)

    assert (False, True, []) == (answer.taken, answer.again, server.requests)
    assert "s3cr3t" not in answer.reason and "☃" not in answer.reason


@pytest.mark.parametrize(
    ("stated", "least_s", "most_s"),
    [
        ("7", 7, 7),
        ("1.5", 1.5, 1.5),
        ("0", 0, 0),
        ("-3", 0, 0),
        ("soon", 0, 0),
        ("", 0, 0),
        ("²", 0, 0),
        ("99999999", MOST_RETRY_AFTER_S, MOST_RETRY_AFTER_S),
        ("a date in 100 s", 50, 100),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
    ],
)
def test_a_server_says_when_to_come_back(stated: str, least_s: float, most_s: float) -> None:
    header = formatdate(time.time() + 100, usegmt=True) if stated.startswith("a date") else stated
    with BadServer(status(503, f"Retry-After: {header}")) as server:
        answer = post(server.url)

    assert least_s <= answer.retry_after_s <= most_s


def test_records_that_a_server_left_out_are_counted_though_it_took_the_request() -> None:
    said = ExportTraceServiceResponse()
    said.partial_success.rejected_spans = 3
    said.partial_success.error_message = "too old"
    with BadServer(status(200, body=said.SerializeToString())) as server:
        answer = post(server.url)

    assert Answer(taken=True, refused=3, reason="too old", is_answered=True) == answer


def test_an_answer_nobody_understands_is_taken_as_it_says_200() -> None:
    with BadServer(status(200, body=b"<html>welcome</html>")) as server:
        answer = post(server.url)

    assert Answer(taken=True, is_answered=True) == answer


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with BadServer() as other, BadServer(status(307, f"Location: {other.url}/v1/traces")) as server:
        answer = post(server.url)

    assert (False, True, []) == (answer.taken, answer.again, other.requests)


def trust(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the bridge take the word of AUTHORITY."""
    AUTHORITY.cert_pem.write_to_path(folder / "authority.pem")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(folder / "authority.pem"))


def test_a_certificate_nobody_vouches_for_is_refused_before_anything_is_sent() -> None:
    with BadServer(tls=True) as server:
        answer = post(server.url)

    assert "CERTIFICATE_VERIFY_FAILED" in answer.reason
    assert (False, True, []) == (answer.taken, answer.again, server.requests)


def test_a_certificate_of_ones_own_authority_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trust(monkeypatch, tmp_path)
    with BadServer(tls=True) as server:
        answer = post(server.url)

    assert (True, 1) == (answer.taken, len(server.requests))


def test_a_certificate_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trust(monkeypatch, tmp_path)
    with BadServer(tls=True) as server:
        answer = post(server.url.replace("127.0.0.1", "127.0.0.2").replace("127.0.0.2", "127.1"))

    assert (False, []) == (answer.taken, server.requests)


def test_a_certificate_file_that_is_missing_is_no_reason_to_trust_anybody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "none.pem"))
    with BadServer(tls=True) as server:
        answer = post(server.url)

    assert (False, True, []) == (answer.taken, answer.again, server.requests)


def test_a_proxy_of_the_environment_is_asked_with_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with BadServer() as server, Proxy() as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        answer = post(f"{server.url}/base")

    assert (True, f"{server.url}/base/v1/traces") == (answer.taken, proxy.requests[0].target)
    assert "Basic dXNlcjpwQHNz" == proxy.requests[0].headers["proxy-authorization"]


def test_tls_goes_through_a_tunnel_of_the_proxy_which_sees_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trust(monkeypatch, tmp_path)
    with BadServer(tls=True) as server, Proxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        answer = post(server.url)

    assert (True, [("CONNECT", f"127.0.0.1:{server.port}")]) == (answer.taken, [(asked.method, asked.target) for asked in proxy.requests])
    assert "authorization" not in proxy.requests[0].headers
    assert "Bearer the key" == server.requests[0].headers["authorization"]


def test_an_address_that_needs_no_proxy_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with BadServer() as server, Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        answer = post(server.url)

    assert (True, []) == (answer.taken, proxy.requests)

"""Large trace bodies at once, over HTTP: by rows while the libraries for columns load, as columns after; each sender hears the same."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from collector.otlp.together import LOADER, SMALLEST_GROUP_BYTES
from tests.bench.requests import Key, Request, large_request
from tests.fragile_storage import REFUSED_NAME, Weather, fragile_server
from tests.in_process import PROTOBUF, Server, eventually, running, status_of
from tests.otlp_bodies import a_span

Running = tuple[Server, Weather]

SPANS = 160
SOUND = [large_request(seed, SPANS) for seed in range(4)]
CUT_OFF = large_request(4, SPANS).body[:-7]


def with_bad_spans(request: Request) -> bytes:
    """Return its body with two more spans, which cannot be stored."""
    message = ExportTraceServiceRequest.FromString(request.body)
    message.resource_spans[0].scope_spans[0].spans.extend([a_span(trace_id=b""), a_span(span_id=bytes(8))])
    return message.SerializeToString()


def with_refused_span(request: Request) -> bytes:
    """Return its body with one more span in its midst, which the store refuses by its name."""
    message = ExportTraceServiceRequest.FromString(request.body)
    message.resource_spans[0].scope_spans[0].spans.insert(SPANS // 2, a_span(name=REFUSED_NAME))
    return message.SerializeToString()


@pytest.fixture
def cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Serve, and nobody has sent anything large yet."""
    with fragile_server(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def warm(cold: Running) -> Running:
    """Serve, and everything is loaded that large bodies need."""
    server, weather = cold
    warm_up(server)
    assert 0 == weather.columns
    return cold


def warm_up(server: Server) -> None:
    """Send the first large body, and return when the next will be columns."""
    post(server, large_request(9, SPANS).body)
    eventually(lambda: all(thread.name != LOADER for thread in threading.enumerate()))


def post(server: Server, body: bytes) -> httpx.Response:
    return server.post("/v1/traces", body, PROTOBUF)


def post_at_once(running: Running, first: bytes, *others: bytes) -> list[httpx.Response]:
    """Send a sound body that the store is busy with, and others that wait for it together."""
    server, weather = running
    assert all(len(body) > SMALLEST_GROUP_BYTES for body in (first, *others))
    weather.open_gate.clear()
    with ThreadPoolExecutor(1 + len(others)) as threads:
        answers = [threads.submit(post, server, first)]
        eventually(lambda: server.metric("queue_bytes") == len(first))
        answers += [threads.submit(post, server, body) for body in others]
        eventually(lambda: server.metric("queue_bytes") == len(first) + sum(map(len, others)))
        weather.open_gate.set()
        return [answer.result() for answer in answers]


def stored(server: Server, requests: Iterable[Request]) -> Counter[Key]:
    """Count what is stored of the traces of some requests."""
    traces = {trace_id for request in requests for _, trace_id, _ in request.facts}
    told = [server.json(f"/api/v1/traces/{trace_id}") for trace_id in traces]
    groups = [group for one in told for envelope in one["resourceSpans"] for group in envelope["scopeSpans"]]
    return Counter(("span", span["traceId"], span["spanId"]) for group in groups for span in group["spans"])


def sent(requests: Sequence[Request]) -> Counter[Key]:
    return sum((request.facts for request in requests), Counter())


def assert_each_hears_of_its_own(running: Running) -> None:
    """Assert what becomes of sound bodies, one that is cut off, and one with bad spans."""
    mixed = large_request(5, SPANS)

    *sound, cut_off, partial = post_at_once(running, *(request.body for request in SOUND), CUT_OFF, with_bad_spans(mixed))

    assert [(200, b"")] * len(SOUND) == [(answer.status_code, answer.content) for answer in sound]
    assert (400, 3) == (cut_off.status_code, status_of(cut_off).code)
    assert (200, 2) == (partial.status_code, ExportTraceServiceResponse.FromString(partial.content).partial_success.rejected_spans)
    assert sent([*SOUND, mixed]) == stored(running[0], [*SOUND, mixed])


# R015 R079
def test_each_sender_hears_of_its_own_while_the_first_large_bodies_go_by_rows(cold: Running) -> None:
    assert_each_hears_of_its_own(cold)

    assert cold[1].columns < (len(SOUND) + 1) * SPANS


# R015 R079
def test_each_sender_hears_of_its_own_when_large_bodies_are_columns(warm: Running) -> None:
    assert_each_hears_of_its_own(warm)

    assert (len(SOUND) + 1) * SPANS == warm[1].columns


def test_large_bodies_sent_again_are_stored_once(warm: Running) -> None:
    bodies = [request.body for request in SOUND]

    answers = [answer for _ in range(2) for answer in post_at_once(warm, *bodies)]

    assert {200} == {answer.status_code for answer in answers}
    assert sent(SOUND) == stored(warm[0], SOUND)


# --- what the store refuses --------------------------------------------------------------------------------------------------------------


def assert_one_is_refused_and_all_others_are_kept(server: Server) -> None:
    sound = large_request(6, SPANS)
    body = with_refused_span(sound)
    assert len(body) > SMALLEST_GROUP_BYTES

    answer = post(server, body)

    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (200, 1) == (answer.status_code, partial.rejected_spans), answer.content
    assert "refused by the store" in partial.error_message
    assert sent([sound]) == stored(server, [sound])


# R015 R078
def test_one_span_that_a_plugin_refuses_costs_a_large_body_nothing_else(warm: Running) -> None:
    assert_one_is_refused_and_all_others_are_kept(warm[0])


# R015 R078
def test_one_span_that_sqlite_refuses_costs_a_large_body_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "flowspan.db"
    with running(database_url=f"sqlite:///{file}") as server:
        warm_up(server)
        with closing(sqlite3.connect(file)) as database:
            refuse = f"SELECT RAISE(ABORT, 'not this') WHERE NEW.name = '{REFUSED_NAME}'"
            database.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON spans BEGIN {refuse}; END")

        assert_one_is_refused_and_all_others_are_kept(server)


# R015 R078
def test_one_span_that_postgres_refuses_costs_a_large_body_nothing_else(postgres_url: str) -> None:
    with running(database_url=postgres_url) as server:
        warm_up(server)
        with psycopg.connect(postgres_url) as database:
            refuse = "BEGIN RAISE 'not this' USING ERRCODE = 'data_exception'; END"
            database.execute(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $${refuse}$$")
            when = f"FOR EACH ROW WHEN (NEW.name = '{REFUSED_NAME}') EXECUTE FUNCTION refuse()"
            database.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON spans {when}")

        assert_one_is_refused_and_all_others_are_kept(server)

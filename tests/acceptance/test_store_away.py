"""What is answered while the store cannot be used: what to do, and nothing of where the store is. The log says the rest."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.in_process import PROTOBUF, Server, running, status_of
from tests.otlp_bodies import a_span, span_request
from tests.postgres import Postgres

PAGES = ("/healthz", "/runs", "/flows", "/api/v1/runs", "/api/v1/flows")
EVENT = {"event": "flow_started", "run_id": "r1", "flow": "f"}


def answers_of(server: Server) -> list[httpx.Response]:
    """Send and ask for everything that needs the store."""
    return [server.post("/v1/traces", span_request(a_span()).SerializeToString(), PROTOBUF), server.send(EVENT), *map(server.get, PAGES)]


@pytest.fixture
def away() -> Iterator[tuple[Server, Postgres, str]]:
    """Serve on a Postgres that has just gone; return its database's name, too."""
    with Postgres(fsync=False) as postgres:
        url = postgres.create_database()
        with running(database_url=url) as server:
            postgres.kill()
            yield server, postgres, url.rpartition("/")[2]


# R039 R050
def test_no_answer_says_where_the_database_is_while_it_is_away(away: tuple[Server, Postgres, str], caplog: pytest.LogCaptureFixture) -> None:
    server, postgres, database = away

    answers = answers_of(server)

    assert {503} == {answer.status_code for answer in answers}
    for answer in answers:
        assert all(word not in answer.text for word in ("127.0.0.1", str(postgres.port), database)), answer.text
    assert "the store cannot be written just now: send it again later" == status_of(answers[0]).message
    assert f"port {postgres.port}" in caplog.text


# R039 R050
def test_a_locked_file_is_said_without_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage_plugins.sqlite.storage.BUSY_MS", 1)
    file = tmp_path / "flowspan.db"
    with running(database_url=f"sqlite:///{file}") as server, closing(sqlite3.connect(file, isolation_level=None)) as another_program:
        another_program.execute("BEGIN EXCLUSIVE")
        sent, *asked = answers_of(server)
        another_program.execute("ROLLBACK")

    assert 503 == sent.status_code
    assert "the store cannot be written just now: database is locked" == status_of(sent).message
    assert all(str(tmp_path) not in answer.text for answer in (sent, *asked))

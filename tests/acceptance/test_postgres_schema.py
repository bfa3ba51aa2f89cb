"""`flowspan serve` on a server store of another version: it ends and says what to do, and nothing is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.servers import clean_environment
from tests.storage.opened_postgres import ask, opened

START_S = 60.0


def serve(url: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Serve, and return how it ended."""
    command = [sys.executable, "-m", "collector", "serve", "--port", "0", "--otlp-http-port", "0", *words]
    environment = clean_environment(DATABASE_URL=url, FLOWSPAN_DATA_DIR=str(folder), LOG_LEVEL="WARNING")
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_S, check=False)


# R081
@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
@pytest.mark.parametrize(("revision", "advice"), [("0001", "run `flowspan migrate` once"), ("9999", "made by a newer Flowspan")])
def test_a_store_of_another_version_is_refused_with_what_to_do(
    postgres_url: str, tmp_path: Path, revision: str, advice: str, workers: tuple[str, ...]
) -> None:
    with opened(postgres_url):
        pass
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))

    ended = serve(postgres_url, tmp_path, *workers)

    assert 2 == ended.returncode
    assert advice in ended.stderr.splitlines()[-1]
    assert len(ended.stderr.splitlines()) <= 2, ended.stderr
    assert [(revision,)] == ask(postgres_url, "SELECT version_num FROM alembic_version")

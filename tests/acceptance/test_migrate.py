"""`flowspan migrate`, as a person types it, on each kind of store."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import clean_environment


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the address of a store that does not exist yet."""
    return f"sqlite:///{tmp_path}/new/flowspan.db"


def migrate(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return flowspan("migrate", *(["--storage", url] if url else []), **environment)


def flowspan(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "collector", *words]
    return subprocess.run(command, env=clean_environment(**environment), capture_output=True, text=True, timeout=60, check=False)


# R081
@pytest.mark.parametrize("store", ["sqlite_url", "postgres_url"])
def test_a_new_store_is_made_and_then_there_is_nothing_to_do(request: pytest.FixtureRequest, store: str) -> None:
    url: str = request.getfixturevalue(store)

    first, second = migrate(url), migrate("", DATABASE_URL=url)

    made = re.fullmatch(r"schema none -> (\w+)\n", first.stdout)
    assert made, first
    assert (0, f"already at {made[1]}\n", "") == (second.returncode, second.stdout, second.stderr)


# R081 R176
@pytest.mark.parametrize("url", ["sqlite:////proc/no/flowspan.db", "mongodb://there/flowspan"])
def test_a_store_that_cannot_be_opened_is_one_line(url: str) -> None:
    ended = migrate(url)

    assert (2, "") == (ended.returncode, ended.stdout)
    assert re.fullmatch(r"flowspan: .*\n", ended.stderr), ended.stderr


# R081 R176
@pytest.mark.parametrize("url", ["sqlite:////proc/no/flowspan.db", "postgresql://nobody@127.0.0.1:1/none"])
def test_a_server_whose_store_cannot_be_opened_says_so_and_no_more(url: str) -> None:
    ended = flowspan("serve", "--storage", url, "--port", "0", "--otlp-http-port", "0", LOG_LEVEL="WARNING")

    assert 2 == ended.returncode
    assert re.fullmatch(r"(.*Application startup failed.*\n)?flowspan: cannot open .*\n", ended.stderr), ended.stderr

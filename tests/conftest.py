"""What every test may ask for. Nothing around the tests configures a server or an exporter in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import hypothesis
import pytest

from collector.settings import Settings
from tests.in_process import Server, running
from tests.postgres import Install, Postgres, binaries

SETTINGS = frozenset(str(field.validation_alias.choices[0]) for field in Settings.model_fields.values())  # type: ignore[union-attr]  # _env sets it

# A commit is judged by the same examples each time, however slow the machine; others are looked for on purpose.
_SLOWLY = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("steady", _SLOWLY, derandomize=True)
hypothesis.settings.register_profile("random", _SLOWLY, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(autouse=True)
def _only_what_a_test_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name in SETTINGS or name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server with the default settings and an empty store in memory."""
    with running() as one:
        yield one


@pytest.fixture(scope="session")
def postgres_of() -> Iterator[Callable[[Install], Postgres]]:
    """Return the running server of an install, one for all tests of this process. Nothing ends the machine: it writes without a sync."""
    with ExitStack() as stack:
        servers: dict[Install, Postgres] = {}

        def server_of(install: Install) -> Postgres:
            if install not in servers:
                servers[install] = stack.enter_context(Postgres(install, fsync=False))
            return servers[install]

        yield server_of


@pytest.fixture(scope="session")
def postgres(postgres_of: Callable[[Install], Postgres]) -> Postgres:
    """Return a running Postgres that many tests share: one that stops it makes its own (tests.postgres)."""
    return postgres_of(binaries()[0])


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """Return the address of an empty database that goes with the test."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session", params=binaries(), ids=str)
def each_postgres(request: pytest.FixtureRequest, postgres_of: Callable[[Install], Postgres]) -> Postgres:
    """Return a running Postgres that many tests share, once for every install on this machine."""
    install: Install = request.param
    return postgres_of(install)


@pytest.fixture
def each_postgres_url(each_postgres: Postgres) -> Iterator[str]:
    """Return the address of an empty database that goes with the test, once for every install on this machine."""
    url = each_postgres.create_database()
    yield url
    each_postgres.drop_database(url)

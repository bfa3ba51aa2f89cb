"""One server for the tests of a file; each test has a folder of its own for its programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.programs import PYTHON, Programs
from tests.servers import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running server that the tests of this file share: each looks at runs of its own flows."""
    assert PYTHON.exists(), f"{PYTHON} is missing: ./run test makes it"
    with Server(tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture
def programs(server: Server, tmp_path: Path) -> Programs:
    """Return where this test's programs are written and run."""
    return Programs(tmp_path, server.url)

"""A full disk: senders are told to come back, readers are answered, and ingest goes on by itself once there is room."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.bench.process import rss_bytes
from tests.bench.requests import Request, large_request
from tests.bench.senders import is_acknowledged, post
from tests.bench.small_disk import SmallDisk, limited_files, small_disk
from tests.bench.stored import check_file, read_facts, settle
from tests.servers import Server

MIB = 1024 * 1024
DISK_MIB = 6
# What a request holds: about 230 KB, so that the disk is full after some twenty.
SPANS, PADDING = 100, 2000
REFUSED_WANTED = 30
# Far more than the bodies sent together; an idle server holds about 100.
MOST_RSS_MIB = 400

MakeDisk = Callable[[Path, int], AbstractContextManager[SmallDisk]]


class Load:
    """Sends large requests one after the other and remembers what became of them."""

    def __init__(self, server: Server) -> None:
        self.acknowledged: list[Request] = []
        self.unanswered: list[Request] = []
        self.statuses: set[int] = set()
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._seeds = itertools.count(1)

    def send(self) -> int:
        """Send the next request and return the answer's status."""
        request = large_request(next(self._seeds), SPANS, PADDING)
        status, answer = post(self._connection, request)
        self.statuses.add(status)
        (self.acknowledged if is_acknowledged(request, status, answer) else self.unanswered).append(request)
        return status

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def send_until(self, wanted: int, most: int = 500) -> None:
        """Send until an answer has this status."""
        assert any(self.send() == wanted for _ in range(most)), f"none of {most} requests was answered with {wanted}"


@pytest.fixture
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, SmallDisk, Load]]:
    """Return a server whose disk has just become full, the disk, and what was sent to it."""
    make_disk: MakeDisk = request.param
    with make_disk(tmp_path / "data", DISK_MIB) as disk, Server(disk.folder) as server:
        disk.shrink(server.pid)
        load = Load(server)
        load.send_until(503)
        yield server, disk, load
        load.close()


DISKS = pytest.mark.parametrize("full", [small_disk, limited_files], indirect=True)


# R050
@DISKS
def test_a_full_disk_refuses_senders_loses_nothing_and_goes_on_when_there_is_room(full: tuple[Server, SmallDisk, Load]) -> None:
    server, disk, load = full

    for _ in range(REFUSED_WANTED):
        load.send()
    disk.grow(server.pid)
    load.send_until(200)
    load.send()
    server.stop()
    account = settle(load.acknowledged, load.unanswered, read_facts(server.database))

    assert {200, 503} == load.statuses
    assert account.is_right, str(account)
    assert "ok" == check_file(server.database)
    assert load.acknowledged[-1] != load.acknowledged[0]


# R050 R151
@DISKS
def test_a_full_disk_leaves_pages_readable_and_memory_bounded(full: tuple[Server, SmallDisk, Load]) -> None:
    server, _, load = full

    for _ in range(REFUSED_WANTED):
        load.send()
    answers = {path: get(server, path) for path in ("/runs", "/flows", "/api/v1/runs", "/health/live", "/healthz", "/metrics")}

    assert {"/runs": 200, "/flows": 200, "/api/v1/runs": 200, "/health/live": 200} == {
        path: answers[path][0] for path in ("/runs", "/flows", "/api/v1/runs", "/health/live")
    }
    assert answers["/healthz"][0] in (200, 503)
    assert "flowspan_queue_bytes 0.0" in answers["/metrics"][1]
    assert rss_bytes(server.pid) < MOST_RSS_MIB * MIB


def get(server: Server, path: str) -> tuple[int, str]:
    """Return the status and the text at an address."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text

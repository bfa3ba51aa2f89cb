"""Two servers on one Postgres: what one is told shows at the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from websockets.sync.client import ClientConnection

from tests.in_process import PATIENCE_S
from tests.live_sockets import open_socket
from tests.postgres import Postgres
from tests.servers import Server


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[tuple[Server, Server]]:
    """Two servers that share nothing but the database. Each test has runs of its own."""
    url, folder = postgres.create_database(), tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        one, other = (stack.enter_context(Server(folder / name, DATABASE_URL=url)) for name in ("one", "other"))
        yield one, other
    postgres.drop_database(url)


def send(server: Server, run_id: str, *events: dict[str, object]) -> None:
    """Send flow events of a run to a server, which takes them."""
    server.send(*({"run_id": run_id, "flow": "etl", **event} for event in events))


def wait_for(socket: ClientConnection, kind: str, **fields: object) -> None:
    """Return when a message of this kind with these fields comes. Raises TimeoutError."""
    while True:
        message = json.loads(socket.recv(timeout=PATIENCE_S))
        if message["kind"] == kind and fields.items() <= message["data"].items():
            return


# R091 R092 R096
def test_an_event_sent_to_one_replica_is_on_a_socket_of_the_other(replicas: tuple[Server, Server]) -> None:
    one, other = replicas
    send(one, "watched", {"event": "flow_started"})
    with open_socket(other.port, "/ws/runs/watched") as socket:
        wait_for(socket, "flow", status="RUNNING")

        send(one, "watched", {"event": "task_started", "task": "load", "node": "load:1"}, {"event": "flow_log", "message": "hello"})
        wait_for(socket, "log", message="hello")
        send(one, "watched", {"event": "flow_completed", "status": "failed"})
        wait_for(socket, "flow", status="FAILED")

    assert "FAILED" == other.run("watched")["status"]


# R092 R096 R097
def test_a_run_begun_at_one_replica_is_in_the_lists_of_the_other_and_on_its_list_sockets(replicas: tuple[Server, Server]) -> None:
    one, other = replicas
    with open_socket(other.port, f"/ws/runs?cursor={other.get_json('/api/v1/runs')['cursor']}") as socket:
        send(one, "listed", {"event": "flow_started"})
        wait_for(socket, "run", run_id="listed", status="RUNNING")

    other.wait_for("/api/v1/runs", lambda page: "listed" in states_in(page))


# R082 R096
def test_a_run_told_half_to_each_replica_is_whole_at_both(replicas: tuple[Server, Server]) -> None:
    one, other = replicas
    send(one, "shared", {"event": "flow_started"}, {"event": "task_started", "task": "load", "node": "load:1"})
    send(other, "shared", {"event": "task_ok", "task": "load", "node": "load:1"}, {"event": "flow_succeeded"})

    for server in replicas:
        assert {"SUCCEEDED": 1} == server.run("shared")["counts"]
        server.wait_for("/api/v1/runs", lambda page: {"shared": "SUCCEEDED"}.items() <= states_in(page).items())


def states_in(page: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    """Return run id -> state of a list."""
    return {run["run_id"]: run["status"] for run in page["items"]}

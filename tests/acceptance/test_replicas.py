"""Two servers on one Postgres: what one is told shows at the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.servers import Server

PATIENCE_S = 20.0


@pytest.fixture
def replicas(tmp_path: Path, postgres_url: str) -> Iterator[tuple[Server, Server]]:
    """Two servers that share nothing but the database."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(Server(tmp_path / name, DATABASE_URL=postgres_url)) for name in ("one", "other"))
        yield one, other


def send(server: Server, *events: dict[str, object]) -> None:
    """Send flow events of run r1 to a server, which takes them."""
    told = [{"run_id": "r1", "flow": "etl", **event} for event in events]
    answer = httpx.post(f"{server.url}/api/v1/events", json=told, timeout=PATIENCE_S, trust_env=False)
    assert {"ok": True} == answer.json()


def watch(server: Server, path: str) -> ClientConnection:
    """Open a socket of a server."""
    return connect(f"ws://127.0.0.1:{server.port}{path}")


def wait_for(socket: ClientConnection, kind: str, **fields: object) -> None:
    """Return when a message of this kind with these fields comes. Raises TimeoutError."""
    while True:
        message = json.loads(socket.recv(timeout=PATIENCE_S))
        if message["kind"] == kind and fields.items() <= message["data"].items():
            return


# R091 R092 R096
def test_an_event_sent_to_one_replica_is_on_a_socket_of_the_other(replicas: tuple[Server, Server]) -> None:
    one, other = replicas
    send(one, {"event": "flow_started"})
    with watch(other, "/ws/runs/r1") as socket:
        wait_for(socket, "flow", status="RUNNING")

        send(one, {"event": "task_started", "task": "load", "node": "load:1"}, {"event": "flow_log", "message": "hello"})
        wait_for(socket, "log", message="hello")
        send(one, {"event": "flow_completed", "status": "failed"})
        wait_for(socket, "flow", status="FAILED")

    assert "FAILED" == other.run("r1")["status"]


# R092 R096 R097
def test_a_run_begun_at_one_replica_is_in_the_lists_of_the_other_and_on_its_list_sockets(replicas: tuple[Server, Server]) -> None:
    one, other = replicas
    with watch(other, f"/ws/runs?cursor={other.get_json('/api/v1/runs')['cursor']}") as socket:
        send(one, {"event": "flow_started"})
        wait_for(socket, "run", run_id="r1", status="RUNNING")

    runs = other.wait_for("/api/v1/runs", lambda page: page["items"])["items"]
    assert ["r1"] == [run["run_id"] for run in runs]


# R082 R096
def test_a_run_told_half_to_each_replica_is_whole_at_both(replicas: tuple[Server, Server]) -> None:
    one, other = replicas
    send(one, {"event": "flow_started"}, {"event": "task_started", "task": "load", "node": "load:1"})
    send(other, {"event": "task_ok", "task": "load", "node": "load:1"}, {"event": "flow_succeeded"})

    for server in replicas:
        assert {"SUCCEEDED": 1} == server.run("r1")["counts"]
        assert ["SUCCEEDED"] == [run["status"] for run in server.wait_for("/api/v1/runs", _is_over)["items"]]


def _is_over(page: dict[str, list[dict[str, object]]]) -> bool:
    return [run["finished_at"] is not None for run in page["items"]] == [True]

"""Several server processes on one port: `serve --workers N`, with real processes, killed and told to stop, on a real Postgres."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from collector.log_format import JsonFormatter
from collector.server import bind, port_of
from tests.fragile_storage import install_plugin
from tests.in_process import PATIENCE_S, eventually
from tests.live_sockets import open_socket
from tests.servers import Server, clean_environment

WORKERS = 2
# Between two requests of a sender that goes on and on: a worker that starts meanwhile needs the cores, too.
REST_S = 0.02
Answer = TypeVar("Answer")

# SQLite's file, said to be fit for sharing. It cannot be opened while a file named "away" lies beside it; the first start may put it there.
SHARED_PLUGIN = """
from pathlib import Path
from collector.errors import Unavailable
from collector.hookspecs import hookimpl
from storage_plugins.sqlite.storage import SqliteStorage

class Shared(SqliteStorage):
    shared = True

    def open(self):
        folder = Path(__file__).parent
        if (folder / "away").exists():
            raise Unavailable("the store is away")
        super().open()
        if (folder / "once").exists():
            (folder / "away").touch()

@hookimpl
def make_storage(settings):
    file = Path(__file__).parent / "shared.db"
    return Shared(f"sqlite:///{file}", settings.fold_every_ms) if settings.storage_url() == "together:" else None
"""


class Workers(Server):
    """A server of several processes; their temporary files are in a folder of their own."""

    def __init__(self, data_dir: Path, url: str, workers: int) -> None:
        self.temporary = data_dir / "tmp"
        self.temporary.mkdir()
        # A worker that is told to stop is given this and 3 s: none is killed for being late on a busy machine.
        given = {"FLOWSPAN_COMMIT_TIMEOUT_S": str(PATIENCE_S)}
        super().__init__(data_dir, DATABASE_URL=url, FLOWSPAN_WORKERS=str(workers), TMPDIR=str(self.temporary), **given)

    def __enter__(self) -> Workers:
        """Start it."""
        self.start()
        return self

    @property
    def processes(self) -> dict[int, int]:
        """Return the process of each worker, by its number: the log says who is."""
        return {int(number): int(pid) for number, pid in re.findall(r"worker (\d+) is process (\d+)", self.log.read_text())}

    def wait_for_the_end(self) -> tuple[str, int]:
        """Return what else was printed and how the parent ended. Workers have its standard output: this waits for the last of them."""
        assert self._process is not None
        rest, _ = self._process.communicate(timeout=PATIENCE_S)
        return rest, self._process.returncode

    def begin(self, run_id: str) -> int:
        """Tell of a new run, over a connection of its own, and return the status."""
        event = {"event": "flow_started", "flow": "etl", "run_id": run_id}
        return self.post("/api/v1/events", json=event).status_code

    @contextmanager
    def watched(self, run_id: str, times: int) -> Iterator[list[ClientConnection]]:
        """Open so many live sockets, on whichever workers take them."""
        with ExitStack() as stack:
            yield [stack.enter_context(open_socket(self.port, f"/ws/runs/{run_id}")) for _ in range(times)]

    def metric(self, name: str, **labels: str) -> float:
        """Ask for a metric, over a connection of its own, and return the sum of its samples with these labels."""
        samples = [sample for family in text_string_to_metric_families(self.get("/metrics").text) for sample in family.samples]
        return sum(one.value for one in samples if one.name == f"flowspan_{name}" and labels.items() <= one.labels.items())

    def ask_all(self, ask: Callable[[int], Answer], path: str) -> list[Answer]:
        """Ask over new connections until each worker has answered 200 at this path; return all answers. ask: is given how many there are."""
        begun, answers = len(self.log.read_text()), list[Answer]()

        def each_has_answered() -> bool:
            answers.append(ask(len(answers)))
            answered = re.findall(rf"\((\d+)\) \[\w+\] \w+ {path} 200", self.log.read_text()[begun:])
            return set(self.processes.values()) == set(map(int, answered))

        eventually(each_has_answered)
        return answers


@pytest.fixture
def server(tmp_path: Path, postgres_url: str) -> Iterator[Workers]:
    """Return a server of two processes."""
    with Workers(tmp_path, postgres_url, WORKERS) as running:
        yield running


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a storage that servers find at the address `together:`."""
    (tmp_path / "shared_store.py").write_text(SHARED_PLUGIN)
    install_plugin(tmp_path, monkeypatch, "shared_store", "shared_store")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return tmp_path


def serve(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a `flowspan serve` that is to end by itself."""
    command = [sys.executable, "-m", "collector", "serve", "--port", "0", "--otlp-http-port", "0", *options]
    environment = clean_environment(LOG_LEVEL="CRITICAL", **environment)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


# R093 R150
def test_each_of_several_workers_answers_on_the_one_port_and_tells_the_metrics_of_all(server: Workers) -> None:
    answers = server.ask_all(lambda number: server.begin(f"r{number}"), "/api/v1/events")

    stored = server.ask_all(lambda _: server.metric("stored_total", signal="events"), "/metrics")
    commits = server.ask_all(lambda _: server.metric("commit_requests_sum"), "/metrics")

    assert (WORKERS, {200}) == (len(set(server.processes.values())), set(answers))
    assert ["RUNNING"] * len(answers) == [server.run(f"r{number}")["status"] for number in range(len(answers))]
    assert ({len(answers)}, {len(answers)}) == (set(stored), set(commits))


# R093 R150
def test_what_a_killed_worker_counted_stays_and_what_it_held_goes(server: Workers) -> None:
    server.begin("r")
    with server.watched("r", 9) as sockets:
        eventually(lambda: server.metric("sockets", kind="ws") == len(sockets))

        os.kill(server.processes[0], signal.SIGKILL)
        eventually(lambda: "worker 0 ended with -9" in server.log.read_text())
        left = sum(not is_broken(socket) for socket in sockets)

        eventually(lambda: server.metric("sockets", kind="ws") == left)
        assert 1 == server.metric("stored_total", signal="events")


def is_broken(socket: ClientConnection) -> bool:
    try:
        socket.ping(ack_on_close=True).wait(timeout=PATIENCE_S)
        return socket.close_code is not None
    except ConnectionClosed:
        return True


# R011 R093
def test_a_killed_worker_is_replaced_and_nothing_acknowledged_is_lost(server: Workers) -> None:
    killed, done, acknowledged = server.processes[1], threading.Event(), list[str]()

    def keep_sending() -> None:
        while not done.wait(REST_S):
            run_id = f"r{len(acknowledged)}"
            try:
                acknowledged.extend([run_id] if server.begin(run_id) == 200 else [])
            except httpx.TransportError:  # the killed one had it
                continue

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        eventually(lambda: len(acknowledged) > 10)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: server.processes[1] != killed)
        server.ask_all(lambda _: server.get("/healthz").status_code, "/healthz")
    finally:
        done.set()
        sender.join()

    assert [200] * len(acknowledged) == [server.get(f"/api/v1/runs/{run_id}").status_code for run_id in acknowledged]


# R093
def test_workers_end_with_a_parent_that_is_killed(server: Workers) -> None:
    server.begin("r")

    os.kill(server.pid, signal.SIGKILL)
    rest, ended_with = server.wait_for_the_end()

    bind("127.0.0.1", server.port).close()
    assert ("", -signal.SIGKILL) == (rest, ended_with)
    assert [] == list(server.temporary.iterdir())


# R093
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_workers_told_to_stop_end_in_good_order(server: Workers, told: signal.Signals) -> None:
    ended_by = {signal.SIGINT: 130, signal.SIGTERM: -signal.SIGTERM}
    server.begin("r")
    with server.watched("r", 9) as sockets:
        os.kill(server.pid, told)

        assert {1012} == {closed_with(socket) for socket in sockets}
        assert ("", ended_by[told]) == server.wait_for_the_end()

    assert [] == [line for line in server.log.read_text().splitlines() if "ERROR collector.workers" in line]
    assert [] == list(server.temporary.iterdir())


def closed_with(socket: ClientConnection) -> int | None:
    try:
        while True:
            socket.recv(timeout=PATIENCE_S)
    except ConnectionClosed:
        return socket.close_code


# R093
@pytest.mark.parametrize("url", ["memory:", "sqlite:///shared.db"])
def test_a_store_of_one_process_is_refused(tmp_path: Path, url: str) -> None:
    ended = serve("--workers", "2", "--storage", url, FLOWSPAN_DATA_DIR=str(tmp_path))

    line = "flowspan: 2 workers need a store they can share, and sqlite is none: use Postgres, or 1 worker\n"
    assert (2, "", line) == (ended.returncode, ended.stdout, ended.stderr)


def test_a_store_that_cannot_be_opened_is_one_line_and_no_worker_is_started(plugin: Path) -> None:
    (plugin / "away").touch()

    ended = serve("--workers", "2", "--storage", "together:")

    assert (2, "", "flowspan: the store is away\n") == (ended.returncode, ended.stdout, ended.stderr)


def test_a_port_that_is_taken_is_one_line(plugin: Path) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = port_of(taken)
        ended = serve("--workers", "2", "--storage", "together:", "--port", str(port))

    assert (2, "", f"flowspan: cannot listen on 127.0.0.1:{port}: Address already in use\n") == (ended.returncode, ended.stdout, ended.stderr)


def test_workers_that_cannot_start_at_all_end_the_server(plugin: Path) -> None:
    (plugin / "once").touch()

    ended = serve("--workers", "2", "--storage", "together:")

    assert 2 == ended.returncode
    assert ended.stderr.endswith("flowspan: The server could not start: the lines above say why.\n")


# R093
def test_a_replacement_that_cannot_start_is_tried_again_and_ends_nobody_else(plugin: Path) -> None:
    with Workers(plugin, "together:", 2) as server:
        server.ask_all(lambda _: server.get("/healthz").status_code, "/healthz")
        (plugin / "away").touch()
        os.kill(server.processes[0], signal.SIGKILL)
        eventually(lambda: server.log.read_text().count("another takes its place") >= 2)
        meanwhile = server.get("/healthz").status_code
        (plugin / "away").unlink()
        server.ask_all(lambda _: server.get("/healthz").status_code, "/healthz")

    assert 200 == meanwhile
    assert server.log.read_text().count("worker 1 is process") == 1


# R154
def test_a_json_line_says_which_process_it_is_from() -> None:
    record = logging.getLogger("a").makeRecord("a", logging.INFO, "", 0, "it %s", ("works",), None)

    line = json.loads(JsonFormatter(with_process=True).format(record))

    assert (os.getpid(), "it works") == (line["process"], line["message"])

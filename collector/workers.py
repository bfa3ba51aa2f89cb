"""Several server processes on the same sockets: the parent, which starts, replaces and ends them, and what each of them does.

The parent serves nothing. A worker's standard input is its cord to it: one line brings its orders, and the end of it says that the parent
is gone. uvicorn has a supervisor too, but its workers outlive a parent that is killed and keep the port, one that cannot start (a database
that is away for a moment) ends all the others, there is no pause between attempts, and who is busy for 5 s is killed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from collector.app import create_app
from collector.log_format import set_up_logging
from collector.metrics import forget_gauges, share_metrics
from collector.server import GRACE_S, MUST_BE_MENDED, NotStarted, serve
from collector.settings import Settings

log = logging.getLogger(__name__)

# -P: a folder named collector where the command is given is not ours.
COMMAND = (sys.executable, "-P", "-m", "collector", "worker")
COULD_NOT_START = ENDED_LATE = 1
# Before a worker that died is replaced; doubled each time its successor dies young, up to the longest.
PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
# One that lived so long died of something else than its predecessor.
YOUNG_S = 30.0


def serve_with_workers(settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve in settings.workers processes until told to stop (SIGINT or SIGTERM); then end by that signal, as a single server does.

    Closes the sockets. Raises NotStarted if no worker could start; the log says why.
    """
    with TemporaryDirectory(prefix="flowspan-metrics-") as folder:
        told = asyncio.run(_Workers(settings, sockets, Path(folder)).run())
    if told is None:
        raise NotStarted
    signal.raise_signal(told)


class _Workers:
    """The parent's half."""

    def __init__(self, settings: Settings, sockets: list[socket.socket], metrics_folder: Path) -> None:
        self._settings = settings
        self._sockets = sockets
        self._metrics_folder = metrics_folder
        self._processes: dict[int, Process] = {}
        self._failed_starts = 0
        self._stopping = asyncio.Event()
        self._told: signal.Signals | None = None

    async def run(self) -> signal.Signals | None:
        """Keep all workers running until told to stop; return by which signal once all have ended, None if none could start."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._obey, each)
        await asyncio.gather(*(self._keep(worker) for worker in range(self._settings.workers)))
        return self._told

    async def _keep(self, worker: int) -> None:
        """Run one worker, and another in its place whenever it ends without being told to."""
        is_first, pause_s = True, PAUSE_S
        while not self._stopping.is_set():
            began_s = time.monotonic()
            code = await self._live(worker)
            if code == MUST_BE_MENDED and is_first:
                self._note_failed_start()
            if self._stopping.is_set():
                return
            pause_s = pause_s if time.monotonic() - began_s < YOUNG_S else PAUSE_S
            log.error("worker %d ended with %d without being told to; another takes its place in %.1f s", worker, code, pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            is_first, pause_s = False, min(2 * pause_s, LONGEST_PAUSE_S)

    def _note_failed_start(self) -> None:
        """If none could start, a person must mend something; if some could, the store was away for a moment."""
        self._failed_starts += 1
        if self._failed_starts == self._settings.workers:
            self._stop()

    async def _live(self, worker: int) -> int:
        """Run one worker process and return how it ended: its exit code, or minus the signal."""
        try:
            process = self._processes[worker] = await self._start()
        except OSError as error:  # the machine has no process or memory to give just now
            log.error("worker %d cannot be started: %s", worker, error)
            return COULD_NOT_START
        log.info("worker %d is process %d", worker, process.pid)
        if self._stopping.is_set():  # told so while it was being started
            process.terminate()
        assert process.stdin is not None
        process.stdin.write(self._orders(worker))
        code = await process.wait()
        del self._processes[worker]
        forget_gauges(self._metrics_folder, worker)
        return code

    async def _start(self) -> Process:
        """A process group of its own: Ctrl-C is for the parent, which passes it on."""
        found_where_we_are = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        inherited = [one.fileno() for one in self._sockets]
        return await asyncio.create_subprocess_exec(*COMMAND, stdin=PIPE, pass_fds=inherited, env=found_where_we_are, process_group=0)

    def _orders(self, worker: int) -> bytes:
        """Not as arguments: keys and passwords would be seen in every list of processes."""
        orders = {
            "settings": self._settings.model_dump(mode="json"),
            "sockets": [one.fileno() for one in self._sockets],
            "metrics_folder": str(self._metrics_folder),
            "worker": worker,
        }
        return json.dumps(orders).encode() + b"\n"

    def _obey(self, told: signal.Signals) -> None:
        """Told twice, do not wait."""
        if self._stopping.is_set():
            self._kill()
        self._told = told
        self._stop()

    def _stop(self) -> None:
        """Let every worker end what it has begun; who takes too long is killed."""
        self._stopping.set()
        for one in self._sockets:
            one.close()
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.terminate()
        asyncio.get_running_loop().call_later(_patience_s(self._settings), self._kill)

    def _kill(self) -> None:
        for process in self._processes.values():
            log.error("process %d did not end in time and is killed", process.pid)
            with suppress(ProcessLookupError):
                process.kill()


def work() -> None:
    """Be one worker: read the orders, serve on the inherited sockets, end when told to or when the parent is gone."""
    line = sys.stdin.buffer.readline()
    if not line:
        return
    orders = json.loads(line)
    settings, metrics_folder = Settings(**orders["settings"]), Path(orders["metrics_folder"])
    set_up_logging(settings.log_level, settings.log_format, with_process=True)
    share_metrics(metrics_folder, orders["worker"])
    threading.Thread(target=_end_with_parent, args=(metrics_folder, _patience_s(settings)), name="cord", daemon=True).start()
    serve(create_app(settings), settings, [socket.socket(fileno=number) for number in orders["sockets"]])


def _end_with_parent(metrics_folder: Path, patience_s: float) -> None:
    """Wait until the cord is cut; then end as if told to, or at once if that takes too long. Nobody else is left to clear up."""
    with suppress(OSError):
        os.read(0, 1)
    log.error("the parent process is gone")
    shutil.rmtree(metrics_folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience_s)
    os._exit(ENDED_LATE)


def _patience_s(settings: Settings) -> float:
    """Requests under way are answered within GRACE_S, and what they brought is committed within its own time."""
    return GRACE_S + settings.commit_timeout_s

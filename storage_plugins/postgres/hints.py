"""NOTIFY and LISTEN: how replicas hear of each other's commits at once. A hint says nothing and may be lost: whoever hears one looks, and looks
now and then anyway.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import psycopg

from storage_plugins.postgres.connections import WRITE_WITHIN_S, Driver, Server
from storage_plugins.postgres.deadlines import Deadlines

log = logging.getLogger(__name__)

# Commits are told of together, at most this often: a hint makes every replica look. Inside the data's own transaction NOTIFY costs a third of
# the throughput (0.64 of plain COPY): its commits wait for each other.
TELL_EVERY_S = 0.02
# Between two looks whether it is to end, and whether the server is still there.
PATIENCE_S = 1.0
RECONNECT_S = 1.0
# How long a thread is waited for that is still connecting. What it has begun cannot be cut off; it ends by itself (CONNECT_TIMEOUT_S).
END_WITHIN_S = 1.0


class Hints:
    """Tells other processes of commits, and hears of theirs. Two threads, each with a connection of its own."""

    def __init__(self, server: Server) -> None:
        """server: where to connect. Nothing happens before start()."""
        self._server = server
        self._deadlines = Deadlines()  # of our own, to end our calls and nobody else's
        self._committed = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._own_pid = 0

    def start(self, hint: Callable[[], None]) -> None:
        """Begin to tell and to hear. hint: called from a thread of ours."""
        self._threads = [
            threading.Thread(target=self._keep_up, args=("telling", self._tell), name="flowspan-tell", daemon=True),
            threading.Thread(
                target=self._keep_up, args=("listening", lambda driver: self._listen(driver, hint)), name="flowspan-listen", daemon=True
            ),
        ]
        for thread in self._threads:
            thread.start()

    def committed(self) -> None:
        """Say that something was committed here."""
        self._committed.set()

    def stop(self) -> None:
        """End both threads, within END_WITHIN_S whatever the server does. No hint is given afterwards."""
        self._stopping.set()
        self._committed.set()
        self._deadlines.close()
        until_s = time.monotonic() + END_WITHIN_S
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _keep_up(self, what: str, work: Callable[[Driver], None]) -> None:
        """Do work on a connection, and on a new one when it is lost."""
        while not self._stopping.is_set():
            try:
                with self._server.connect() as driver:
                    work(driver)
            except psycopg.Error as error:
                if self._stopping.is_set():
                    return
                log.info("%s is interrupted, other replicas are looked at every second: %s", what, str(error).strip())
                self._stopping.wait(RECONNECT_S)

    def _tell(self, driver: Driver) -> None:
        self._own_pid = driver.info.backend_pid
        while not self._stopping.is_set():
            self._committed.wait()
            self._committed.clear()
            if not self._stopping.is_set():
                with self._deadlines.within(WRITE_WITHIN_S, driver):
                    driver.execute("NOTIFY flowspan")
                self._stopping.wait(TELL_EVERY_S)

    def _listen(self, driver: Driver, hint: Callable[[], None]) -> None:
        with self._deadlines.within(WRITE_WITHIN_S, driver):
            driver.execute("LISTEN flowspan")
        hint()  # something may have happened while nobody listened
        while not self._stopping.is_set():
            with self._deadlines.within(WRITE_WITHIN_S, driver):
                heard = [notice.pid for notice in driver.notifies(timeout=PATIENCE_S, stop_after=1)]
            if any(pid != self._own_pid for pid in heard):
                hint()

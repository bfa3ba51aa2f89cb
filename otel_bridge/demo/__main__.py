"""The command: which modes run against which server, and what a person is told."""

from __future__ import annotations

import os
import signal
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from urllib.parse import urlsplit
from uuid import uuid4

from otel_bridge.demo.event_reporter import EventReporter
from otel_bridge.demo.nightly_sales import nightly_sales
from otel_bridge.demo.pipeline import Reporter, Run, Undelivered
from otel_bridge.demo.runner import Runner
from otel_bridge.demo.sdk_reporter import SdkReporter
from otel_bridge.demo.server import Server

SDK, EVENTS, BOTH = "sdk", "events", "both"
MODES = (SDK, EVENTS, BOTH)
MODE_NAMES = {SDK: "through the OpenTelemetry SDK", EVENTS: "as flow events", BOTH: "both ways at once, one run"}
# The runs overlap, so that there is always one to watch: each begins this long after the one before, at pace 1.0.
STAGGER_S = 3.0
INTERRUPTED = 130
LOOK_EVERY_S = 0.2


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code: 0, or 1 if the server did not take everything (one line on standard error says why)."""
    given = _read_arguments(words)
    server = Server(given.url, given.api_key)
    modes = MODES if given.only is None else (given.only,)
    try:
        server.check()
        _run_modes(server, modes, given.pace)
        server.check()
    except Undelivered as error:
        sys.stderr.write(f"flowspan demo: {error}\n")
        return 1
    return 0


def leave(*_: object) -> None:
    """Answer SIGINT: go at once, without waiting for threads in the middle of their sleep, and without an exception somebody may swallow."""
    os._exit(INTERRUPTED)


def _run_modes(server: Server, modes: Sequence[str], pace: float) -> None:
    with ThreadPoolExecutor(len(modes)) as pool:
        runs = [pool.submit(_run_mode, server, mode, pace, place * STAGGER_S * pace) for place, mode in enumerate(modes)]
        while wait(runs, LOOK_EVERY_S).not_done:  # a signal another thread receives is answered here
            pass
        for run in runs:
            run.result()


def _run_mode(server: Server, mode: str, pace: float, after_s: float) -> None:
    time.sleep(after_s)
    run = nightly_sales(f"nightly-{mode}-{uuid4().hex[:8]}")
    runner = Runner(run, _reporters(server, mode, run), pace)
    runner.begin()
    sys.stdout.write(f"{server.page_of(run.run_id)}  {MODE_NAMES[mode]}\n")
    sys.stdout.flush()
    runner.work()


def _reporters(server: Server, mode: str, run: Run) -> list[Reporter]:
    reporters: list[Reporter] = []
    if mode in (SDK, BOTH):
        reporters.append(SdkReporter(server, run))
    if mode in (EVENTS, BOTH):
        reporters.append(EventReporter(server, run, with_lines=mode == EVENTS))
    return reporters


def _read_arguments(words: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m otel_bridge.demo", description="Run a small data pipeline into a Flowspan server, three ways.")
    parser.add_argument("--url", type=_server_url, default="http://127.0.0.1:8000", help="the server (default %(default)s)")
    parser.add_argument("--api-key", default=os.environ.get("FLOWSPAN_API_KEY", ""), help="a key it takes (default $FLOWSPAN_API_KEY)")
    parser.add_argument("--pace", type=_pace, default=1.0, help="how slow: 1.0 is good to watch (default)")
    parser.add_argument("--only", choices=MODES, help="one way instead of three")
    return parser.parse_args(words)


def _server_url(text: str) -> str:
    if urlsplit(text).scheme not in ("http", "https"):
        raise ArgumentTypeError("must begin with http:// or https://")
    return text.rstrip("/")


def _pace(text: str) -> float:
    pace = float(text)
    if not 0 <= pace <= 1000:
        raise ArgumentTypeError("must be between 0 and 1000")
    return pace


if __name__ == "__main__":
    signal.signal(signal.SIGINT, leave)
    sys.exit(main())

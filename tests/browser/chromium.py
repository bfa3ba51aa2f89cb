"""A real Chromium, and an eye on its pages: what they complain of, and whom they call."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

from viewer.waterfall import row_id

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "Chromium is missing: sudo apt-get install chromium (or set FLOWSPAN_CHROMIUM)"
# Nothing of the browser's own may go over the network: a request that leaves the host is then the page's.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOST = "127.0.0.1"

# Nothing here takes a second; a machine that tests several things at once may be slow.
PATIENCE_MS = 60_000

ARTIFACTS = Path(__file__).parents[1] / "artifacts"

# Chromium reports these as errors of the page; a test that provokes one says so.
LOST_SOCKET = "WebSocket connection to"
REFUSED = "Failed to load resource: the server responded with a status of"

OpenPage = Callable[..., Page]


@dataclass
class Watch:
    """What went wrong on a test's pages: errors on the console (a breach of the CSP is one), uncaught errors, calls to foreign hosts."""

    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, *parts: str) -> None:
        """Let errors that contain one of these be."""
        self.expected.extend(parts)

    def look_at(self, context: BrowserContext) -> None:
        """Watch every page of a context."""
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.problems.append(f"uncaught: {error.error}"))
        context.on("request", lambda request: self._check_host(request.url))
        context.on("page", lambda page: page.on("websocket", lambda socket: self._check_host(socket.url)))

    def unexpected(self) -> list[str]:
        """List what nobody expected."""
        return [problem for problem in self.problems if not any(part in problem for part in self.expected)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} {message.location['url']}")

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != HOST:
            self.problems.append(f"a request left the host: {url}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser. While it runs, this thread counts as inside an event loop: no asyncio.run beside it."""
    path = find_chromium()
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def find_chromium() -> str:
    """Return the path of the browser. Fails the test, with the line that installs it, if there is none."""
    for name in (os.environ.get("FLOWSPAN_CHROMIUM", ""), *NAMES):
        path = shutil.which(name) if name else None
        if path is not None:
            return path
    pytest.fail(MISSING, pytrace=False)


def open_live(page: Page, url: str) -> None:
    """Open a run's page and wait until it follows the run, be it over or not."""
    page.goto(url)
    expect(page.locator("#live")).to_have_text(re.compile("live|ended"))


def task_row(page: Page, node: str) -> Locator:
    """Return the row of a task run."""
    return page.locator(f"#{row_id(node)}")


def is_too_wide(page: Page) -> bool:
    """Return whether one has to scroll sideways to read the page."""
    wide: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return wide

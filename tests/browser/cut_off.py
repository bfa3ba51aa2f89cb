"""Pages that lose their connection: what takes it from them, run in the page before its own scripts, and whether they were loaded again."""

from __future__ import annotations

from playwright.sync_api import Page

# What a proxy that knows nothing of WebSockets makes of them: they close before they were open.
NO_SOCKETS = """
window.WebSocket = class {
  constructor() { setTimeout(() => this.onclose?.(new CloseEvent("close", { code: 1006 }))); }
  close() {}
};
"""
# Headless, every page is visible. What the page asks is answered here.
HIDING = """
window.hide = (hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
# Keeps the page's socket where a test can speak through it.
KEEP_SOCKET = """
window.WebSocket = class extends WebSocket {
  constructor(...words) { super(...words); window.keptSocket = this; }
};
"""


def remember(page: Page) -> None:
    """Leave a mark in the page that a reload would wipe out."""
    page.evaluate("window.sameAsBefore = true")


def is_same(page: Page) -> bool:
    """Return whether the page was not loaded again since remember()."""
    same: bool = page.evaluate("window.sameAsBefore === true")
    return same

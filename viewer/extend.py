"""The templates and what plugins may add to them: the concrete collector.hookspecs.Viewer. Makes every page's response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

TEMPLATE_FOLDER = Path(__file__).parent / "templates"

# 'self' in connect-src covers sockets of the same host too (CSP level 3).
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class TemplateViewer:
    """Renders templates; plugins put folders, filters and links in through the hook extend_viewer."""

    def __init__(self, *, keys_required: bool = False) -> None:
        """keys_required: whether pages offer to log out."""
        self._loaders: list[BaseLoader] = [FileSystemLoader(TEMPLATE_FOLDER)]
        self._links: list[tuple[str, str]] = []
        self._environment = Environment(
            loader=ChoiceLoader(self._loaders),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,  # else the disk is asked before each row of each live message: 3 of 4 us that finding the template costs
        )
        self._environment.globals.update(links=self._links, keys_required=keys_required)

    def add_templates(self, folder: Path) -> None:
        """Look for templates in this folder before the built-in ones."""
        self._loaders.insert(0, FileSystemLoader(folder))

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Make a Jinja filter known to every template."""
        self._environment.filters[name] = function

    def add_link(self, label: str, href: str) -> None:
        """Put a link beside Flows and Runs."""
        self._links.append((label, href))

    def render(self, template: str, **context: object) -> str:
        """Return a template as HTML; a page in whole or a partial for a live message."""
        return self._environment.get_template(template).render(context)

    def respond(self, template: str, context: Mapping[str, object], status: int = 200) -> HTMLResponse:
        """Return a page with the headers every page has."""
        return HTMLResponse(self.render(template, **context), status, PAGE_HEADERS)

"""Logging a browser in: one field, and a cookie made of the key. Who may come in is decided in collector.credentials."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from collector.credentials import COOKIE_NAME
from collector.doors import Collector
from viewer.extend import PAGE_HEADERS, TemplateViewer

HOME = "/flows"
LONGEST_FORM_BYTES = 16_384
COOKIE_AGE_S = 30 * 86_400

# A path of this server: one "/" first, and nothing a browser would take for a host or drop, like "//", "/\" or a tab between.
LOCAL_PATH = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")


class Login:
    """The pages /login and /logout."""

    def __init__(self, collector: Collector, viewer: TemplateViewer) -> None:
        self._keys = collector.keys
        self._viewer = viewer

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [
            Route("/login", self.show, methods=["GET"]),
            Route("/login", self.log_in, methods=["POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show the form; without keys there is nothing to log in to."""
        target = local_path(request.query_params.get("next", ""))
        return self._form(target) if self._keys.required else RedirectResponse(target, 303)

    async def log_in(self, request: Request) -> Response:
        """Set the cookie if the key is one of ours, else show the form again."""
        form = await _read_form(request)
        target, key = local_path(form.get("next", "")), form.get("api_key", "").strip()
        if not self._keys.required:
            return RedirectResponse(target, 303)
        if not self._keys.check(key):
            return self._form(target, 401, "This is not one of the server's keys.")
        answer = RedirectResponse(target, 303, {"Cache-Control": "no-store"})
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE_NAME, self._keys.cookie(key), max_age=COOKIE_AGE_S, httponly=True, samesite="strict", secure=secure)
        return answer

    async def log_out(self, request: Request) -> Response:
        """Take the cookie back."""
        answer = RedirectResponse("/login", 303, PAGE_HEADERS)
        answer.delete_cookie(COOKIE_NAME, httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return answer

    def _form(self, target: str, status: int = 200, problem: str = "") -> Response:
        return self._viewer.respond("login.html", {"next": target, "problem": problem, "logged_in": False}, status)


def local_path(path: str) -> str:
    """Return path if it leads to a page of this server, else the first page."""
    return path if LOCAL_PATH.fullmatch(path) else HOME


async def _read_form(request: Request) -> dict[str, str]:
    """Read an urlencoded form; one longer than any key is as good as empty."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM_BYTES:
            return {}
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}

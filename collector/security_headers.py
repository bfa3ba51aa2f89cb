"""What every answer tells a browser not to do. Pages may say more; /docs needs inline scripts, and holds no user's text."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOTHING = "default-src 'none'; frame-ancestors 'none'"
API_DOCS = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " worker-src blob:; frame-ancestors 'none'"
)
OTHERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))
# Made once: every answer carries them.
EVERYWHERE = ((b"content-security-policy", NOTHING.encode()), *OTHERS)
IN_API_DOCS = ((b"content-security-policy", API_DOCS.encode()), *OTHERS)
API_DOCS_PATHS = frozenset({"/docs", "/redoc", "/docs/oauth2-redirect"})


class SecurityHeaders:
    """ASGI middleware: sets the headers that a response does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add to its answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                names, ours = {name for name, _ in given}, IN_API_DOCS if scope["path"] in API_DOCS_PATHS else EVERYWHERE
                message["headers"] = [*given, *(header for header in ours if header[0] not in names)]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)

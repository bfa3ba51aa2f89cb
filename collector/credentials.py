"""Who may come in: API keys in every usual spelling, a cookie for browsers, and the middleware that asks for them.

Without a key everything is open, and settings.check_bind has seen to it that only this machine can connect.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.access import header
from collector.errors import Unauthorized
from collector.settings import is_loopback

COOKIE_NAME = "flowspan_session"

# What anybody may see: whether we live, how to log in, and what the login page is made of.
OPEN_PATHS = frozenset({"/healthz", "/health/live", "/health/ready", "/login"})
OPEN_PREFIX = "/static/"

UNAUTHORIZED = "flowspan.unauthorized"
FOREIGN_NAME = "without a key this server answers to localhost and 127.0.0.1 only: set SERVER_API_KEY to use it by another name"


class Keys:
    """The API keys, compared in constant time."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        """keys: any of them opens; none: nothing is closed."""
        self._digests = [_digest(key) for key in keys]
        self._cookies = [_cookie_of(key) for key in keys]

    @property
    def required(self) -> bool:
        """Return whether a key is asked for at all."""
        return bool(self._digests)

    def check(self, key: str) -> bool:
        """Return whether this is one of the keys. Every key is compared, so the time tells nothing."""
        return _any_equal(_digest(key), self._digests)

    def check_cookie(self, value: str) -> bool:
        """Return whether this is a cookie we gave for one of the keys."""
        return _any_equal(value.encode("utf-8", "replace"), [cookie.encode() for cookie in self._cookies])

    def cookie(self, key: str) -> str:
        """Return the cookie's value for a key: derived, so that the key itself never lies in a browser."""
        return _cookie_of(key)


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "replace")).digest()


def _cookie_of(key: str) -> str:
    return hmac.new(key.encode("utf-8", "replace"), b"flowspan-login-1", sha256).hexdigest()


def _any_equal(one: bytes, others: list[bytes]) -> bool:
    return any([hmac.compare_digest(one, other) for other in others])  # noqa: C419  # a generator would stop at the first


class RequireKey:
    """ASGI middleware: lets in who has a key, sends browsers to /login, refuses foreign pages' sockets.

    Without a key only names of this machine are answered: a page elsewhere can make its own name resolve to 127.0.0.1 (DNS rebinding),
    and would then read us as its own origin.
    """

    def __init__(self, app: ASGIApp, keys: Keys, allowed_origins: tuple[str, ...], *, any_name: bool) -> None:
        """allowed_origins: pages of these origins may open sockets, beside our own. any_name: something in front checks who comes in."""
        self._app = app
        self._any_name = any_name or keys.required
        self._keys = keys
        self._origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] == "websocket":
            await self._guard_socket(scope, receive, send)
        elif scope["type"] == "http" and not self._is_our_name(scope):
            _mark_unauthorized(scope, FOREIGN_NAME)
            await self._app(scope, receive, send)
        elif scope["type"] != "http" or self._is_open(scope) or self._has_key(scope):
            await self._app(scope, receive, send)
        elif _is_page(scope):
            target = quote(scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b""), safe="")
            await _answer(send, 303, [(b"location", f"/login?next={target}".encode())])
        else:
            _mark_unauthorized(scope, str(Unauthorized()))
            await self._app(scope, receive, send)

    async def _guard_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_our_name(scope) and self._own_origin(scope) and (not self._keys.required or self._has_key(scope)):
            await self._app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close", "code": 4401, "reason": "a valid API key is needed"})

    def _is_our_name(self, scope: Scope) -> bool:
        host = header(scope, b"host")
        return self._any_name or (len(host) <= LONGEST_HOST and _is_this_machine(host))

    def _own_origin(self, scope: Scope) -> bool:
        """A browser names the page that opens a socket; other clients name none. Without this any page could read a local server."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        return origin is None or origin in self._origins or _host_of(origin) == headers.get("host")

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        return not self._keys.required or path in OPEN_PATHS or path.startswith(OPEN_PREFIX) or scope["method"] == "OPTIONS"

    def _has_key(self, scope: Scope) -> bool:
        if any(self._keys.check(key) for key in _given_keys(scope)):
            return True
        try:
            morsel = SimpleCookie(header(scope, b"cookie")).get(COOKIE_NAME)
        except CookieError:
            return False
        return morsel is not None and self._keys.check_cookie(morsel.value)


def _given_keys(scope: Scope) -> Iterator[str]:
    scheme, _, credentials = header(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        yield credentials.strip()
    for name in (b"x-user-token", b"x-api-key"):
        if given := header(scope, name):
            yield given
    if scope["type"] == "websocket" or scope["path"].startswith("/sse/"):
        yield from parse_qs(scope["query_string"].decode("latin-1")).get("api_key", [])


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # "http://[": no page's origin
        return ""


def _is_page(scope: Scope) -> bool:
    return scope["method"] == "GET" and "text/html" in header(scope, b"accept")


# No name in the DNS is longer.
LONGEST_HOST = 255


@lru_cache(maxsize=64)
def _is_this_machine(host: str) -> bool:
    return is_loopback(_host_name(host))


def _host_name(host: str) -> str:
    name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return "localhost" if name.endswith(".localhost") or not name else name


def _mark_unauthorized(scope: Scope, reason: str) -> None:
    scope["extensions"] = {**(scope.get("extensions") or {}), UNAUTHORIZED: {"reason": reason}}


def unauthorized_because(scope: Scope) -> str:
    """Return why the middleware would not let this request in, empty if it did: its door refuses it in its own format, before the body."""
    found: dict[str, str] = (scope.get("extensions") or {}).get(UNAUTHORIZED, {})
    return found.get("reason", "")


class RefuseUnauthorized:
    """ASGI middleware around every route that has no format of its own for errors: 401 as JSON."""

    def __init__(self, app: ASGIApp, own_format: frozenset[str]) -> None:
        """own_format: paths, without a slash at the end, whose doors refuse for themselves. No prefixes: what is not named here stays shut."""
        self._app = app
        self._own_format = own_format

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may come in, or what its door refuses in its own words."""
        if scope["type"] != "http" or not unauthorized_because(scope) or scope["path"].rstrip("/") in self._own_format:
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await _answer(send, 401, headers, json.dumps({"detail": unauthorized_because(scope)}).encode())


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

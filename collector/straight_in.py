"""The short way to a door: what comes to an address of its own need not ask every route before it, nor pass FastAPI's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send


class OwnAddress(Route):
    """A route to a door that answers whatever comes to its address, its own errors too: for anything it raises the server is at fault."""


class StraightIn:
    """ASGI middleware, the innermost: answers at doors' own addresses, and passes everything else on.

    The router's way to a door costs 80 us a request (two cores, 2026-11), all of our other middleware together 50.
    """

    def __init__(self, app: ASGIApp, addresses: Mapping[str, OwnAddress]) -> None:
        """addresses: `own_addresses` of all routes; filled once the doors are made."""
        self._app = app
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the request where it goes."""
        route = self._addresses.get(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        await route.app(scope, receive, send)


def own_addresses(routes: Sequence[BaseRoute]) -> dict[str, OwnAddress]:
    """Return the routes of one address that take every method, by that address; but none where another route answers before."""
    own = [one for one in routes if isinstance(one, OwnAddress) and one.methods is None and not one.param_convertors]
    return {route.path: route for route in own if _first_for(route.path, routes) is route}


def _first_for(path: str, routes: Sequence[BaseRoute]) -> BaseRoute | None:
    asked = {"type": "http", "method": "POST", "path": path}
    return next((one for one in routes if one.matches(asked)[0] is not Match.NONE), None)

"""Which addresses lead straight to a door: those where the router would have come to the same."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from collector.straight_in import OwnAddress, own_addresses
from tests.in_process import JSON, Server


class Door:
    """A door that takes every method."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""


async def page(request: Request) -> Response:
    return PlainTextResponse("a page")


def test_a_door_with_an_address_of_its_own_is_found_by_it() -> None:
    route = OwnAddress("/v1/traces", Door())

    assert {"/v1/traces": route} == own_addresses([Route("/v1/{rest:path}/x", page), route, Route("/v1/{rest:path}", page)])


def test_what_takes_some_methods_or_many_paths_is_left_to_the_router() -> None:
    assert not own_addresses([OwnAddress("/page", page), OwnAddress("/any/{rest:path}", Door())])


def test_what_does_not_say_that_it_answers_its_own_errors_is_left_to_the_router() -> None:
    assert not own_addresses([Route("/theirs", Door())])


def test_where_another_route_answers_before_it_does() -> None:
    assert not own_addresses([Route("/v1/{rest:path}", page), OwnAddress("/v1/traces", Door())])


def test_of_two_doors_at_one_address_the_first_answers() -> None:
    first = OwnAddress("/v1/traces", Door())

    assert {"/v1/traces": first} == own_addresses([first, OwnAddress("/v1/traces", Door())])


def test_both_doors_go_straight_in(server: Server) -> None:
    found = own_addresses(server.app.routes)

    assert {"/v1/traces", "/v1/logs", "/v1/metrics", "/api/v1/events", "/api/events"} <= found.keys()
    assert 405 == server.client.get("/api/v1/events").status_code
    assert 404 == server.post("/api/v1/events/none", b"{}", JSON).status_code

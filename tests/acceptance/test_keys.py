"""Who may come in: every spelling of a key, browsers, sockets, and whoever finds a server without one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from collector.credentials import COOKIE_NAME, Keys
from tests.in_process import JSON, PATIENCE_S, PROTOBUF, Server, running

HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """Return a server with two keys, and a run r1."""
    with running(server_api_keys=("first-key", "second-key"), cors_allowed_origins=("https://friend.example",)) as one:
        one.post("/api/v1/events", '{"event": "flow_started", "run_id": "r1"}', JSON, {"x-api-key": "first-key"})
        yield one


def log_in(server: Server, key: str, target: str = "/flows") -> httpx.Response:
    return server.client.post("/login", data={"api_key": key, "next": target})


def follow(server: Server, query: str = "", origin: str | None = None, **headers: str) -> ClientConnection:
    address = f"ws://127.0.0.1:{server.port}/ws/runs/r1{query}"
    return connect(address, additional_headers={**headers, **({"Origin": origin} if origin else {})}, open_timeout=PATIENCE_S)


# --- spellings ---------------------------------------------------------------------------------------------------------------------------


# R032 R142 R144
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer first-key"},
        {"Authorization": "Bearer second-key"},
        {"Authorization": "bearer first-key"},
        {"Authorization": "BEARER   first-key "},
        {"X-User-Token": "second-key"},
        {"x-api-key": "first-key"},
        {"Authorization": "Basic eDp5", "x-api-key": "first-key"},
    ],
)
@pytest.mark.parametrize(("path", "kind"), [("/v1/traces", PROTOBUF), ("/api/v1/events", JSON)])
def test_each_spelling_of_each_key_opens_every_door(locked: Server, path: str, kind: dict[str, str], headers: dict[str, str]) -> None:
    body = b"" if kind is PROTOBUF else b'{"event": "flow_started", "run_id": "r1"}'

    answer = locked.post(path, body, kind, {name: value.rstrip() for name, value in headers.items()})

    assert 200 == answer.status_code


# R142
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer first-key,second-key"},
        {"Authorization": "first-key"},
        {"Authorization": "Basic first-key"},
        {"Authorization": "Bearer"},
        {"x-api-key": ""},
        {"x-api-key": "FIRST-KEY"},
        {"Cookie": f"{COOKIE_NAME}=first-key"},
        {"Cookie": f'{COOKIE_NAME}="'},
    ],
)
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/traces/", "/v1/logs", "/v1/metrics", "/api/v1/events", "/api/events"])
def test_anything_else_is_401(locked: Server, path: str, headers: dict[str, str]) -> None:
    answer = locked.post(path, b"{}", JSON, headers)

    assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"])
    assert "x-api-key" in answer.text


# R148
@pytest.mark.parametrize(
    "path",
    [
        "/flows",
        "/runs",
        "/runs/r1",
        "/api/v1/runs",
        "/api/v1/runs/r1",
        "/sse/runs/r1",
        "/sse/welcome",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/v1/x",
    ],
)
def test_with_a_key_reading_needs_it_too(locked: Server, path: str) -> None:
    without, with_key = locked.get(path), locked.client.build_request("GET", path, headers={"x-api-key": "first-key"})
    answer = locked.client.send(with_key, stream=True)
    answer.close()

    assert 401 == without.status_code
    assert 401 != answer.status_code


@pytest.mark.parametrize("path", ["/healthz", "/health/live", "/health/ready", "/login", "/static/flowspan.css"])
def test_health_and_the_login_page_are_open(locked: Server, path: str) -> None:
    assert 200 == locked.get(path).status_code


@pytest.mark.parametrize("path", ["/static/../flows", "/static/..%2Fflows", "/login/../runs", "//flows", "/v1/traces/../../flows", "/healthz/"])
def test_no_detour_leads_past_the_key(locked: Server, path: str) -> None:
    assert locked.get_as_written(path).status_code in (401, 404)


def test_a_key_in_the_address_opens_live_addresses_only(locked: Server) -> None:
    assert 401 == locked.get("/api/v1/runs?api_key=first-key").status_code
    assert 401 == locked.post("/api/v1/events?api_key=first-key", b"{}", JSON).status_code


# --- browsers ----------------------------------------------------------------------------------------------------------------------------


# R148
def test_a_browser_is_sent_to_log_in_and_comes_back(locked: Server) -> None:
    asked = locked.get("/runs/r1?source=a b", **HTML)

    answer = log_in(locked, "second-key", asked.headers["location"].partition("next=")[2].replace("%2F", "/"))

    assert (303, "/login?next=%2Fruns%2Fr1%3Fsource%3Da%2520b") == (asked.status_code, asked.headers["location"])
    assert 303 == answer.status_code
    locked.client.cookies.clear()


# R148
def test_the_cookie_opens_pages_and_is_not_the_key(locked: Server) -> None:
    answer = log_in(locked, "first-key")
    cookie = answer.headers["set-cookie"]
    page = locked.get("/runs/r1", **HTML)
    locked.client.cookies.clear()

    assert (303, "/flows", 200) == (answer.status_code, answer.headers["location"], page.status_code)
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    assert "first-key" not in cookie


def test_a_wrong_key_gets_no_cookie(locked: Server) -> None:
    answer = log_in(locked, "wrong")

    assert (401, False) == (answer.status_code, "set-cookie" in answer.headers)


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: x"])
def test_logging_in_leads_to_no_other_site(locked: Server, target: str) -> None:
    answer = log_in(locked, "first-key", target)
    locked.client.cookies.clear()

    assert "/flows" == answer.headers["location"]


def test_without_keys_everything_is_open(server: Server) -> None:
    assert 200 == server.get("/flows").status_code
    assert 303 == server.get("/login").status_code
    assert 200 == server.send({"event": "flow_started", "run_id": "r1"}).status_code


# --- sockets -----------------------------------------------------------------------------------------------------------------------------


# R148
def test_a_socket_takes_the_key_in_its_address_in_a_header_or_as_a_cookie(locked: Server) -> None:
    cookie = f"{COOKIE_NAME}={Keys(('first-key',)).cookie('first-key')}"

    with (
        follow(locked, "?api_key=second-key") as by_address,
        follow(locked, Authorization="Bearer first-key") as by_header,
        follow(locked, Cookie=cookie) as by_cookie,
    ):
        told = [one.recv(timeout=PATIENCE_S) for one in (by_address, by_header, by_cookie)]

    assert all('"kind": "flow"' in str(message) for message in told)


# R148
@pytest.mark.parametrize("query", ["", "?api_key=wrong", "?api_key="])
def test_a_socket_without_a_key_is_refused(locked: Server, query: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        follow(locked, query)

    assert 403 == refused.value.response.status_code


# R148
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://["])
def test_a_socket_of_a_foreign_page_is_refused_whatever_it_knows(locked: Server, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        follow(locked, "?api_key=first-key", origin)

    assert 403 == refused.value.response.status_code


# R148
def test_a_socket_of_our_own_page_or_an_allowed_one_is_taken(locked: Server) -> None:
    with follow(locked, "?api_key=first-key", locked.url) as own, follow(locked, "?api_key=first-key", "https://friend.example") as friend:
        told = [own.recv(timeout=PATIENCE_S), friend.recv(timeout=PATIENCE_S)]

    assert 2 == len(told)


def test_a_foreign_page_may_not_listen_to_a_server_without_keys_either(server: Server) -> None:
    server.send({"event": "flow_started", "run_id": "r1"})

    with pytest.raises(InvalidStatus):
        follow(server, "", "https://evil.example")


# --- without a key -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::ffff]"])
def test_without_a_key_a_foreign_name_for_this_machine_is_not_answered(server: Server, host: str) -> None:
    """DNS rebinding: a page elsewhere makes its own name mean 127.0.0.1."""
    answers = [server.get("/api/v1/runs", Host=host), server.post("/v1/traces", b"", PROTOBUF, {"Host": host})]

    assert [401, 401] == [answer.status_code for answer in answers]
    assert "localhost" in answers[0].json()["detail"]
    assert PROTOBUF["Content-Type"] == answers[1].headers["content-type"]


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "flowspan.localhost"])
def test_without_a_key_this_machines_own_names_are_answered(server: Server, host: str) -> None:
    assert 200 == server.get("/api/v1/runs", Host=host).status_code


def test_with_a_key_a_server_has_whatever_name_it_is_given() -> None:
    with running(server_api_keys=("k1",)) as server:
        answer = server.get("/api/v1/runs", Host="flowspan.example", Authorization="Bearer k1")

    assert 200 == answer.status_code

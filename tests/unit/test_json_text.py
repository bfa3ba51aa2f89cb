"""Any value as a short JSON text: parameters hold objects, NaN, sets, themselves, and sometimes a whole table."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.json_text import MOST_CHARS, MOST_TEXT_CHARS, cut, describe, json_text

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.dates() | st.decimals(allow_nan=False)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(SCALARS, inner), max_leaves=40)
# What JSON has its own words for.
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5),
    max_leaves=20,
)


# R015 R167
@given(VALUES)
def test_any_value_becomes_short_json_with_no_number_json_lacks(value: Any) -> None:
    text = json_text(value)

    json.loads(text, parse_constant=pytest.fail)
    assert len(text) <= 2 * MOST_CHARS


# R167
@given(PLAIN.filter(lambda value: "***" not in json_text(value)))
def test_what_json_has_words_for_comes_back_as_it_was(value: Any) -> None:
    assert value == json.loads(json_text(value))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (date(2026, 11, 21), "2026-11-21"),
        (datetime(2026, 11, 21, 7, tzinfo=UTC), "2026-11-21T07:00:00+00:00"),
        (float("inf"), "inf"),
        (2**63, "9223372036854775808"),
        (b"\x00", "b'\\x00'"),
        (Decimal("1.5"), "Decimal('1.5')"),
        (Path("/tmp"), "PosixPath('/tmp')"),
        (..., "Ellipsis"),
    ],
)
def test_what_json_has_no_word_for_is_said_as_text(value: object, said: str) -> None:
    assert said == json.loads(json_text(value))


# R167
def test_a_text_under_a_name_of_a_secret_is_masked() -> None:
    secrets = {"password": "a", "db_password": "b", "API-Key": b"c", "access_token": "d", "nested": {"client.secret": "f"}}
    camel = {"accessToken": "a", "clientSecret": "b", "dbPassword": "c", "APIToken": "d", "awsSecretAccessKey": "e", "xApiKey": "f"}
    more = {"aws_secret_access_key": "a", "secret_key": "b", "access_key": "c", "passphrase": ["d"], "credentials": {"user": "e"}, "pwd": Odd()}
    harmless = {
        "max_tokens": 5,
        "accessKeyId": "AK",
        "token": 5,
        "secret": True,
        "secretary": "Ann",
        "tokens": "g",
        "password": None,
        "keys": ["token"],
    }

    masked = json.loads(json_text(secrets))

    assert {**dict.fromkeys(secrets, "***"), "nested": {"client.secret": "***"}} == masked
    assert dict.fromkeys([*camel, *more], "***") == json.loads(json_text({**camel, **more}))
    assert {"password": "***"} == json.loads(json_text({"password": "alone"}))
    assert harmless == json.loads(json_text(harmless))


def test_what_is_too_long_is_cut_and_says_by_how_much() -> None:
    found = json.loads(json_text({"rows": list(range(2_000)), "text": "x" * 3_000}))

    assert ["0", "… 1502 more"] == [str(found["rows"][0]), found["rows"][-1]]
    assert {"…": "1 more"} == {key: value for key, value in found.items() if key != "rows"}
    assert "x" * MOST_TEXT_CHARS + "… 1000 characters more" == json.loads(json_text("x" * 3_000))


def test_a_value_that_holds_itself_ends() -> None:
    circle: dict[str, Any] = {}
    circle["itself"] = [circle]

    assert '"itself"' in json_text(circle)


class Odd(Mapping[str, Any]):
    """A mapping that fails where it can."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        yield "a"

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        raise RecursionError("no end")


# R173
def test_a_value_that_fails_when_it_is_looked_at_is_named() -> None:
    assert {"odd": f"<{__name__}.Odd>"} == json.loads(json_text({"odd": Odd()}))
    assert ("<Odd whose repr raises RecursionError>", "abc") == (describe(Odd()), cut("abc"))


class Lazy:
    """An object that asks a database when it is looked at."""

    def __repr__(self) -> str:
        raise AssertionError("asked")

    def __len__(self) -> int:
        raise AssertionError("asked")


@dataclass
class Config:
    """Parameters in an object."""

    rows: list[int]
    password: str
    hidden: str = field(default="h", repr=False)


class Color(Enum):
    RED = 1


# R167
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Lazy(), f"<{__name__}.Lazy>"),
        ({"of": Lazy()}, {"of": f"<{__name__}.Lazy>"}),
        (Lazy().__repr__, "<builtins.method>"),
        (partial(print, Lazy()), "<functools.partial>"),
        (b"x" * 10_000_000, f"b'{'x' * 500}'… 9999500 bytes more"),
        (bytearray(3), "bytearray(b'\\x00\\x00\\x00')"),
        (deque([1, 2]), [1, 2]),
        (array("i", [1, 2, 3]), "<array.array of 3>"),
        (range(10), "range(0, 10)"),
        (Config([1], "s3cr3t"), {"rows": [1], "password": "***"}),
        (Namespace(a=1, password="s3cr3t"), {"a": 1, "password": "***"}),
        (object(), "<builtins.object>"),
        (UUID(int=1), "UUID('00000000-0000-0000-0000-000000000001')"),
        (Color.RED, "<Color.RED: 1>"),
        (KeyError("a"), "KeyError('a')"),
    ],
)
def test_a_value_is_not_asked_for_more_than_is_shown(value: object, said: object) -> None:
    assert said == json.loads(json_text(value))


def test_a_proxy_is_not_asked_what_it_is() -> None:
    def ask(proxy: Any) -> type:
        raise AssertionError("asked")

    proxy = type("Proxy", (), {"__class__": property(ask)})()

    text = json_text(proxy)

    assert f'"<{__name__}.Proxy>"' == text


# R173
def test_a_large_value_costs_what_is_shown_of_it() -> None:
    values = [bytes(50_000_000), deque(range(1_000_000)), array("q", range(1_000_000)), dict.fromkeys(range(1_000_000)).keys()]
    began_s = time.process_time()

    json_text(values)

    assert time.process_time() - began_s < 0.05

"""Bodies before anybody knows what they are: gzip in every shape, and limits that hold while inflating."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.errors import Rejected
from collector.intake import MOST_MEMBERS, UnknownEncoding, inflate, is_gzipped

LIMIT = 10_000_000


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_all_members_of_a_body_are_inflated(parts: list[bytes]) -> None:
    body = b"".join(map(gzip.compress, parts))

    assert b"".join(parts) == inflate(body, LIMIT)


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 1_000_000, 5_000_000])
@pytest.mark.parametrize("content", ["zeros", "noise"])
def test_a_body_of_any_size_is_inflated_whole(size: int, content: str) -> None:
    body = bytes(size) if content == "zeros" else random.Random(size).randbytes(size)

    assert body == inflate(gzip.compress(body, 1), LIMIT)


@pytest.mark.parametrize("limit", [0, 1, 999, 1000, 1001])
def test_the_limit_is_kept_to_the_byte(limit: int) -> None:
    inflated = inflate(gzip.compress(bytes(1000)), limit)

    assert (bytes(1000) if limit >= 1000 else None) == inflated


def test_a_bomb_is_given_up_long_before_it_is_inflated() -> None:
    bomb = gzip.compress(bytes(200_000_000), 1)

    assert inflate(bomb, 1_000_000) is None


def test_a_body_cut_anywhere_is_refused() -> None:
    body = gzip.compress(b"some text that is long enough")

    for length in range(len(body)):
        with pytest.raises(Rejected):
            inflate(body[:length], LIMIT)


@pytest.mark.parametrize(
    "body", [b"x", b"\x1f\x8b", zlib.compress(b"text"), gzip.compress(b"text", mtime=0) + b"more", b"\x1f\x8b\x08" + bytes(30)]
)
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected):
        inflate(body, LIMIT)


def test_a_body_of_millions_of_empty_members_is_refused_soon() -> None:
    body = gzip.compress(b"") * (MOST_MEMBERS + 1)

    with pytest.raises(Rejected, match="members"):
        inflate(body, LIMIT)


@pytest.mark.parametrize(
    ("coding", "expected"), [("", False), ("identity", False), ("Identity", False), ("gzip", True), ("GZIP", True), (" x-gzip ", True)]
)
def test_codings_have_any_case(coding: str, expected: bool) -> None:
    assert expected == is_gzipped(coding)


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, gzip", "gzip;q=1"])
def test_another_coding_is_unknown(coding: str) -> None:
    with pytest.raises(UnknownEncoding):
        is_gzipped(coding)

"""Every way people write a time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.timestamps import LATEST_NS, to_iso, to_ns

# 2026-11-21T00:07:30.5Z
MOMENT_NS = 1_795_219_650_500_000_000


# R012
@pytest.mark.parametrize(
    "written",
    [
        1795219650.5,
        1795219650500,
        1795219650500000,
        1795219650500000000,
        "1795219650.5",
        " 1795219650500 ",
        "1795219650500000000",
        "2026-11-21T00:07:30.5Z",
        "2026-11-21T00:07:30.5z",
        "2026-11-21T00:07:30.500",
        "2026-11-21 00:07:30.5",
        "2026-11-21 00:07:30,500",
        "2026-11-21T00:07:30.500000+00:00",
        "2026-11-21T03:07:30.500000000+03:00",
        "2026-11-21T03:07:30.5+0300",
        "2026-11-20 21:07:30.5-03",
        "2026-11-21 00:07:30.5+00",
        "2026-11-21T05:37:30.5 +05:30",
        "\n2026-11-21T00:07:30.5000000009Z ",
    ],
)
def test_one_moment_in_every_spelling(written: object) -> None:
    assert MOMENT_NS == to_ns(written)


# R012
def test_whole_seconds_and_minutes_are_times() -> None:
    assert 1_795_219_650 * 10**9 == to_ns(1795219650)
    assert 1_795_219_620 * 10**9 == to_ns("2026-11-21T00:07Z")


# R012
def test_nanoseconds_in_iso_text_are_kept() -> None:
    assert MOMENT_NS + 123 == to_ns("2026-11-21T00:07:30.500000123Z")


# R012 R015
@pytest.mark.parametrize(
    "written",
    [
        *(None, True, False, "", "soon", [], {}, 0, -1, -0.5, math.nan, math.inf, -math.inf, 10**30, 10**5000, 2**64 - 1),
        *("2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+05:00", "1969-12-31T23:59:59Z"),
        *("2026-11-21", "9" * 5000, "2026-11-21T00:00:00+99:99", "nan", "1e9", "-5"),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"{value.bit_length()} bits",
)
def test_what_says_no_usable_time_is_zero(written: object) -> None:
    assert 0 == to_ns(written)


# R012
@given(st.integers(10**17, LATEST_NS))
def test_any_nanoseconds_are_themselves(time_ns: int) -> None:
    assert time_ns == to_ns(time_ns) == to_ns(str(time_ns))


# R012
@given(st.integers(1, LATEST_NS // 1000).map(lambda us: us * 1000))
def test_a_printed_time_is_read_back(time_ns: int) -> None:
    assert time_ns == to_ns(to_iso(time_ns))


@given(
    st.one_of(st.text(max_size=40), st.floats(), st.integers(), st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?", fullmatch=True))
)
def test_any_value_is_a_time_of_our_range_or_none(written: object) -> None:
    assert 0 <= to_ns(written) <= LATEST_NS

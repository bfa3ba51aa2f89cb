"""Attribute values as JSON text: nothing of their types is lost, nothing in them can break a database or a page."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.attributes import MAX_DEPTH, TOO_DEEP, attributes_from_json, from_json, to_json

# What a UTF-8 database can hold: no NUL, no surrogates.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
KEYS = st.one_of(TEXT, st.sampled_from(["$", "$double", "$bytes", "$map", "$$"]))
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT, st.binary(max_size=20))
VALUES = st.recursive(LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=12)


# R064
@settings(max_examples=50)
@given(VALUES)
def test_any_value_is_read_back_with_its_types(value: Any) -> None:
    back = from_json(to_json(value))

    assert repr(value) == repr(back)


# R015
@given(st.recursive(st.one_of(st.text(), st.floats(), st.integers()), lambda inner: st.dictionaries(st.text(), inner), max_leaves=5))
def test_the_text_is_plain_json_any_database_takes(value: Any) -> None:
    text = to_json(value)

    text.encode()
    json.loads(text, parse_constant=pytest.fail)
    assert "\0" not in text and "\\u0000" not in text


# R064
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e22, "1e+22"),
        (True, "true"),
        (b"\x00\xff", '{"$bytes":"AP8="}'),
        (math.inf, '{"$double":"Infinity"}'),
        (-math.inf, '{"$double":"-Infinity"}'),
        ({"$double": "NaN"}, '{"$map":{"$double":"NaN"}}'),
        ({"$map": {"$bytes": "x"}}, '{"$map":{"$map":{"$map":{"$bytes":"x"}}}}'),
        ({"$a": 1, "$b": 2}, '{"$a":1,"$b":2}'),
        ({"☃": "<script>"}, '{"☃":"<script>"}'),
    ],
)
def test_what_json_has_no_word_for_is_tagged(value: Any, text: str) -> None:
    assert text == to_json(value)
    assert value == from_json(text)


# R064
def test_not_a_number_is_read_back() -> None:
    assert math.isnan(from_json(to_json(math.nan)))


# R015
def test_a_huge_integer_is_kept_and_an_absurd_one_is_described() -> None:
    assert 10**30 == from_json(to_json(10**30))
    assert "(integer of 33220 bits)" == from_json(to_json(10**10_000))


# R015
def test_nul_and_lone_surrogates_are_replaced_in_keys_and_values() -> None:
    assert {"a\ufffd": ["b\ufffd"]} == from_json(to_json({"a\0": ["b\ud800"]}))


# R015
def test_what_is_nested_too_deeply_is_cut_there() -> None:
    deep: Any = "bottom"
    for _ in range(100_000):
        deep = [deep]

    back = from_json(to_json(deep))

    for _ in range(MAX_DEPTH):
        (back,) = back
    assert TOO_DEEP == back


def test_a_foreign_object_is_kept_as_its_text() -> None:
    assert "{1}" == from_json(to_json({1}))


def test_tuples_come_back_as_lists() -> None:
    assert [1, [2]] == from_json(to_json((1, (2,))))


def test_an_empty_column_is_no_attributes() -> None:
    assert {} == attributes_from_json("") == attributes_from_json("[1]")

"""Keys and the cookies made of them."""

from __future__ import annotations

import pytest

from collector.credentials import Keys


# R142
def test_any_of_several_keys_opens() -> None:
    keys = Keys(("one", "two"))

    assert (True, True, False) == (keys.check("one"), keys.check("two"), keys.check("three"))


# R142
@pytest.mark.parametrize("given", ["", "ONE", "one ", "one,two", "on", "onee", "\udcff", "ö"])
def test_nothing_but_the_whole_key_opens(given: str) -> None:
    assert not Keys(("one", "two")).check(given)


def test_a_key_may_hold_any_text() -> None:
    assert Keys(("schlüssel ☃",)).check("schlüssel ☃")


def test_without_keys_none_is_required_and_none_opens() -> None:
    keys = Keys(())

    assert (False, False, False) == (keys.required, keys.check(""), keys.check_cookie(""))


# R148
def test_a_cookie_opens_as_long_as_its_key_is_one_of_ours() -> None:
    cookie = Keys(("one",)).cookie("one")

    assert (True, False) == (Keys(("zero", "one")).check_cookie(cookie), Keys(("two",)).check_cookie(cookie))


# R148
def test_a_cookie_is_not_the_key_and_a_key_no_cookie() -> None:
    keys = Keys(("one",))

    assert "one" not in keys.cookie("one")
    assert not keys.check_cookie("one")
    assert not keys.check(keys.cookie("one"))

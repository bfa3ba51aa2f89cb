"""Ids are computed: every door, every re-delivery and every other program that follows the vector meets in the same rows."""

from __future__ import annotations

import hashlib

from otel_bridge.facts import KEY_CHARS, harmless, short_key
from otel_bridge.identity import digest, run_key, run_span_id, task_span_id


# R065
def test_the_run_key_is_the_vectors() -> None:
    assert "95d896d10743caf099f40104e85e36f9" == run_key("flowspan", "r1", 0).hex()


# R065
def test_the_run_span_is_the_vectors() -> None:
    assert "05d23d4e6e28da1d" == run_span_id(run_key("flowspan", "r1")).hex()


# R065
def test_the_task_span_and_its_first_attempt_are_the_vectors() -> None:
    key = run_key("flowspan", "r1")

    assert "092552f40b695598" == task_span_id(key, "load:3").hex()
    assert "9edbda6e4b84203b" == task_span_id(key, "load:3", 1).hex()


def test_the_digest_is_sha256_over_length_and_bytes_of_each_part() -> None:
    by_hand = b"\0\0\0\x03\xe2\x98\x83" + b"\0\0\0\x02-7"

    assert hashlib.sha256(by_hand).digest() == digest("☃", -7)


def test_moving_a_letter_to_the_next_part_makes_another_id() -> None:
    assert run_key("ab", "c") != run_key("a", "bc")


def test_source_run_id_and_generation_each_make_another_run() -> None:
    keys = {run_key("a", "1"), run_key("b", "1"), run_key("a", "2"), run_key("a", "1", 1)}

    assert 4 == len(keys)


# R015
def test_a_key_that_fits_an_index_is_kept() -> None:
    assert "x" * KEY_CHARS == short_key("x" * KEY_CHARS)


# R015
def test_long_keys_that_differ_at_the_end_stay_apart() -> None:
    first, second = short_key("☃" * 10**6 + "1"), short_key("☃" * 10**6 + "2")

    assert first != second
    assert KEY_CHARS == len(first)


# R023
def test_a_short_key_is_its_own_short_key() -> None:
    once = short_key("x" * 5000)

    assert once == short_key(once)


# R015
def test_harmless_text_has_no_nul_and_no_lone_surrogate() -> None:
    assert "a\ufffdb\ufffdc\ufffd" == harmless("a\0b\ud800c\udfff")


def test_harmless_text_keeps_everything_else() -> None:
    text = "Grüße ☃ 𝄞 <script> \n\t\x7f"

    assert text == harmless(text)


def test_a_character_sent_as_a_pair_of_surrogates_is_that_character() -> None:
    assert "𝄞" == harmless("\ud834\udd1e")

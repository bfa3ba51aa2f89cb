"""Whatever bodies hold, columns say to the last byte what rows say."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.otlp.terms import TraceTerms
from tests.columns import ALL_DIALECTS, AnyRequest, assert_equal_to_rows
from tests.otlp_bodies import full_traces

SEEDS = st.integers(0, 2**64)


# R079
@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_any_requests_are_the_same_as_columns_and_as_rows(seed: int) -> None:
    rng = Random(seed)
    bodies = [AnyRequest(rng).body() for _ in range(rng.randint(1, 3))]

    assert_equal_to_rows(bodies, TraceTerms(rng.choice(ALL_DIALECTS), rng.choice((0, 30)), max_records=50))


# R079
@settings(max_examples=100, deadline=None)
@given(SEEDS, st.binary(max_size=20))
def test_any_bytes_are_the_same_as_columns_and_as_rows(seed: int, anything: bytes) -> None:
    rng = Random(seed)
    sound = [AnyRequest(rng).body(), full_traces().SerializeToString()]

    assert_equal_to_rows([_damaged(rng, body) for body in sound] + [anything], TraceTerms(ALL_DIALECTS[0], 30, max_records=50))


def _damaged(rng: Random, body: bytes) -> bytes:
    """Return a body with a byte or two changed, or parts doubled or left out; every third or so stays sound."""
    damaged = bytearray(body)
    if rng.random() < 0.7 and damaged:
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        return bytes(damaged)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(damaged) + 1)
        doubled = damaged[place : place + rng.randrange(40)]
        damaged[place : place + rng.choice((0, 0, 1, 1, 4))] = rng.choice((doubled, rng.randbytes(1), rng.randbytes(5), b""))
    return bytes(damaged)

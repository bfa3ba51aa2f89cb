"""Flows and tasks that are generators: in their run while their own code runs, and nowhere between two yields."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator

import pytest

from otel_bridge import log, run, task
from tests import watching
from tests.watching import Told, here

told = watching.told


@task
def numbers(most: int) -> Generator[int, str, str]:
    """Yield numbers and log what is sent in return."""
    heard = ""
    for number in range(most):
        heard += (yield number) or "-"
        log(f"heard {heard}")
    return heard


def test_a_generator_is_at_its_place_only_while_its_own_code_runs(told: Told) -> None:
    with run("consumed") as r:
        places = []
        for _ in numbers(2):
            places.append(here().node)
            log("between")

    assert ["", ""] == places
    assert [(None, "between"), ("numbers:1", "heard -"), (None, "between"), ("numbers:1", "heard --")] == told.lines(r.run_id)
    assert {"numbers:1": "SUCCEEDED"} == told.states(r.run_id)


def test_a_generator_takes_what_is_sent_and_returns_its_value(told: Told) -> None:
    with run("sent"):
        talk = numbers(2)
        said = [next(talk), talk.send("a")]
        with pytest.raises(StopIteration) as stopped:
            talk.send("b")

    assert ([0, 1], "ab") == (said, stopped.value.value)
    assert inspect.isgeneratorfunction(numbers)


def test_a_generator_sees_what_is_thrown_into_it(told: Told) -> None:
    @task
    def patient() -> Iterator[str]:
        try:
            yield "first"
        except ValueError as error:
            yield f"caught {error} at {here().node}"

    with run("thrown") as r:
        talk = patient()
        next(talk)
        answer = talk.throw(ValueError("it"))  # type: ignore[attr-defined]  # a generator, as its caller knows
        with pytest.raises(KeyError):
            talk.throw(KeyError("more"))  # type: ignore[attr-defined]  # the same

    assert "caught it at patient:1" == answer
    assert {"patient:1": "FAILED"} == told.states(r.run_id)


def test_a_generator_that_is_wanted_no_more_has_succeeded(told: Told) -> None:
    closed = []

    @task
    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(here().node)

    with run("stopped early") as r:
        for _ in endless():
            break

    assert ["endless:1"] == closed
    assert {"endless:1": "SUCCEEDED"} == told.states(r.run_id)


def test_a_block_in_a_generator_is_left_and_found_again(told: Told) -> None:
    @task
    def outer() -> Iterator[str]:
        with task("inner"):
            yield here().node
            yield here().node

    with run("blocks in generators"):
        seen = [(node, here().node) for node in outer()]

    assert [("inner:1", ""), ("inner:1", "")] == seen

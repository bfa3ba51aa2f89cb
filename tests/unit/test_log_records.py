"""Records of the standard library's logging as log lines of the run and task they are made in; a program's logging stays as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from otel_bridge import FlowspanHandler
from otel_bridge.log_records import ignore_logger, install_factory, remove_factory
from otel_bridge.places import Place, at
from otel_bridge.runs import Run, RunName
from tests import watching
from tests.watching import Told

told = watching.told


@pytest.fixture
def run() -> Iterator[Run]:
    """Return a run that has begun."""
    one = Run(RunName(uuid4().hex, "etl"))
    one.begin()
    yield one
    one.end()


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """Return a logger of this test's own that says everything, with a handler of ours."""
    logger = logging.getLogger(f"tests.{uuid4().hex}")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(FlowspanHandler())
    logger.propagate = False
    yield logger
    logger.handlers.clear()


@pytest.fixture
def factory() -> Iterator[None]:
    """Have records taken as in a program that is followed without a change."""
    install_factory()
    yield
    remove_factory()


def lines(told: Told, run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told.run(run.run_id, "/logs")
    return found


# R164
def test_a_record_is_a_line_of_the_place_it_is_made_in(told: Told, run: Run, log: logging.Logger) -> None:
    log.info("before the run")
    with at(Place(run)):
        log.warning("of the %s", "run")
        with at(Place(run, "load:1")):
            log.debug("of the task")
    log.info("after the run")

    found = [(line["task_node"], line["level"], line["message"]) for line in lines(told, run)]
    assert [(None, "WARNING", "of the run"), ("load:1", "DEBUG", "of the task")] == found


# R164
def test_a_line_says_what_was_raised(told: Told, run: Run, log: logging.Logger) -> None:
    with at(Place(run)):
        try:
            raise ValueError("bad ☃")
        except ValueError:
            log.exception("it failed")

    (line,) = lines(told, run)
    assert ("ERROR", ["exception"]) == (line["level"], list(line["payload"]))
    assert line["payload"]["exception"].endswith("ValueError: bad ☃")


def test_a_record_taken_by_the_factory_and_by_handlers_is_one_line(told: Told, run: Run, log: logging.Logger, factory: None) -> None:
    log.addHandler(FlowspanHandler())

    with at(Place(run)):
        log.info("once")
        logging.getLogger("tests.without_handler").error("by the factory alone")

    assert ["once", "by the factory alone"] == [line["message"] for line in lines(told, run)]


# R173
def test_the_factory_that_was_there_makes_the_records(factory: None) -> None:
    remove_factory()
    before = logging.getLogRecordFactory()
    marked: list[str] = []

    def theirs(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        marked.append(record.name)
        return record

    logging.setLogRecordFactory(theirs)
    try:
        install_factory()
        install_factory()
        logging.getLogger("tests.theirs").error("hello")
        remove_factory()
        assert (["tests.theirs"], theirs) == (marked, logging.getLogRecordFactory())
    finally:
        logging.setLogRecordFactory(before)


class Hostile:
    """An argument that cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError("no words for it")


# R173
@pytest.mark.parametrize(("message", "arguments"), [("%d rows", ("many",)), ("%s", (Hostile(),)), ("%s %s", ("one",)), ("100 %", ("x",))])
def test_a_message_that_cannot_be_formatted_is_told_as_it_was_written(told: Told, run: Run, message: str, arguments: tuple[Any, ...]) -> None:
    with at(Place(run)):
        FlowspanHandler().handle(logging.LogRecord("tests", logging.ERROR, __file__, 1, message, arguments, None))

    assert [message] == [line["message"] for line in lines(told, run)]


def test_what_is_ignored_is_not_told(told: Told, run: Run, factory: None) -> None:
    ignore_logger("tests.noise")

    with at(Place(run)):
        for name in ("tests.noise", "tests.noise.more", "otel_bridge.sender", "tests.noisefree"):
            logging.getLogger(name).error("from %s", name)

    assert ["from tests.noisefree"] == [line["message"] for line in lines(told, run)]

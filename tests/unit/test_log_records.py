"""Records of the standard library's logging as log lines of the run and task they are made in; a program's logging stays as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from otel_bridge import FlowspanHandler, guard
from otel_bridge.log_records import follow_loggers, ignore_logger, leave_loggers
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
def followed() -> Iterator[None]:
    """Have records taken as in a program that is followed without a change."""
    follow_loggers()
    yield
    leave_loggers()


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


def test_a_record_that_is_followed_and_comes_to_handlers_is_one_line(told: Told, run: Run, log: logging.Logger, followed: None) -> None:
    log.addHandler(FlowspanHandler())

    with at(Place(run)):
        log.info("once")
        logging.getLogger("tests.without_handler").error("without a handler")

    assert ["once", "without a handler"] == [line["message"] for line in lines(told, run)]


class Keeping(logging.Handler):
    """Keeps what a record holds when it comes to a handler, as a formatter that writes all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[set[str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(set(vars(record)))


# R173
def test_a_record_holds_nothing_of_ours(told: Told, run: Run, log: logging.Logger, followed: None) -> None:
    keeping = Keeping()
    log.addHandler(keeping)
    log.info("outside of a run")
    with at(Place(run)):
        log.info("hello")

    assert keeping.kept[0] == keeping.kept[1]


# R173
def test_what_a_filter_of_a_logger_masks_or_silences_is_not_told(told: Told, run: Run, log: logging.Logger, followed: None) -> None:
    def mask(record: logging.LogRecord) -> bool:
        record.msg = record.msg.replace("s3cret", "***")
        return "private" not in record.msg

    log.addFilter(mask)
    with at(Place(run)):
        log.info("the key is s3cret")
        log.info("private")

    assert ["the key is ***"] == [line["message"] for line in lines(told, run)]


# R173
def test_a_record_made_by_hand_fails_nothing(told: Told, run: Run, followed: None) -> None:
    before = guard.failures()

    with at(Place(run)):
        record = logging.makeLogRecord({"msg": "made of a dict"})
        FlowspanHandler().handle(record)

    assert (before, []) == (guard.failures(), lines(told, run))


# R173
def test_loggers_that_are_left_are_as_they_were() -> None:
    before = logging.Logger.filter

    follow_loggers()
    follow_loggers()
    leave_loggers()

    assert before is logging.Logger.filter


# R173
def test_logging_prints_the_same_of_a_record_it_cannot_write(run: Run, followed: None, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger(f"tests.{uuid4().hex}")
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False  # pytest's own handler raises

    with at(Place(run)):
        logger.error("%d", "no number")

    printed = capsys.readouterr().err
    assert ("no number" in printed, "otel_bridge" in printed) == (True, False)


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


def test_what_is_ignored_is_not_told(told: Told, run: Run, followed: None) -> None:
    ignore_logger("tests.noise")

    with at(Place(run)):
        for name in ("tests.noise", "tests.noise.more", "otel_bridge.sender", "tests.noisefree"):
            logging.getLogger(name).error("from %s", name)

    assert ["from tests.noisefree"] == [line["message"] for line in lines(told, run)]

"""Records of the standard library's logging become log lines of the run and task they are made in.

`FlowspanHandler` is for programs that set up logging themselves. Where nothing of a program is to be changed, a record factory takes its place:
a handler on the root logger would silence `logging.basicConfig` and the warnings Python prints for programs without any.
"""

from __future__ import annotations

import logging
from typing import Any

from otel_bridge.guard import harmlessly
from otel_bridge.places import current

# Ours would tell of themselves.
_ignored = {"otel_bridge"}
_TAKEN = "flowspan_taken"


class FlowspanHandler(logging.Handler):
    """Tells each record made inside a run, once, with its run and node; others are left alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record."""
        take(record)


def install_factory() -> None:
    """Have every record told that any logger makes from now on. The factory before stays in use; installed twice is installed once."""
    before = logging.getLogRecordFactory()
    if isinstance(before, _Factory):
        return
    logging.setLogRecordFactory(_Factory(before))


def remove_factory() -> None:
    """Put the factory back that was there before, unless somebody has put another on top."""
    here = logging.getLogRecordFactory()
    if isinstance(here, _Factory):
        logging.setLogRecordFactory(here.before)


def ignore_logger(name: str) -> None:
    """Leave out what this logger, and those below it, say."""
    _ignored.add(name)


class _Factory:
    def __init__(self, before: Any) -> None:
        self.before = before

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self.before(*args, **kwargs)
        take(record)
        return record


@harmlessly
def take(record: logging.LogRecord) -> None:
    """Tell one record, if it is made in a run and has not been told."""
    place = current()
    if place is None or getattr(record, _TAKEN, False) or _is_ignored(record.name):
        return
    setattr(record, _TAKEN, True)
    raised = record.exc_info if record.exc_info and record.exc_info[0] is not None else None
    payload = {"exception": logging.Formatter().formatException(raised)} if raised else None
    place.run.log(_message_of(record), record.levelname, place.node, payload, ts=round(record.created * 1e9), logger=record.name)


def _message_of(record: logging.LogRecord) -> str:
    """A record whose arguments do not fit is told as it was written: logging itself prints what is wrong with it."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # somebody else's __str__, or a wrong number of arguments
        return str(record.msg)


def _is_ignored(name: str) -> bool:
    return any(name == ignored or name.startswith(f"{ignored}.") for ignored in _ignored)

"""Records of the standard library's logging become log lines of the run and task they are made in.

`FlowspanHandler` is for programs that set up logging themselves. Where nothing of a program is to be changed, loggers are followed at the place
where they ask their filters: what those mask or silence is masked and silent here too. A handler on the root logger would silence
`logging.basicConfig` and the warnings Python prints for programs without any.
"""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakSet

from otel_bridge.guard import harmlessly
from otel_bridge.places import current

# Ours would tell of themselves.
_ignored = {"otel_bridge"}
# Kept beside the records: an attribute of theirs would be printed by formatters that write whatever a record holds.
_taken: WeakSet[logging.LogRecord] = WeakSet()
# What `Logger.filter` was before it was followed.
_before: list[Any] = []


class FlowspanHandler(logging.Handler):
    """Tells each record made inside a run, once, with its run and node; others are left alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record."""
        take(record)


def follow_loggers() -> None:
    """Have every record told that passes the filters of its logger from now on. Followed twice is followed once.

    Not where handlers are called: they would find a frame of ours in the call stack that logging prints of a record it cannot write.
    """
    if not _before:
        _before.append(logging.Logger.filter)
        logging.Logger.filter = _filter  # type: ignore[method-assign, assignment]  # to follow is to replace


def leave_loggers() -> None:
    """Put back what was there before, unless somebody has put another on top."""
    if _before and logging.Logger.filter is _filter:
        logging.Logger.filter = _before.pop()  # type: ignore[method-assign]  # as it was


def ignore_logger(name: str) -> None:
    """Leave out what this logger, and those below it, say."""
    _ignored.add(name)


def _filter(self: logging.Logger, record: logging.LogRecord) -> Any:
    passed = _before[0](self, record)
    if passed:
        take(passed if isinstance(passed, logging.LogRecord) else record)  # since Python 3.12 a filter may put another in its place
    return passed


@harmlessly
def take(record: logging.LogRecord) -> None:
    """Tell one record, if it is made in a run and has not been told."""
    place = current()
    if place is None or not record.name or record in _taken or _is_ignored(record.name):
        return
    _taken.add(record)
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

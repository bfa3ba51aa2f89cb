"""How log lines look: text for people, JSON for machines, each with the request's id."""

from __future__ import annotations

import json
import logging
import sys
from functools import lru_cache

from collector.access import request_id
from otel_bridge.timestamps import to_iso

# What a sender named must not begin a line of its own, nor colour a terminal: control characters as Python writes them.
_VISIBLE = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)} | {ord("\n"): "\n  "}


class TextFormatter(logging.Formatter):
    """`2026-11-21T10:00:00.000000Z INFO collector.app (process id) [request id] message`; the process where there are several."""

    def __init__(self, *, with_process: bool = False) -> None:
        """with_process: say which process each line is from."""
        super().__init__()
        self._with_process = with_process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        own_id = request_id.get()
        mark = (f" ({record.process})" if self._with_process else "") + (f" [{own_id}]" if own_id else "")
        line = f"{_time(record)} {record.levelname} {record.name}{mark} {_visible(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, message, process, request_id, exception."""

    def __init__(self, *, with_process: bool = False) -> None:
        """with_process: say which process each line is from."""
        super().__init__()
        self._with_process = with_process

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as text."""
        line: dict[str, object] = {"ts": _time(record), "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if self._with_process:
            line["process"] = record.process
        if request_id.get():
            line["request_id"] = request_id.get()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(level: str, log_format: str, *, with_process: bool = False) -> None:
    """Send every log line to standard error in this format ("text" or "json"). with_process: each says which process it is from."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter if log_format == "json" else TextFormatter
    handler.setFormatter(formatter(with_process=with_process))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # at info it lists its own parts, seven lines


def _visible(message: str) -> str:
    return message if message.isprintable() else message.translate(_VISIBLE)


def _time(record: logging.LogRecord) -> str:
    second, microseconds = divmod(int(record.created * 1_000_000), 1_000_000)
    return f"{_second(second)}.{microseconds:06}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    """Lines come many a second: to write the date costs 5 us."""
    return to_iso(second * 10**9).partition(".")[0]

"""Words for the severity of log lines, as people and senders write them. Pure."""

from __future__ import annotations

from viewer.addresses import BadQuestion

# OTel logs data model, severity numbers: the least number of each name.
SEVERITIES = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}
SPELLINGS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


def min_severity(level: str | None) -> int:
    """Return the least severity number of a level asked for, 0 if none was. Raises BadQuestion for a word that is no level."""
    if not level:
        return 0
    word = level.upper()
    number = SEVERITIES.get(SPELLINGS.get(word, word))
    if number is None:
        raise BadQuestion(f"level must be one of {', '.join(SEVERITIES).lower()}")
    return number


def name_severity(number: int) -> str:
    """Return the name of a severity number, empty for 0 (not said)."""
    return next((name for name, least in reversed(SEVERITIES.items()) if number >= least), "")

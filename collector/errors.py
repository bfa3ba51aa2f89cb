"""Errors, named by what the sender should do. Only the doors know status codes."""

from __future__ import annotations


class FlowspanError(Exception):
    """Something went wrong."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class Rejected(FlowspanError):
    """This cannot be stored, now or later: do not send it again."""


class TooLarge(Rejected):
    """The request is larger than this server takes: send it in parts."""


class Unauthorized(Rejected):
    """A valid API key is needed: send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'."""


class TooSlow(FlowspanError):
    """The request's body took too long to arrive: send it again."""


class Unavailable(FlowspanError):
    """The data cannot be stored just now: send it again later."""

    def __init__(self, message: str = "", because: str = "") -> None:
        """message: what the sender is told. because: what nobody outside should learn: a database's error names its address and its user."""
        super().__init__(message)
        self.because = because

    def in_full(self) -> str:
        """Return what our own log says."""
        return f"{self} ({self.because})" if self.because else str(self)


class Full(Unavailable):
    """More is waiting to be stored than this server holds: send it again later."""

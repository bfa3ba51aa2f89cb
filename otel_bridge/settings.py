"""What the bridge is told by the environment: one frozen BridgeSettings. Units are in the names; the server's settings are its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from otel_bridge.switches import KEY_NAMES, URL_NAMES

logger = logging.getLogger(__name__)

SPOOL_NAME = "FLOWSPAN_BRIDGE_SPOOL"
NO_SPOOL = ("off", "none", "0")

MIB = 1 << 20


@dataclass(frozen=True)
class BridgeSettings:
    """Where to send, and how much the bridge may hold.

    url: a Flowspan server's address, without a path; empty: none, then only the endpoints of OTEL_* get finished spans. queue_bytes: what
    waits to be mapped; parcel_bytes: what is encoded and waits to be sent. Both are estimates and bounds, not reservations.
    spool: the file that keeps what could not be sent; None: nothing is kept. also: addresses of other OTLP/HTTP endpoints, for finished spans.
    """

    url: str = ""
    api_key: str = field(default="", repr=False)
    queue_bytes: int = 8 * MIB
    parcel_bytes: int = 8 * MIB
    spool: Path | None = None
    spool_bytes: int = 64 * MIB
    # How long records wait for company: below what an eye notices, and twenty requests a second at most.
    gather_s: float = 0.05
    # A run is LOST when its process was silent for two of these.
    heartbeat_s: float = 5.0
    timeout_s: float = 10.0
    # The longest an ending program waits for what is not yet sent.
    exit_s: float = 5.0
    service_name: str = ""
    also: tuple[str, ...] = ()

    @property
    def is_on(self) -> bool:
        """Return whether there is a Flowspan server to tell."""
        return bool(self.url)


def from_environment(environ: Mapping[str, str] = os.environ) -> BridgeSettings:
    """Read the settings. A value that cannot be used is warned of and its default stands: a program must not fail for them."""
    default = BridgeSettings()
    read = _Reader(environ)
    stated = BridgeSettings(
        url=read.first(URL_NAMES),
        api_key=read.first(KEY_NAMES),
        queue_bytes=read.number("FLOWSPAN_BRIDGE_QUEUE_BYTES", int, default.queue_bytes),
        parcel_bytes=read.number("FLOWSPAN_BRIDGE_PARCEL_BYTES", int, default.parcel_bytes),
        spool=_spool_file(environ),
        spool_bytes=read.number("FLOWSPAN_BRIDGE_SPOOL_BYTES", int, default.spool_bytes),
        gather_s=read.number("FLOWSPAN_BRIDGE_GATHER_S", float, default.gather_s),
        heartbeat_s=read.number("FLOWSPAN_BRIDGE_HEARTBEAT_S", float, default.heartbeat_s),
        timeout_s=read.number("FLOWSPAN_BRIDGE_TIMEOUT_S", float, default.timeout_s),
        exit_s=read.number("FLOWSPAN_BRIDGE_EXIT_S", float, default.exit_s),
        also=tuple(environ.get("FLOWSPAN_BRIDGE_ALSO", "").split(",")),
    )
    return normalized(stated)


def normalized(stated: BridgeSettings) -> BridgeSettings:
    """Return settings as they can be used, whoever stated them: in code too a file or addresses may be given as text, and a key may be None."""
    also: Any = stated.also
    return replace(
        stated,
        url=_usable_url((stated.url or "").strip()),
        api_key=(stated.api_key or "").strip(),
        spool=_spool_file({SPOOL_NAME: str(stated.spool)}) if stated.spool is not None else None,
        also=tuple(url.strip().rstrip("/") for url in (also.split(",") if isinstance(also, str) else also) if url.strip()),
    )


@dataclass(frozen=True)
class _Reader:
    environ: Mapping[str, str]

    def first(self, names: tuple[str, ...]) -> str:
        return next((self.environ[name].strip() for name in names if self.environ.get(name, "").strip()), "")

    def number(self, name: str, convert: Callable[[str], float], default: float) -> int:
        """Return a positive number. Its type is that of `convert`; int is what mypy can be told of both."""
        stated = self.environ.get(name, "").strip()
        if stated:
            try:
                number = convert(stated)
                if 0 < number < float("inf"):
                    return number  # type: ignore[return-value]  # a float where `convert` makes floats
            except ValueError:
                pass
            logger.warning("%s is not a positive number; %s stands", name, default)
        return default  # type: ignore[return-value]  # the same


def _usable_url(stated: str) -> str:
    if not stated:
        return ""
    if not _is_address(stated):
        logger.warning("the Flowspan address must begin with http:// or https:// and name a host; nothing is sent")
        return ""
    return stated.rstrip("/")


def _is_address(stated: str) -> bool:
    try:
        parts = urlsplit(stated)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is no number
        return False


def _spool_file(environ: Mapping[str, str]) -> Path | None:
    """Return the stated file, or one in the user's own cache folder; without a home, in one of this user's in the temporary folder."""
    stated = environ.get(SPOOL_NAME, "").strip()
    if stated.lower() in NO_SPOOL:
        return None
    if stated:
        try:
            return Path(stated).expanduser()
        except RuntimeError:  # ~ of a user who is none
            logger.warning("%s names no home; its default stands", SPOOL_NAME)
    cache = environ.get("XDG_CACHE_HOME") or environ.get("LOCALAPPDATA")
    try:
        folder = Path(cache) if cache else Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        import tempfile  # 6 ms; nearly everybody has a home

        folder = Path(tempfile.gettempdir()) / f"flowspan-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    return folder / "flowspan" / "spool.db"

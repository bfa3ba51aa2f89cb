"""What every ingest door does with a request before it knows its format: encodings, limits, time, room. Raises errors, knows no status code."""

from __future__ import annotations

import asyncio
import contextlib
import zlib

from starlette.requests import ClientDisconnect, Request

from collector.access import header
from collector.batcher import Reservation
from collector.errors import Rejected, TooLarge, TooSlow

GZIP_WINDOW = 31  # zlib's word for "a gzip stream"

# Inflated on the event loop up to here (about 2 ms); a body that is larger or holds more goes to a thread.
INLINE_BYTES = 256 * 1024
INLINE_RAW_BYTES = 32 * 1024
# Each member costs about 10 us, whatever it holds: 64 MiB of empty ones would be 3 million.
MOST_MEMBERS = 10_000
CHUNK_BYTES = 256 * 1024

# How long a sender whose body is refused may go on sending before the connection is cut.
DRAIN_S = 5.0


class UnknownEncoding(Rejected):
    """This content encoding is not known here: send the body as it is, or with gzip."""


async def read_body(request: Request, reservation: Reservation, limit_bytes: int, timeout_s: float) -> bytes:
    """Return the request's body, inflated.

    Raises TooLarge past limit_bytes, before and after inflating; TooSlow past timeout_s; Rejected for gzip that is not, or is cut short;
    UnknownEncoding; Full if no room can be reserved for it.
    """
    gzipped = is_gzipped(header(request.scope, b"content-encoding"))
    try:
        async with asyncio.timeout(timeout_s):
            raw = await _receive(request, reservation, limit_bytes)
    except TimeoutError:
        raise TooSlow from None
    except ClientDisconnect:
        raise TooSlow("the sender went away before the body was whole") from None
    return await _inflate(raw, reservation, limit_bytes) if gzipped else raw


def is_gzipped(content_encoding: str) -> bool:
    """Return whether a body must be inflated. Codings are case-insensitive, and x-gzip is gzip (RFC 9110, 8.4.1). Raises UnknownEncoding."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return False
    if coding not in ("gzip", "x-gzip"):
        raise UnknownEncoding
    return True


async def _receive(request: Request, reservation: Reservation, limit_bytes: int) -> bytes:
    declared = header(request.scope, b"content-length")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise TooLarge(_too_large(limit_bytes))
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise TooLarge(_too_large(limit_bytes))
        reservation.grow(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def _inflate(raw: bytes, reservation: Reservation, limit_bytes: int) -> bytes:
    inflated = inflate(raw, min(limit_bytes, INLINE_BYTES)) if len(raw) <= INLINE_RAW_BYTES else None
    if inflated is None:
        inflated = await asyncio.to_thread(inflate, raw, limit_bytes)
    if inflated is None:
        raise TooLarge(_too_large(limit_bytes))
    reservation.grow(len(inflated))
    return inflated


def inflate(raw: bytes, limit_bytes: int) -> bytes | None:
    """Return what a gzip body holds, all members of it; None if that is more than limit_bytes. Raises Rejected if it is broken.

    The limit holds while inflating: 200 KB of gzip can be 200 MB. Several members in one body are legal (RFC 1952, 2.2), and a bare
    decompressobj stops after the first without a word.
    """
    parts: list[bytes] = []
    size, place, members = 0, 0, 1
    member = zlib.decompressobj(GZIP_WINDOW)
    while place < len(raw) or not member.eof:
        if member.eof:
            members += 1
            member = _next_member(members)
        piece = raw[place : place + CHUNK_BYTES]
        part = _inflate_piece(member, piece)
        taken = len(piece) - len(member.unconsumed_tail) - len(member.unused_data)
        if not taken and not part and not member.eof:
            raise Rejected("the gzip body is cut short")
        place += taken
        size += len(part)
        if size > limit_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


def _next_member(number: int) -> zlib._Decompress:
    if number > MOST_MEMBERS:
        raise Rejected(f"the gzip body has more than {MOST_MEMBERS} members")
    return zlib.decompressobj(GZIP_WINDOW)


def _inflate_piece(member: zlib._Decompress, piece: bytes) -> bytes:
    try:
        return member.decompress(piece, CHUNK_BYTES)
    except zlib.error as error:
        raise Rejected(f"the body is not gzip: {error}") from error


async def drain(request: Request, limit_bytes: int) -> None:
    """Read on and throw away, for a while: a sender that is cut off before it reads our answer takes it for a network error and resends."""
    read = 0
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAIN_S):
            async for chunk in request.stream():
                read += len(chunk)
                if read > limit_bytes:
                    return


def _too_large(limit_bytes: int) -> str:
    return f"the body is larger than {limit_bytes} bytes: send it in parts"

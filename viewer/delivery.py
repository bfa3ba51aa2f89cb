"""Groups of messages and how they reach a watcher: over a WebSocket, or as server-sent events. What they say is in messages.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from viewer.present import Data
from viewer.streams import KEEP_ALIVE, SEND_TIMEOUT_S, encode_event

Written = TypeVar("Written")

# Close codes of our own; 1013 is the registry's "try again later".
CLOSE_MISSING, CLOSE_BAD_QUESTION, CLOSE_LATER = 4404, 4400, 1013
# What fits beside the code into a closing frame (RFC 6455, 5.5); more cannot be sent.
LONGEST_REASON_BYTES = 123

RESYNC = json.dumps({"kind": "resync"})

# Up to so many rows and lines are written at once; more would hold up everybody's news, and are written in a thread.
FEW_ITEMS = 100

# News that are being sent out at one time; a watcher further behind makes its own copy.
KEPT_GROUPS = 64

# Messages of more characters go in several frames: a client library's own limit is often a MiB, and SEND_TIMEOUT_S is for a frame.
LONGEST_FRAME = 256 * 1024


@dataclass(frozen=True, slots=True)
class Group:
    """Messages that bring a watcher to a cursor, as JSON text; the last of them says so. Empty: a sign of life.

    state: `Scribe.state` of the run, as they tell it.
    """

    cursor: str = ""
    texts: Sequence[str] = ()
    state: str = ""


def close_reason(error: Exception) -> str:
    """Return what a socket is closed with, as far as it fits."""
    return str(error).encode(errors="replace")[:LONGEST_REASON_BYTES].decode(errors="ignore")


class WrittenOnce(Generic[Written]):
    """Keeps what was written of the last news, so that it is written once for all who watch."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._kept: OrderedDict[tuple[int, bool], tuple[object, asyncio.Future[Written]]] = OrderedDict()

    async def get(self, news: object, writing: Coroutine[Any, Any, Written], *, with_html: bool) -> Written:
        """Return what was written of these very news, or else run `writing`. The news are kept beside it, so that their id() stays theirs."""
        key = (id(news), with_html)
        if key in self._kept:
            writing.close()
        else:
            self._kept[key] = (news, asyncio.ensure_future(writing))
        written = self._kept[key][1]
        if len(self._kept) > KEPT_GROUPS:
            self._kept.popitem(last=False)
        return await asyncio.shield(written)  # who goes away takes it from nobody else


def encode_message(kind: str, data: Data, version: int | None = None, html: str | None = None, row_id: str | None = None) -> str:
    """Return a message as JSON text. version: of the row it is about, if it has one. row_id: which row of the page, where no html says so."""
    optional = {"version": version, "html": html, "row": row_id}
    told = {name: value for name, value in optional.items() if value is not None}
    return json.dumps({"kind": kind, "data": data, **told}, ensure_ascii=False)


async def send_groups(socket: WebSocket, groups: AsyncGenerator[Group, None]) -> None:
    """Send groups as they come; when they end, the client must come again.

    A frame is a message; with ?batch=1 it is a JSON array of those of a group, or of a long one's next: a frame costs 30 us, whatever is in it.
    """
    are_together = socket.query_params.get("batch") == "1"
    async with contextlib.aclosing(groups):
        async for group in groups:
            for frame in _join(group.texts) if are_together else group.texts:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await socket.send_text(frame)
    await socket.close(CLOSE_LATER)


def _join(texts: Sequence[str]) -> Iterator[str]:
    frame: list[str] = []
    length = 0
    for text in texts:
        if frame and length + len(text) > LONGEST_FRAME:
            yield f"[{','.join(frame)}]"
            frame, length = [], 0
        frame.append(text)
        length += len(text)
    if frame:
        yield f"[{','.join(frame)}]"


async def encode_groups(groups: AsyncGenerator[Group, None]) -> AsyncGenerator[str, None]:
    """Yield groups as server-sent events. The last of a group carries its cursor as its id: cut off before it, a client asks for all again."""
    async with contextlib.aclosing(groups):
        async for group in groups:
            for text in group.texts[:-1]:
                yield encode_event(text)
            yield encode_event(group.texts[-1], event_id=group.cursor) if group.texts else KEEP_ALIVE


async def closed(socket: WebSocket) -> None:
    """Return when the client is gone. What it says is not listened to."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            if (await socket.receive())["type"] == "websocket.disconnect":
                return

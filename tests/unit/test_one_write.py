"""What goes out of a connection in one turn of the event loop goes out in one write, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from collector.one_write import HELD_BYTES, Gathering


@dataclass
class Line:
    """A transport that keeps what goes out of it."""

    said: list[bytes] = field(default_factory=list)
    closed: bool = False

    def write(self, data: bytes) -> None:
        """See asyncio.WriteTransport."""
        self.said.append(data)

    def close(self) -> None:
        """See asyncio.BaseTransport."""
        self.closed = True

    def is_closing(self) -> bool:
        """See asyncio.BaseTransport."""
        return self.closed

    def get_write_buffer_size(self) -> int:
        """See asyncio.WriteTransport."""
        return 7


def after_a_turn(act: Callable[[Gathering], object]) -> Line:
    """Return the line after act and one turn of the loop."""
    line = Line()

    async def turn() -> None:
        act(Gathering(cast(asyncio.Transport, line), asyncio.get_running_loop()))
        await asyncio.sleep(0)

    asyncio.run(turn())
    return line


def write(transport: Gathering, *parts: bytes) -> None:
    for part in parts:
        transport.write(part)


def test_what_is_written_in_one_turn_goes_out_together() -> None:
    line = after_a_turn(lambda transport: write(transport, b"head ", b"body"))

    assert [b"head body"] == line.said


def test_nothing_waits_for_more_than_a_turn() -> None:
    line = Line()

    async def two_turns() -> None:
        transport = Gathering(cast(asyncio.Transport, line), asyncio.get_running_loop())
        for part in (b"first", b"second"):
            write(transport, part)
            await asyncio.sleep(0)

    asyncio.run(two_turns())

    assert [b"first", b"second"] == line.said


def test_much_is_not_held_back() -> None:
    much = bytes(HELD_BYTES)

    line = after_a_turn(lambda transport: write(transport, much, b"x", b"rest"))

    assert [much + b"x", b"rest"] == line.said


def test_what_was_written_before_a_close_goes_out_before_it() -> None:
    def say_and_close(transport: Gathering) -> None:
        transport.write(b"bye")
        transport.close()

    line = after_a_turn(say_and_close)

    assert ([b"bye"], True) == (line.said, line.closed)


def test_nothing_is_written_to_a_connection_that_was_lost_meanwhile() -> None:
    line = Line()

    async def lose() -> None:
        Gathering(cast(asyncio.Transport, line), asyncio.get_running_loop()).write(b"too late")
        line.closed = True
        await asyncio.sleep(0)

    asyncio.run(lose())

    assert not line.said


def test_everything_else_is_the_transports_own() -> None:
    sizes: list[int] = []

    after_a_turn(lambda transport: sizes.append(transport.get_write_buffer_size()))

    assert [7] == sizes

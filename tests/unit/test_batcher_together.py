"""Bodies of one kind that wait together are decoded in one call, once that is worth it, and each sender hears of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import pytest

from collector.batcher import Batcher
from collector.errors import FlowspanError, Rejected
from collector.verdict import Decoded, Joint, JointBody, Refusal, Verdict
from tests.batching import at_work, decoded
from tests.builders import RECEIVED_NS
from tests.strict_store import StrictStore


@dataclass
class NameLists:
    """A format of its own, bodies of names with spaces between: "?" is refused, "!" cannot be read, and "bug" we decode wrongly together."""

    together: list[list[bytes]] = field(default_factory=list)

    def decode_all(self, bodies: Sequence[bytes], received_ns: Sequence[int]) -> list[Decoded | FlowspanError]:
        """Decode bodies together."""
        self.together.append(list(bodies))
        if b"bug" in bodies:
            raise KeyError("a bug of ours")
        return [Rejected("no names") if body == b"!" else self.decode(body) for body in bodies]

    def decode(self, body: bytes) -> Decoded:
        """Decode one."""
        names = body.decode().split()
        if names == ["!"]:
            raise Rejected("no names")
        refused = [Refusal(place, "no name") for place, name in enumerate(names) if name == "?"]
        return Decoded(decoded(*(name for name in names if name != "?")).batch, len(names), refused)

    async def send(self, batcher: Batcher, *bodies: bytes, worth_bytes: int) -> list[Verdict | FlowspanError]:
        """Send all at once; return what became of each."""
        kind = Joint(self.decode_all, worth_bytes)
        sending = [batcher.submit("names", partial(self.decode, body), len(body), JointBody(kind, body, RECEIVED_NS)) for body in bodies]
        found = await asyncio.gather(*sending, return_exceptions=True)
        assert all(isinstance(one, Verdict | FlowspanError) for one in found), found
        return [one for one in found if isinstance(one, Verdict | FlowspanError)]


def sent_together(*bodies: bytes, worth_bytes: int) -> tuple[list[Verdict | FlowspanError], set[str], list[list[bytes]]]:
    """Return what becomes of bodies that come at once, the names stored, and what was decoded together."""
    store, lists = StrictStore(), NameLists()
    outcomes = at_work(store, lambda bench: lists.send(bench.batcher, *bodies, worth_bytes=worth_bytes))
    return outcomes, store.names(), lists.together


def test_bodies_of_one_kind_are_decoded_in_one_call_once_all_are_worth_it_together() -> None:
    bodies = [b"a", b"b c", b"d"]

    outcomes, names, together = sent_together(*bodies, worth_bytes=5)

    assert [1, 2, 1] == [one.accepted for one in outcomes if isinstance(one, Verdict)]
    assert ({"a", "b", "c", "d"}, [bodies]) == (names, together)


def test_below_what_is_worth_it_each_body_is_decoded_by_itself() -> None:
    outcomes, names, together = sent_together(b"a", b"b c", b"d", worth_bytes=6)

    assert [1, 2, 1] == [one.accepted for one in outcomes if isinstance(one, Verdict)]
    assert ({"a", "b", "c", "d"}, []) == (names, together)


def test_of_bodies_decoded_together_each_sender_hears_of_its_own() -> None:
    (sound, bad, mixed), names, _ = sent_together(b"a", b"!", b"b ? c ?", worth_bytes=0)

    assert (Verdict(1, []), {"a", "b", "c"}) == (sound, names)
    assert isinstance(bad, Rejected)
    assert Verdict(2, [Refusal(1, "no name"), Refusal(3, "no name")]) == mixed


def test_a_fault_of_ours_in_decoding_together_costs_no_sender_anything(caplog: pytest.LogCaptureFixture) -> None:
    (sound, bad, other), names, together = sent_together(b"a", b"!", b"bug", worth_bytes=0)

    assert [Verdict(1, []), Verdict(1, [])] == [sound, other]
    assert isinstance(bad, Rejected)
    assert ({"a", "bug"}, 1) == (names, len(together))
    assert ["3 bodies could not be decoded together, by a fault of ours"] == caplog.messages

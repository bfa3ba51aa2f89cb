"""The thread that maps: it goes on whatever is told, and however much."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from otel_bridge import LiveSpanProcessor
from otel_bridge.losses import Losses
from otel_bridge.mapper import Mapper
from otel_bridge.outbox import Outbox
from otel_bridge.parcels import Parcel, Parcels
from otel_bridge.settings import BridgeSettings
from otel_bridge.span_news import Begun, Pace
from otel_bridge.worth import Worth
from tests.in_process import PATIENCE_S
from tests.ports import free_ports
from tests.watching import configured

SETTINGS = BridgeSettings(url="http://127.0.0.1:9", gather_s=0.001, heartbeat_s=0.05)


def event(name: str, **said: Any) -> dict[str, Any]:
    return {"event": name, "ts": time.time_ns(), "run_id": "r1", "flow": "etl", **said}


class Mapping:
    """A mapper and what it is told; what it makes is taken away by the test."""

    def __init__(self, settings: BridgeSettings) -> None:
        self.outbox = Outbox(settings.queue_bytes)
        self.parcels = Parcels(settings.parcel_bytes, None)
        self.mapper = Mapper(settings, self.outbox, self.parcels, Losses)
        self.mapper.start()

    def tell(self, content: Any, worth: Worth = Worth.START) -> None:
        self.outbox.put(worth, 600, content)

    def take_until(self, is_enough: Callable[[list[Parcel]], bool]) -> list[Parcel]:
        """Take parcels until there are enough. Raises TimeoutError."""
        taken: list[Parcel] = []
        until_s = time.monotonic() + PATIENCE_S
        while not is_enough(taken):
            if time.monotonic() > until_s:
                raise TimeoutError(f"{len(taken)} parcels, and not what was waited for")
            parcel = self.parcels.take()
            taken += [parcel] if parcel is not None else []
        return taken


@contextmanager
def mapping_of(settings: BridgeSettings) -> Iterator[Mapping]:
    one = Mapping(settings)
    try:
        yield one
    finally:
        one.mapper.close(PATIENCE_S)
        one.mapper.join(PATIENCE_S)


@pytest.fixture
def mapping() -> Iterator[Mapping]:
    with mapping_of(SETTINGS) as one:
        yield one


@contextmanager
def talking(mapping: Mapping) -> Iterator[None]:
    """Tell lines faster than they can be mapped."""
    over = threading.Event()

    def talk() -> None:
        while not over.is_set():
            mapping.tell(event("task_log", message="a line of a talkative program", level="INFO"), Worth.LINE)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def beats_in(parcels: list[Parcel]) -> int:
    return sum(parcel.is_beat for parcel in parcels)


# R162
def test_signs_of_life_and_flushes_come_while_a_program_tells_faster_than_is_mapped(mapping: Mapping) -> None:
    mapping.tell(event("flow_started"))
    with talking(mapping):
        parcels = mapping.take_until(lambda taken: beats_in(taken) >= 3)
        is_flushed = mapping.mapper.flush(PATIENCE_S)

    assert (3, True) == (beats_in(parcels), is_flushed)


# R162
def test_what_a_busy_program_tells_waits_until_mapping_has_rested_or_somebody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_bridge.mapper.SHARE", 1e-9)  # whatever a round took, it was too much
    monkeypatch.setattr("otel_bridge.mapper.MOST_REST_S", 2 * PATIENCE_S)
    with mapping_of(replace(SETTINGS, heartbeat_s=8 * PATIENCE_S)) as mapping:
        mapping.tell(event("flow_started"))
        mapping.take_until(lambda taken: {True, False} == {parcel.is_beat for parcel in taken})
        mapping.tell(event("flow_completed"), Worth.END)
        time.sleep(10 * SETTINGS.gather_s)
        before = mapping.parcels.take()
        is_flushed = mapping.mapper.flush(PATIENCE_S)
        after = mapping.parcels.take()

    assert (None, True) == (before, is_flushed)
    assert after is not None and Worth.END == after.worth


class Odd(ReadableSpan):
    """A span that fails when it is looked at."""

    @property
    def attributes(self) -> Any:
        raise RuntimeError("not now")

    @property
    def name(self) -> str:
        raise KeyError("name")


# R172
def test_a_span_that_fails_when_it_is_told_costs_the_others_nothing(mapping: Mapping) -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("app").start_span("outer", Context())
    odd = Odd("", span.get_span_context())

    mapping.tell(Begun(odd, None, 0.0, Pace(0, 0)))
    mapping.tell(event("flow_started"))
    parcels = mapping.take_until(lambda taken: beats_in(taken) >= 2)

    assert mapping.mapper.unmappable >= 1
    assert [Worth.START] == [parcel.worth for parcel in parcels if not parcel.is_beat]


# R162
def test_a_rest_is_over_when_the_queue_is_half_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_bridge.mapper.SHARE", 1e-9)
    monkeypatch.setattr("otel_bridge.mapper.MOST_REST_S", 2 * PATIENCE_S)
    with mapping_of(replace(SETTINGS, queue_bytes=20 * 600, heartbeat_s=8 * PATIENCE_S)) as mapping:
        mapping.tell(event("flow_started"))
        mapping.take_until(lambda taken: {True, False} == {parcel.is_beat for parcel in taken})
        for number in range(12):
            mapping.tell(event("flow_log", message=f"{number}"), Worth.LINE)
        parcels = mapping.take_until(lambda taken: Worth.LINE in {parcel.worth for parcel in taken})

    assert (True, 0) == (10 < sum(parcel.records for parcel in parcels), sum(mapping.outbox.dropped().values()))


# R172
def test_a_time_that_is_none_is_the_time_of_mapping(mapping: Mapping) -> None:
    mapping.tell({**event("flow_started"), "ts": "yesterday"})
    mapping.take_until(lambda taken: Worth.START in [parcel.worth for parcel in taken if not parcel.is_beat])

    assert 0 == mapping.mapper.unmappable


# R169 R172
@pytest.mark.parametrize(
    "asked",
    [
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_SPAN_LINK_COUNT_LIMIT": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:10", "OTEL_SPAN_LINK_COUNT_LIMIT": "x"},
    ],
)
def test_what_the_sdk_cannot_do_costs_the_flowspan_server_nothing(asked: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    with mapping_of(SETTINGS) as mapping:
        mapping.tell(event("flow_started"))
        parcels = mapping.take_until(lambda taken: Worth.START in [parcel.worth for parcel in taken if not parcel.is_beat])

    assert parcels


class Other(SpanProcessor):
    """Somebody else's exporter, behind ours."""

    flushed = False

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        self.flushed = True
        return True


# R169 R172
def test_a_provider_is_flushed_and_shut_down_though_no_server_is_there() -> None:
    provider, other = TracerProvider(shutdown_on_exit=False), Other()
    with configured(url=f"http://127.0.0.1:{free_ports()[0]}", spool=None, exit_s=0.1):
        provider.add_span_processor(LiveSpanProcessor(min_age_s=0))
        provider.add_span_processor(other)
        provider.get_tracer("app").start_span("outer").end()
        began_s = time.monotonic()

        is_flushed = provider.force_flush()
        provider.shutdown()

        took_s = time.monotonic() - began_s
    assert (True, True, True) == (is_flushed, other.flushed, took_s < 5)

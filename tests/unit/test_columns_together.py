"""When trace bodies become columns: not before the libraries for it are loaded, and not for dialects that need rows."""

from __future__ import annotations

import threading

import pytest

from collector.dialects import Dialect, LogLine, SpanEnd, SpanMoment, Work, pipeline, plain
from collector.dialects.table import Table
from collector.errors import Rejected
from collector.otlp.terms import TraceTerms
from collector.otlp.together import LOADER, TogetherDecoder
from tests.columns import good
from tests.otlp_bodies import DIALECTS, RECEIVED_NS, a_span, span_request

PATIENCE_S = 60.0
BODIES = [span_request(a_span(name=name)).SerializeToString() for name in ("a", "b")] + [b"\xff"]
TIMES = [RECEIVED_NS] * 3


def _by_hand(fact: SpanEnd | SpanMoment | LogLine, /) -> Work | None:
    return None


def _decoder(*dialects: Dialect) -> TogetherDecoder:
    return TogetherDecoder(TraceTerms(dialects))


def _loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == LOADER]


def _wait_for_loader() -> None:
    for thread in _loaders():
        thread.join(PATIENCE_S)


def _ways(decoder: TogetherDecoder) -> list[tuple[int, int]]:
    """Return for each sound body how many of its spans are rows, and how many columns."""
    found = decoder.decode(BODIES, TIMES)
    assert isinstance(found[2], Rejected)
    return [(len(one.batch.spans), sum(map(len, one.batch.span_columns))) for one in good(found)]


def test_bodies_go_by_rows_until_the_libraries_are_loaded() -> None:
    decoder = _decoder(*DIALECTS)

    first = _ways(decoder)
    _wait_for_loader()

    assert [(1, 0), (1, 0)] == first
    assert [(0, 1), (0, 1)] == _ways(decoder)


def test_what_needs_rows_never_loads_them() -> None:
    _wait_for_loader()  # of a test before this one
    decoder = _decoder(pipeline.DIALECT, Dialect("by hand", 100, _by_hand))

    assert [(1, 0), (1, 0)] == _ways(decoder)
    assert [] == _loaders()


# A plugin's mistake: keys are a tuple of texts. As rows it is a call that raises, which plugins.py guards.
BROKEN = Table("broken", run_id=None, flow_name=(), task_name=(), node=())  # type: ignore[arg-type]  # that is the point


def test_what_cannot_be_loaded_is_told_and_costs_nobody_anything(caplog: pytest.LogCaptureFixture) -> None:
    decoder = _decoder(Dialect("broken", 100, plain.DIALECT.recognise, BROKEN))

    first = _ways(decoder)
    _wait_for_loader()

    assert [(1, 0), (1, 0)] == first
    assert first == _ways(decoder)
    assert ["ERROR"] == [record.levelname for record in caplog.records]

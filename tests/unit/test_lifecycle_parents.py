"""Which span a span is under, and which it links to, as flow events say it."""

from __future__ import annotations

import pytest

from otel_bridge import conventions as c
from otel_bridge.facts import SpanEnd, SpanLink
from otel_bridge.identity import run_span_id, task_span_id
from tests.builders import R1, event, only_fact

TRACEPARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


# R166
def test_a_task_run_inside_another_is_under_it() -> None:
    begun = only_fact(event("task_started", 1, task="part", node="part:1", parent_node="load:3"))
    ended = only_fact(event("task_ok", 2, task="part", node="part:1", parent_node="load:3"))

    assert task_span_id(R1, "load:3") == begun.parent_span_id == ended.parent_span_id


@pytest.mark.parametrize("parent", ["", None, 7, ["load:3"], "part:1"])
def test_a_parent_that_is_none_leaves_a_task_run_under_its_run(parent: object) -> None:
    begun = only_fact(event("task_started", 1, task="part", node="part:1", parent_node=parent))

    assert run_span_id(R1) == begun.parent_span_id


# R159 R166
def test_the_span_of_a_run_links_to_the_span_it_was_started_under() -> None:
    ended = only_fact(event("flow_completed", 9, flow="etl", traceparent=TRACEPARENT, parent_run_id="outer", parent_node="call:1"))

    assert isinstance(ended, SpanEnd)
    assert (SpanLink(b"\xab" * 16, b"\xcd" * 8, flags=1),) == ended.links
    assert ("outer", "call:1") == (ended.attributes[c.PARENT_RUN_ID], ended.attributes[c.PARENT_NODE])


@pytest.mark.parametrize("stated", ["", "00-1-2-3", TRACEPARENT.upper(), f"00-{'0' * 32}-{'cd' * 8}-01", 7, None, ["x"]])
def test_a_traceparent_in_another_form_links_to_nothing(stated: object) -> None:
    assert () == only_fact(event("flow_completed", 9, flow="etl", traceparent=stated)).links

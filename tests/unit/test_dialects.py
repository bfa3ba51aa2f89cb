"""Dialects: which run, task run and attempt a fact is, by the words on it."""

from __future__ import annotations

from typing import Any

import pluggy
import pytest

from collector import hookspecs
from collector.dialects import Dialect, interpret, pipeline, plain, plugin
from collector.dialects.table import LARGEST_NUMBER, Table
from otel_bridge.facts import KEY_CHARS, LogLine, Resource, SpanEnd, SpanMoment, Work
from otel_bridge.identity import run_key

TRACE_ID, SPAN_ID = b"t" * 16, b"s" * 8
RUN, TASK = {"cicd.pipeline.run.id": "r1"}, {"cicd.pipeline.task.name": "load"}


def _work(attributes: dict[str, Any], resource: dict[str, Any] | None = None, **fields: Any) -> Work:
    """Return what the built-in dialects see in a finished span."""
    end = SpanEnd(TRACE_ID, SPAN_ID, 2, 2, attributes=attributes, resource=Resource(resource or {}), **fields)
    interpret(end, plugin.make_dialects())
    return end.work


def test_the_plugin_gives_ours_before_plain_traces() -> None:
    manager = pluggy.PluginManager("flowspan")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)

    (found,) = manager.hook.make_dialects()

    assert [("pipeline", 0), ("plain", 1000)] == [(dialect.name, dialect.order) for dialect in found]


# R020
def test_a_span_that_names_a_run_is_the_run() -> None:
    work = _work({**RUN, "cicd.pipeline.name": "nightly"})

    expected = Work("flowspan", "r1", 0, run_key("flowspan", "r1"), "nightly", "nightly", role="run", dialect="pipeline")
    assert expected == work


def test_source_generation_and_flow_key_are_what_the_sender_says() -> None:
    work = _work({**RUN, "flowspan.source": "ci", "flowspan.generation": 2, "flowspan.flow.key": "k", "cicd.pipeline.name": "n"})

    assert ("ci", 2, run_key("ci", "r1", 2), "k", "n") == (work.source, work.generation, work.run_key, work.flow_key, work.flow_name)


# R020
def test_a_span_that_names_a_task_is_a_task_run() -> None:
    work = _work({**RUN, **TASK, "flowspan.node": "load:3", "flowspan.task.key": "etl.load"})

    assert ("task", "load:3", "load", "etl.load", None) == (work.role, work.node, work.task_name, work.task_key, work.attempt)


@pytest.mark.parametrize(
    ("attributes", "node"),
    [
        ({"flowspan.node": "a", "cicd.pipeline.task.run.id": "b", **TASK}, "a"),
        ({"cicd.pipeline.task.run.id": "b", **TASK}, "b"),
        ({"cicd.pipeline.task.run.id": 7}, "7"),
        (TASK, "load"),
    ],
)
def test_a_node_is_named_by_the_most_telling_word(attributes: dict[str, Any], node: str) -> None:
    assert node == _work({**RUN, **attributes}).node


@pytest.mark.parametrize(
    ("attributes", "role", "attempt"),
    [
        ({**TASK, "flowspan.attempt": 0}, "task", 0),
        ({**TASK, "flowspan.attempt": 2}, "attempt", 2),
        ({**TASK, "flowspan.attempt": "2"}, "attempt", 2),
        ({**TASK, "flowspan.attempt": -1}, "task", None),
        ({**TASK, "flowspan.attempt": LARGEST_NUMBER + 1}, "task", None),
        ({**TASK, "flowspan.attempt": True}, "task", None),
        ({**TASK, "flowspan.role": "attempt"}, "attempt", None),
        ({**TASK, "flowspan.role": ""}, "", None),
        ({**TASK, "flowspan.role": "run"}, "task", None),
        ({**TASK, "flowspan.role": ["run"]}, "task", None),
        ({"flowspan.role": "run"}, "run", None),
        ({"flowspan.role": "task"}, "run", None),
        ({"flowspan.role": ""}, "", None),
    ],
)
def test_roles(attributes: dict[str, Any], role: str, attempt: int | None) -> None:
    work = _work({**RUN, **attributes})

    assert (role, attempt) == (work.role, work.attempt)


def test_a_resource_may_name_the_run_but_makes_no_span_the_run() -> None:
    resource = {**RUN, "flowspan.source": "ci", "flowspan.generation": 1, "cicd.pipeline.name": "nightly"}

    part, run, task = _work({}, resource), _work({"flowspan.role": "run"}, resource), _work(TASK, resource)

    assert ["", "run", "task"] == [part.role, run.role, task.role]
    assert {run_key("ci", "r1", 1)} == {part.run_key, run.run_key, task.run_key}
    assert "nightly" == part.flow_name


def test_a_span_names_its_run_before_its_resource_does() -> None:
    assert "r1" == _work(RUN, {"cicd.pipeline.run.id": "other"}).run_id


def test_a_task_without_a_run_id_leaves_the_run_to_its_ancestors() -> None:
    work = _work(TASK)

    assert ("task", "load", b"", "", "pipeline") == (work.role, work.node, work.run_key, work.run_id, work.dialect)


def test_an_integer_is_a_run_id() -> None:
    assert ("42", run_key("flowspan", "42")) == (_work({"cicd.pipeline.run.id": 42}).run_id, _work({"cicd.pipeline.run.id": 42}).run_key)


@pytest.mark.parametrize("run_id", ["", True, 1.5, ["r1"], {"a": 1}, b"r1"])
def test_a_run_id_of_no_use_makes_a_plain_span(run_id: Any) -> None:
    assert Work(dialect="plain") == _work({"cicd.pipeline.run.id": run_id, **TASK})


def test_hostile_and_endless_words_are_harmless() -> None:
    work = _work({"cicd.pipeline.run.id": "r\x00\ud800", "cicd.pipeline.name": "n" * 10**6, "flowspan.node": "x" * 10**6})

    assert "r\ufffd\ufffd" == work.run_id
    assert (KEY_CHARS, KEY_CHARS) == (len(work.node), len(work.flow_key))


# R021
def test_a_log_record_speaks_of_its_run_and_node_and_has_no_role() -> None:
    line = LogLine(TRACE_ID, SPAN_ID, 1, "hello", attributes={**RUN, **TASK})

    interpret(line, plugin.make_dialects())

    assert ("", "load", run_key("flowspan", "r1")) == (line.work.role, line.work.node, line.work.run_key)


def test_a_retry_notice_does_not_number_its_span() -> None:
    moment = SpanMoment(TRACE_ID, SPAN_ID, "retried", 1, 1, attributes={**RUN, **TASK, "flowspan.attempt": 1})

    interpret(moment, plugin.make_dialects())

    assert ("task", None) == (moment.work.role, moment.work.attempt)


@pytest.mark.parametrize(
    ("attributes", "result"),
    [
        ({**RUN, "cicd.pipeline.result": "success", "cicd.pipeline.task.run.result": "failure"}, "success"),
        ({**RUN, **TASK, "cicd.pipeline.result": "success", "cicd.pipeline.task.run.result": "skip"}, "skip"),
        ({**RUN, "cicd.pipeline.result": "splendid"}, ""),
        ({**RUN, "cicd.pipeline.result": ["success"]}, ""),
        ({"cicd.pipeline.result": "success"}, ""),
    ],
)
def test_a_result_is_read_where_the_role_has_its_own(attributes: dict[str, Any], result: str) -> None:
    end = SpanEnd(TRACE_ID, SPAN_ID, 2, 2, attributes=attributes)

    interpret(end, plugin.make_dialects())

    assert result == end.result


# --- plain traces ----------------------------------------------------------------------------------------------------------------------


# R024
def test_a_root_names_the_flow_by_service_and_name() -> None:
    work = _work({}, {"service.name": "shop"}, name="checkout")

    assert Work(flow_key="shop:checkout", flow_name="checkout", dialect="plain") == work


@pytest.mark.parametrize(
    ("resource", "fields"),
    [
        ({"service.name": "shop"}, {"name": "child", "parent_span_id": SPAN_ID}),
        ({"service.name": "shop"}, {"name": ""}),
        ({"service.name": 5}, {"name": "root"}),
        ({}, {"name": "root"}),
    ],
)
def test_what_is_no_named_root_of_a_service_names_no_flow(resource: dict[str, Any], fields: dict[str, Any]) -> None:
    assert Work(dialect="plain") == _work({}, resource, **fields)


@pytest.mark.parametrize(("kind", "flow_key"), [("begun", "shop:root"), ("paused", "")])
def test_a_beginning_without_a_parent_names_the_flow_and_a_pause_does_not(kind: str, flow_key: str) -> None:
    moment = SpanMoment(TRACE_ID, SPAN_ID, kind, 1, 1, name="root", resource=Resource({"service.name": "shop"}))

    assert flow_key == plain.DIALECT.recognise(moment).flow_key  # type: ignore[union-attr]  # plain recognises everything


# --- a dialect of somebody else ----------------------------------------------------------------------------------------------------------


def test_another_system_is_another_table() -> None:
    table = Table(default_source="mill", run_id=("mill.run", "mill.id"), flow_name=("mill.flow",), task_name=("mill.step",), node=("mill.use",))
    end = SpanEnd(TRACE_ID, SPAN_ID, 2, 2, attributes={"mill.id": 7, "mill.step": "grind"})

    interpret(end, (pipeline.DIALECT, Dialect("mill", 100, table.recognise), plain.DIALECT))

    assert ("mill", "7", run_key("mill", "7"), "grind", "task", "mill") == (
        end.work.source,
        end.work.run_id,
        end.work.run_key,
        end.work.node,
        end.work.role,
        end.work.dialect,
    )

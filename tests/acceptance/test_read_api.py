"""The read API: seed 000's addresses and field names, lists in pages that miss nothing, keys that hold anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.builders import at
from tests.in_process import PROTOBUF, Server, eventually, running
from tests.otlp_bodies import a_span, span_request

STRANGE = ["shop.etl:nightly", "a/b/c", "größe 100 %", "日本:夜", "?x=1&y=2#z", "a+b", "tasks", "x/tasks", "x/logs", "..", "."]

RUN = [
    {
        "event": "flow_started",
        "flow": "etl",
        "flow_key": "shop:etl",
        "ts": at(0),
        "params": {"day": "2026-11-18", "big": 2**60},
        "metadata": {"env": "prod", "git_sha": "abc"},
        "tags": ["nightly"],
        "tasks": 3,
        "description": "What the night brings",
    },
    {
        "event": "task_started",
        "task": "load",
        "task_key": "shop:load",
        "node": "load:1",
        "ts": at(1),
        "priority": 5,
        "tags": ["io"],
        "run_in": "thread",
        "upstream": ["extract:1"],
    },
    {"event": "task_log", "node": "load:1", "level": "WARNING", "message": "slow", "payload": {"n": 1}, "ts": at(2)},
    {
        "event": "task_err",
        "task": "load",
        "task_key": "shop:load",
        "node": "load:1",
        "duration_ms": 9,
        "error": "ValueError('x')",
        "ts": at(10),
    },
    {"event": "task_log", "level": "INFO", "message": "giving up", "ts": at(11)},
    {"event": "flow_completed", "flow": "etl", "flow_key": "shop:etl", "tasks": 3, "ts": at(12)},
]


def send_run(server: Server, run_id: str, **fields: Any) -> None:
    server.send(*({"run_id": run_id, **event, **fields} for event in RUN))


@pytest.fixture(scope="module")
def filled() -> Iterator[Server]:
    """Return a server with the run above, and one run of each strange name in a flow of that name."""
    with running() as one:
        send_run(one, "r1")
        for name in STRANGE:
            one.send({"event": "flow_started", "run_id": name, "flow": name, "ts": at(0)})
        eventually(lambda: len(one.json("/api/v1/flows")["items"]) == 1 + len(STRANGE))
        yield one


def read(server: Server, path: str) -> Any:
    answer = server.get_as_written(path)
    assert 200 == answer.status_code, (path, answer.text)
    return answer.json()


# R060 R119
def test_a_run_has_seed_000s_fields(filled: Server) -> None:
    run = filled.json("/api/v1/runs/r1")

    assert {"run_id": "r1", "flow_name": "etl", "flow_key": "shop:etl", "status": "FAILED"}.items() <= run.items()
    assert ({"day": "2026-11-18", "big": str(2**60)}, {"env": "prod", "git_sha": "abc"}) == (run["params"], run["metadata"])
    assert ("2026-11-18T11:06:40.000000Z", "2026-11-18T11:06:40.012000Z", 12.0) == (run["started_at"], run["finished_at"], run["duration_ms"])
    assert (3, 3, 1, {"FAILED": 1}, ["nightly"]) == tuple(
        run[key] for key in ("tasks_total", "tasks_declared", "tasks_reported", "counts", "tags")
    )
    assert run["flow_id"] == filled.json("/api/v1/flows/shop%3Aetl")["id"]


# R061 R120
def test_a_task_run_has_seed_000s_fields(filled: Server) -> None:
    (task,) = filled.json("/api/v1/runs/r1/tasks")["items"]

    assert {"id": "load:1", "run_id": "r1", "task_name": "load", "task_key": "shop:load", "status": "FAILED"}.items() <= task.items()
    assert {"priority": 5, "tags": ["io"], "run_in": "thread", "upstream": ["extract:1"], "attempt": 1}.items() <= task.items()
    assert ("ValueError('x')", 9.0) == (task["error"], task["duration_ms"])
    assert ("2026-11-18T11:06:40.001000Z", "2026-11-18T11:06:40.010000Z") == (task["started_at"], task["finished_at"])
    assert task["task_id"]


# R003 R062 R123
def test_a_log_line_has_seed_000s_fields(filled: Server) -> None:
    lines = {line["message"]: line for line in filled.json("/api/v1/runs/r1/logs")["items"]}

    slow, giving_up = lines["slow"], lines["giving up"]
    assert {"run_id": "r1", "task_node": "load:1", "level": "WARNING", "event": "task_log"}.items() <= slow.items()
    assert ("2026-11-18T11:06:40.002000Z", None) == (slow["ts"], giving_up["task_node"])
    assert {"n": 1} == slow["payload"]


# R103 R123
@pytest.mark.parametrize(
    ("query", "messages"),
    [("level=warning", {"slow"}), ("task=load%3A1", {"slow"}), ("task=", {"giving up"}), ("level=info&task=none", set())],
)
def test_log_lines_are_filtered_by_level_and_task(filled: Server, query: str, messages: set[str]) -> None:
    lines = filled.json(f"/api/v1/runs/r1/logs?{query}")["items"]

    assert messages == {line["message"] for line in lines if line["event"] != "exception"}


# R058 R121 R122
def test_a_flow_is_in_the_catalogue_with_its_latest_runs(filled: Server) -> None:
    flow = filled.json("/api/v1/flows/shop%3Aetl")
    listed = next(one for one in filled.json("/api/v1/flows")["items"] if one["flow_key"] == "shop:etl")

    assert {"flow_key": "shop:etl", "name": "etl", "description": "What the night brings", "tags": ["nightly"]}.items() <= flow.items()
    assert (1, {"FAILED": 1}, ["r1"]) == (flow["runs_total"], flow["run_counts"], [run["run_id"] for run in flow["latest_runs"]])
    assert "r1" == flow["latest_run"]["run_id"]
    assert flow["created_at"] and flow["updated_at"]
    assert {key: value for key, value in flow.items() if key != "latest_runs"} == listed


# R119 R120 R123
@pytest.mark.parametrize("run_id", STRANGE)
def test_a_run_id_in_an_address_may_hold_anything(filled: Server, run_id: str) -> None:
    address = f"/api/v1/runs/{quote(run_id, safe='')}"

    run, tasks, lines = read(filled, address), read(filled, f"{address}/tasks"), read(filled, f"{address}/logs")

    assert (run_id, run_id) == (run["run_id"], run["flow_key"])
    assert ([], []) == (tasks["items"], lines["items"])
    assert 200 == filled.get_as_written(f"/runs/{quote(run_id, safe='')}").status_code


# R122
@pytest.mark.parametrize("flow_key", STRANGE)
def test_a_flow_key_in_an_address_may_hold_anything(filled: Server, flow_key: str) -> None:
    flow = read(filled, f"/api/v1/flows/{quote(flow_key, safe='')}")

    assert (flow_key, [flow_key]) == (flow["flow_key"], [run["run_id"] for run in flow["latest_runs"]])


# R119 R120 R122 R123
@pytest.mark.parametrize(
    "path", ["runs/none", "runs/none/tasks", "runs/none/logs", "flows/none", "traces/" + "ab" * 16, "runs/r1?source=other"]
)
def test_what_is_not_there_is_404(filled: Server, path: str) -> None:
    answer = filled.get(f"/api/v1/{path}")

    assert 404 == answer.status_code
    assert answer.json()["detail"]


# R123
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("runs?cursor=x", 400),
        ("flows?cursor=x", 400),
        ("runs/r1/logs?cursor=x", 400),
        ("traces/xyz", 400),
        ("runs?limit=0", 422),
        ("runs?limit=1001", 422),
        ("runs?kind=odd", 422),
        ("runs/r1?generation=-1", 422),
    ],
)
def test_a_question_that_cannot_be_is_4xx(filled: Server, path: str, status: int) -> None:
    assert status == filled.get(f"/api/v1/{path}").status_code


def test_twins_of_a_run_id_are_told_apart_and_the_newest_is_the_default(server: Server) -> None:
    server.send({"event": "flow_started", "run_id": "r", "flow": "old", "ts": at(0)})
    server.send({"event": "flow_started", "run_id": "r", "flow": "other", "source": "airflow", "ts": at(1)})
    server.send({"event": "flow_started", "run_id": "r", "flow": "again", "generation": 1, "ts": at(2)})

    names = [
        server.json(f"/api/v1/runs/r{query}")["flow_name"]
        for query in ("?source=flowspan&generation=0", "?source=airflow", "?generation=1", "")
    ]

    assert ["old", "other", "again", "again"] == names


# R100 R123
def test_pages_of_runs_are_newest_first_and_miss_nothing_while_runs_come_in(server: Server) -> None:
    server.send(*({"event": "flow_started", "run_id": f"r{number:02}", "flow": "f", "ts": at(number)} for number in range(25)))
    eventually(lambda: len(server.json("/api/v1/runs?limit=100")["items"]) == 25)
    page = server.json("/api/v1/runs?limit=10")
    seen = [run["run_id"] for run in page["items"]]

    server.send({"event": "flow_started", "run_id": "late", "flow": "f", "ts": at(1000)})
    eventually(lambda: newest(server) == "late")
    while page["next_cursor"] is not None:
        page = server.json(f"/api/v1/runs?limit=10&cursor={quote(page['next_cursor'])}")
        seen += [run["run_id"] for run in page["items"]]

    assert [f"r{number:02}" for number in reversed(range(25))] == seen


def newest(server: Server) -> Any:
    return server.json("/api/v1/runs?limit=1")["items"][0]["run_id"]


# R121
def test_pages_of_flows_miss_nothing(filled: Server) -> None:
    seen: list[str] = []
    page = filled.json("/api/v1/flows?limit=5")
    seen += [flow["flow_key"] for flow in page["items"]]

    while page["next_cursor"] is not None:
        page = filled.json(f"/api/v1/flows?limit=5&cursor={quote(page['next_cursor'])}")
        seen += [flow["flow_key"] for flow in page["items"]]

    assert sorted(["shop:etl", *STRANGE]) == sorted(seen)
    assert len(seen) == len(set(seen))


# R103 R123
def test_pages_of_a_log_are_in_order_of_time_and_miss_nothing(server: Server) -> None:
    server.send(*({"event": "task_log", "run_id": "r", "message": f"m{number}", "ts": at(number // 3)} for number in range(40)))
    seen: list[Any] = []
    path: str | None = "/api/v1/runs/r/logs?limit=7"

    while path is not None:
        page = server.json(path)
        seen += page["items"]
        path = f"/api/v1/runs/r/logs?limit=7&cursor={quote(page['next_cursor'])}" if page["next_cursor"] else None

    assert 40 == len({line["id"] for line in seen}) == len(seen)
    assert sorted(line["ts"] for line in seen) == [line["ts"] for line in seen]
    assert {f"m{number}" for number in range(40)} == {line["message"] for line in seen}


# R123
def test_runs_are_listed_by_kind_and_flow(server: Server) -> None:
    server.send({"event": "flow_started", "run_id": "named", "flow": "f"})
    server.post("/v1/traces", span_request(a_span(), service__name="shop").SerializeToString(), PROTOBUF)
    eventually(lambda: len(server.json("/api/v1/runs")["items"]) == 2)

    def listed(query: str) -> list[str]:
        return [run["kind"] for run in server.json(f"/api/v1/runs?{query}")["items"]]

    assert (["run"], ["trace"]) == (listed("kind=run"), listed("kind=trace"))
    assert (["run"], []) == (listed("flow=f"), listed("flow=none"))


# R064
def test_a_trace_goes_out_as_it_came(server: Server) -> None:
    span = a_span(trace_state="v=1", flags=0xFFFFFFFF)
    server.post("/v1/traces", span_request(span, service__name="shop").SerializeToString(), PROTOBUF)

    (envelope,) = server.json(f"/api/v1/traces/{span.trace_id.hex()}")["resourceSpans"]

    (out,) = envelope["scopeSpans"][0]["spans"]
    assert {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex(), "traceState": "v=1", "flags": 0xFFFFFFFF}.items() <= out.items()
    assert {"key": "service.name", "value": {"stringValue": "shop"}} in envelope["resource"]["attributes"]


# R098
def test_the_first_address_leads_to_the_flows(server: Server) -> None:
    answer = server.get("/")

    assert (True, "/flows") == (answer.is_redirect, answer.headers["location"])


# R015 R123
@pytest.mark.parametrize("cursor", ["WyJcdWQ4MDAiXQ", "W1tbW1tbW1tb" * 500, "bnVsbA", "x" * 20_000])
def test_a_hostile_cursor_is_400(server: Server, cursor: str) -> None:
    assert [400, 400] == [server.get(f"/api/v1/{what}?cursor={cursor}").status_code for what in ("flows", "runs")]

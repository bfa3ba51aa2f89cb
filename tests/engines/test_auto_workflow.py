"""The real auto-workflow, watched without a call in the flow's code: the right states, tasks, attempts and lines."""

from __future__ import annotations

from tests.engines.programs import Programs, runs_of, states_of, tasks_of
from tests.servers import Server


# R160 R163
def test_a_linear_flow_is_seen_whole(server: Server, programs: Programs) -> None:
    programs.run(
        """
        from auto_workflow import flow, task

        @task
        def extract(): return [1, 2]

        @task
        def load(rows): return len(rows)

        @flow
        def linear(): return load(extract())

        assert linear.run() == 2
        """
    )

    (run,) = runs_of(server, "linear")
    assert ("SUCCEEDED", {"extract:1": "SUCCEEDED", "load:1": "SUCCEEDED"}) == (run["status"], states_of(server, run))
    assert ["extract:1"] == tasks_of(server, run)["load:1"]["upstream"]

"""The real Ray: remote functions that are called in a run are its task runs, in whichever process they are executed."""

from __future__ import annotations

from tests.engines.programs import Programs, lines_of, runs_of, tasks_of
from tests.servers import Server


# R164 R166
def test_remote_functions_are_task_runs_of_the_run_they_are_called_in(server: Server, programs: Programs) -> None:
    programs.run(
        """
        import logging
        import ray
        from otel_bridge import flow

        @ray.remote
        def load(rows, *, scale=1):
            logging.getLogger("jobs").warning("loading %s", rows)
            return rows * scale

        @ray.remote
        def outer(rows): return ray.get(load.remote(rows))

        @ray.remote(max_retries=0)
        def broken(rows): raise ValueError("no such table")

        @flow
        def nightly():
            rows = load.remote(3)
            assert 6 == ray.get(outer.remote(load.remote(rows, scale=2)))
            try:
                ray.get(broken.remote(1))
            except ValueError:
                pass

        ray.init(num_cpus=1, include_dashboard=False)
        assert 1 == ray.get(load.remote(1))
        nightly()
        """,
        RAY_AUTH_MODE="disabled",
        RAY_USAGE_STATS_ENABLED="0",
    )

    (run,) = runs_of(server, "nightly")
    tasks = tasks_of(server, run)
    states = sorted((task["task_name"], task["status"], task["error"]) for task in tasks.values())
    done = ("load", "SUCCEEDED", None)
    assert [("broken", "FAILED", "ValueError('no such table')"), done, done, done, ("outer", "SUCCEEDED", None)] == states
    assert ["load", "outer"] == sorted(task["task_name"] for task in tasks.values() if task["upstream"])
    assert ["loading 3", "loading 3", "loading 6"] == sorted(
        message for node, level, message in lines_of(server, run) if level == "WARNING" and node
    )

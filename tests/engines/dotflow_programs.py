"""What programs of dotflow begin with, and waiting for a state of one of their tasks."""

from __future__ import annotations

from typing import Any

from tests.servers import Server

STEPS = """
import logging, os, sys, threading, time
from pathlib import Path
from dotflow import Config, DotFlow, action

log = logging.getLogger("mine")
logging.basicConfig(level=logging.INFO)

@action
def extract(initial_context):
    log.info("from %s", initial_context.storage)
    return [1, 2]

@action
def boom(): raise ValueError("bad \\u2603")

@action
def never(): return 1

def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.01)
"""


def seen(server: Server, flow: str, state: str, node: str) -> dict[str, Any]:
    """Return a task run of the newest run of a flow once it is in this state."""
    path = "/api/v1/runs?limit=200"
    found = server.wait_for(path, lambda answer: any(run["flow_name"] == flow for run in answer["items"]))
    run_id = next(run["run_id"] for run in found["items"] if run["flow_name"] == flow)
    answer = server.wait_for(f"/api/v1/runs/{run_id}/tasks", lambda answer: _in_state(answer["items"], node, state))
    return next(task for task in answer["items"] if task["id"] == node)


def _in_state(tasks: list[dict[str, Any]], node: str, state: str) -> bool:
    return any((node, state) == (task["id"], task["status"]) for task in tasks)

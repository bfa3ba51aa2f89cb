"""Addresses of runs, and what an address means. A run id may hold anything; in an address it is URL-encoded whole, "/" as %2F."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute, Route, WebSocketRoute

from collector.answers import RunView
from collector.errors import FlowspanError
from collector.picture import KIND_RUN, KIND_TRACE, Run
from collector.questions import RunRef, ViewQuery
from collector.storage import Reader
from otel_bridge.facts import KEY_CHARS, harmless, short_key

LATEST_GENERATION = 2**31 - 1

# What ?kind= of a list means to RunQuery.
KINDS = {"run": KIND_RUN, "trace": KIND_TRACE, "all": None}


class Missing(FlowspanError):
    """There is no such run, flow or trace here."""


class BadQuestion(FlowspanError):
    """This address asks for something that cannot be."""


def run_address(prefix: str, run: Run, suffix: str = "") -> str:
    """Return the address of exactly this run under prefix: its source and generation tell it from its twins."""
    twin = urlencode({"source": run.source, "generation": run.generation})
    return f"{prefix}/{quote(run.run_id, safe='')}{suffix}?{twin}"


def flow_address(flow_key: str) -> str:
    """Return the address of the runs of a flow."""
    return "/runs?" + urlencode({"kind": "all", "flow": flow_key})


def read_ref(run_id: str, query: QueryParams) -> RunRef:
    """Return which run an address means. Raises BadQuestion for a generation that is none."""
    generation = query.get("generation")
    return make_ref(run_id, query.get("source"), None if generation is None else read_generation(generation))


def make_ref(run_id: str, source: str | None, generation: int | None) -> RunRef:
    """Return a reference in text a database takes."""
    return RunRef(harmless(run_id), None if source is None else harmless(source), generation)


def node_key(text: str) -> str:
    """Return the node an address or a form means by this text: one too long to be a key is stored by a shorter one."""
    return short_key(harmless(text))


def match_line_breaks(routes: Sequence[BaseRoute]) -> Sequence[BaseRoute]:
    """Let the ids in these routes' addresses hold line breaks, which Starlette's {id:path} does not match."""
    for route in routes:
        if isinstance(route, (Route, WebSocketRoute)):
            route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)
    return routes


def read_generation(text: str) -> int:
    """Return a generation from an address. Raises BadQuestion."""
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= LATEST_GENERATION:
        return int(text)
    raise BadQuestion("generation must be a whole number from 0 on")


async def find_run(reader: Reader, ref: RunRef) -> bytes:
    """Return the key of the run an address means. Raises Missing. An id too long to be a key is found by the whole of it too."""
    key = await reader.find_run(ref)
    if key is None and len(ref.run_id) > KEY_CHARS:
        key = await reader.find_run(ref._replace(run_id=short_key(ref.run_id)))
    if key is None:
        raise Missing("There is no such run here.")
    return key


async def view_run(reader: Reader, ref: RunRef, query: ViewQuery) -> RunView:
    """Return the run an address means, folded. Raises Missing."""
    view = await reader.view_run(await find_run(reader, ref), query)
    if view is None:
        raise Missing("There is no such run here.")
    return view

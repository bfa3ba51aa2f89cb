"""The toy's door: a wire format of its own, `RUN STEP begun|done|failed` a line, and an address that says hello."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from collector.access import Outcome, note_outcome
from collector.doors import Collector
from collector.errors import Rejected, Unavailable
from collector.intake import read_body
from collector.rows import RowMaker
from collector.verdict import Decoded, Refusal
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_STAMPED, SpanEnd, SpanMoment, Work, harmless, short_key
from otel_bridge.identity import run_key, run_span_id, task_span_id

BEGUN: Final = "begun"
RESULTS: Final = {"done": c.RESULT_SUCCESS, "failed": c.RESULT_FAILURE}


@dataclass(frozen=True, slots=True)
class ToyDoor:
    """Takes steps in, and says hello."""

    collector: Collector

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes. Whoever comes here has shown a key, if one is asked for."""
        return [Route("/toy/hello", self.hello), Route("/toy/steps", self.receive, methods=["POST"])]

    async def hello(self, request: Request) -> Response:
        """Say hello, and whether there is anything to see."""
        return PlainTextResponse("hello, there are runs" if await self.collector.reader.has_runs() else "hello, there is no run yet")

    async def receive(self, request: Request) -> Response:
        """Take one request's steps; answer after the commit."""
        try:
            accepted = await self._store(request)
        except Rejected as error:
            return PlainTextResponse(str(error), 400)
        except Unavailable as error:
            return PlainTextResponse(str(error), 503, {"Retry-After": str(self.collector.settings.retry_after_s)})
        return PlainTextResponse(f"{accepted} stored")

    async def _store(self, request: Request) -> int:
        settings, batcher = self.collector.settings, self.collector.batcher
        received_ns = time.time_ns()
        with batcher.reserve() as reservation:
            body = await read_body(request, reservation, settings.max_body_bytes, settings.body_timeout_s)
            verdict = await batcher.submit("toy", lambda: decode_steps(body, received_ns), len(body))
        note_outcome(request.scope, Outcome(verdict.accepted, verdict.refused[0].reason if verdict.refused else ""))
        return verdict.accepted


def decode_steps(body: bytes, received_ns: int) -> Decoded:
    """Turn a body into rows. A line that is no step is refused by its place and costs the others nothing. Raises Rejected for no UTF-8."""
    try:
        lines = body.decode().splitlines()
    except UnicodeDecodeError as error:
        raise Rejected(f"the body is not UTF-8: {error.reason}") from error
    maker = RowMaker(received_ns)
    decoded = Decoded(maker.batch, received=len(lines))
    for place, line in enumerate(lines):
        words = harmless(line).split()
        if len(words) != 3 or words[2] not in (BEGUN, *RESULTS):
            decoded.refused.append(Refusal(place, "a line must be: RUN STEP begun|done|failed"))
            continue
        maker.add_all(_facts_of(words[0], words[1], words[2], received_ns))
    return decoded


def _facts_of(run_id: str, step: str, word: str, received_ns: int) -> Iterator[SpanMoment | SpanEnd]:
    """A step makes its run exist. Ids are computed, so that a repeat and every other door meet in the same rows."""
    run = Work("toy", short_key(run_id), 0, run_key("toy", short_key(run_id)), flow_key="toy", flow_name="toy", role=c.ROLE_RUN)
    run_span = run_span_id(run.run_key)
    yield SpanMoment(run.run_key, run_span, c.BEGUN, received_ns, RANK_STAMPED, run, run.flow_name)
    node = short_key(step)
    work = Work("toy", run.run_id, 0, run.run_key, task_key=node, task_name=step, node=node, attempt=0, role=c.ROLE_TASK)
    span_id = task_span_id(run.run_key, node)
    if word == BEGUN:
        yield SpanMoment(run.run_key, span_id, c.BEGUN, received_ns, RANK_STAMPED, work, step, run_span)
    else:
        yield SpanEnd(run.run_key, span_id, received_ns, RANK_STAMPED, work, RESULTS[word], parent_span_id=run_span, name=step)

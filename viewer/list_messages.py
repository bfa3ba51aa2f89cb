"""What live lists say: runs and flows as the API tells them and as rows of the pages, in groups that end with their cursor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from collector.answers import FlowSummary, RunSummary
from collector.list_tail import ListNews
from collector.picture import KIND_RUN, Run
from collector.questions import RunRef
from viewer.delivery import FEW_ITEMS, Group, WrittenOnce, encode_message
from viewer.display import RunLine, flow_line, flow_row_id, run_line, run_row_id
from viewer.extend import TemplateViewer
from viewer.present import Data, flow_data, hint_of, run_data, seen_state

RUN, FLOW, GONE, CURSOR = "run", "flow", "gone", "cursor"


@dataclass(frozen=True, slots=True)
class ListWish:
    """What a watcher of a list asked for. kind, flow_key: as in RunQuery. limit: the list is this long. cursor: what it has already."""

    kind: str | None = None
    flow_key: str | None = None
    limit: int = 50
    cursor: str | None = None
    with_html: bool = False
    with_flows: bool = False

    def takes(self, run: Run) -> bool:
        """Return whether a run is in this list."""
        return self.kind in (None, run.kind) and self.flow_key in (None, run.flow_key)


@dataclass(frozen=True, slots=True)
class WrittenRun:
    """A run's message; and the one for a list it is in no more. seen: its state and hint, as the message tells them."""

    run: Run
    seen: str
    text: str
    left: str = ""
    left_flow: str = ""


@dataclass(frozen=True, slots=True)
class WrittenNews:
    """The messages of some news. Everybody is sent those of the own list."""

    runs: Sequence[WrittenRun]
    gone: Sequence[str]
    flows: Sequence[str]

    def choose(self, wish: ListWish) -> list[str]:
        """Return the messages for one watcher. Of a list that shows the newest, only the newest that changed can be part."""
        texts = [one.text for one in self.runs if wish.takes(one.run)][: wish.limit]
        if wish.flow_key is not None:
            texts += [one.left for one in self.runs if one.left_flow == wish.flow_key]
        if wish.kind != KIND_RUN:  # only the traces of named runs are ever gone
            texts += self.gone
        if wish.with_flows:
            texts += self.flows
        return texts


def close_group(texts: Sequence[str], cursor: str) -> Group:
    """Return a group that brings a watcher to a cursor."""
    return Group(cursor, [*texts, encode_message(CURSOR, {"cursor": cursor})])


@dataclass(slots=True)
class Told:
    """What one watcher knows of state and hint of the runs in its list, as far as it was told."""

    _seen: dict[bytes, str] = field(default_factory=dict)

    def heard(self, runs: Sequence[WrittenRun]) -> None:
        """Note that these messages were sent."""
        self._seen.update((one.run.run_key, one.seen) for one in runs)

    def compare(self, newest: Sequence[tuple[RunSummary, str]]) -> list[RunSummary]:
        """Return the runs the watcher must be told of again: those whose hint came or went. From then on it knows these, and no others."""
        changed = [summary for summary, seen in newest if self._seen.get(summary.run.run_key, summary.run.status) != seen]
        self._seen = {summary.run.run_key: seen for summary, seen in newest}
        return changed


@dataclass(slots=True)
class ListScribe:
    """Writes messages. The same news are written once for all who watch."""

    viewer: TemplateViewer
    stale_after_s: float
    _kept: WrittenOnce[WrittenNews] = field(default_factory=WrittenOnce)

    async def write_news(self, news: ListNews, *, with_html: bool) -> WrittenNews:
        """Return what changed."""
        return await self._kept.get(news, self.write_apart(news, with_html=with_html), with_html=with_html)

    async def write_apart(self, news: ListNews, *, with_html: bool) -> WrittenNews:
        """Write news for one watcher alone, in a thread if it is much."""
        if len(news.runs) + len(news.flows) <= FEW_ITEMS:
            return self._write(news, with_html=with_html)
        return await asyncio.to_thread(self._write, news, with_html=with_html)

    def _write(self, news: ListNews, *, with_html: bool) -> WrittenNews:
        return WrittenNews(
            runs=[self.write_run(one, news.moved.get(one.run.run_key, ""), with_html=with_html) for one in news.runs],
            gone=[_gone_run(ref, with_html=with_html) for ref in news.gone],
            flows=[self._flow(key, flow, with_html=with_html) for key, flow in news.flows.items()],
        )

    def write_run(self, summary: RunSummary, left_flow: str = "", *, with_html: bool) -> WrittenRun:
        """Return a run's messages. left_flow: the flow it belonged to before, if it was another."""
        run, line, hint = summary.run, *self.line(summary)
        html = self.viewer.render("_run_row.html", run=line) if with_html else None
        text = encode_message(RUN, run_data(summary, hint), summary.version, html)
        left = _gone_run(RunRef(run.run_id, run.source, run.generation), with_html=with_html) if left_flow else ""
        return WrittenRun(run, seen_state(run.status, hint), text, left, left_flow)

    def seen(self, summary: RunSummary) -> str:
        """Return a run's state and its hint at this moment, as one text."""
        return seen_state(summary.run.status, self.line(summary)[1])

    def line(self, summary: RunSummary) -> tuple[RunLine, Data | None]:
        """Return a run as its row shows it at this moment, and the hint in it."""
        now_ns = time.time_ns()
        hint = hint_of(summary.run, summary.heard, now_ns, self.stale_after_s)
        return run_line(summary, hint, now_ns), hint

    def _flow(self, flow_key: str, flow: FlowSummary | None, *, with_html: bool) -> str:
        if flow is None:
            return encode_message(GONE, {"flow_key": flow_key}, row_id=flow_row_id(flow_key) if with_html else None)
        latest, hint = self.line(flow.latest) if flow.latest else (None, None)
        html = self.viewer.render("_flow_row.html", flow=flow_line(flow, latest)) if with_html else None
        return encode_message(FLOW, flow_data(flow, run_data(flow.latest, hint) if flow.latest else None), html=html)


def _gone_run(ref: RunRef, *, with_html: bool) -> str:
    data: Data = {"run_id": ref.run_id, "source": ref.source, "generation": ref.generation}
    row_id = run_row_id(str(ref.source), ref.run_id, ref.generation or 0)
    return encode_message(GONE, data, row_id=row_id if with_html else None)

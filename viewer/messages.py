"""What live connections say: the API's JSON and the page's partials of what changed, in groups that end with the run's own message.

Who was cut off within a group has not seen its "flow" message, asks again from the version before, and misses nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from collector.picture import TaskRun
from collector.storage import LogEntry, RunView
from collector.tail import News
from viewer.display import head_of, log_row
from viewer.extend import TemplateViewer
from viewer.present import Data, hint_of, log_data, run_data, seen_state, summary_of, task_data
from viewer.waterfall import Window, task_line, window_of

FLOW, TASK, LOG = "flow", "task", "log"
RESYNC = json.dumps({"kind": "resync"})

# Up to so many rows and lines are written at once; more would hold up everybody's news, and are written in a thread.
FEW_ITEMS = 100

# News that are being sent out at one time; a watcher further behind makes its own copy.
KEPT_GROUPS = 64


@dataclass(frozen=True, slots=True)
class Group:
    """Messages that bring a watcher to a version, as JSON text; the last of them says so. Empty: a sign of life.

    state: `Scribe.state` of the run, as they tell it.
    """

    version: int = 0
    texts: Sequence[str] = ()
    state: str = ""


@dataclass(slots=True)
class Scribe:
    """Writes messages. The same news are written once for all who watch."""

    viewer: TemplateViewer
    stale_after_s: float
    _kept: OrderedDict[tuple[int, bool], tuple[News, asyncio.Future[Group]]] = field(default_factory=OrderedDict)

    async def write_news(self, news: News, *, with_html: bool) -> Group:
        """Return what changed. The news are kept beside their group, so that their id() stays theirs."""
        key = (id(news), with_html)
        if key not in self._kept:
            writing = asyncio.ensure_future(self.write_apart(news.view, news.tasks, news.logs, with_html=with_html))
            self._kept[key] = (news, writing)
        group = self._kept[key][1]
        if len(self._kept) > KEPT_GROUPS:
            self._kept.popitem(last=False)
        return await asyncio.shield(group)  # who goes away takes it from nobody else

    async def write_apart(self, view: RunView, tasks: Sequence[TaskRun], logs: Sequence[LogEntry], *, with_html: bool) -> Group:
        """Write as `write` does, in a thread if it is much."""
        if len(tasks) + len(logs) <= FEW_ITEMS:
            return self.write(view, tasks, logs, with_html=with_html)
        return await asyncio.to_thread(self.write, view, tasks, logs, with_html=with_html)

    def write(self, view: RunView, tasks: Sequence[TaskRun], logs: Sequence[LogEntry], *, with_html: bool) -> Group:
        """Return a view's messages about these task runs and lines, and about the run itself."""
        window, hint = window_of(view, time.time_ns()), self.hint(view)
        texts = [self._task(view, task, window, with_html=with_html) for task in tasks]
        texts += [self._log(view, entry, with_html=with_html) for entry in logs]
        texts.append(self._flow(view, window, hint, with_html=with_html))
        return Group(view.version, texts, seen_state(view.picture.run.status, hint))

    def state(self, view: RunView) -> str:
        """Return what time alone may change of a run, as one text: its state and its hint at this moment."""
        return seen_state(view.picture.run.status, self.hint(view))

    def hint(self, view: RunView) -> Data | None:
        """Return why the run may not be as alive as it looks, at this moment."""
        return hint_of(view.picture.run, view.heard, time.time_ns(), self.stale_after_s)

    def _task(self, view: RunView, task: TaskRun, window: Window, *, with_html: bool) -> str:
        data = task_data(task, view.picture.run.run_id, view.task_ids.get(task.task_key, ""))
        html = self.viewer.render("_task_row.html", task=task_line(task, window)) if with_html else None
        return _encode(TASK, data, view.version, html)

    def _log(self, view: RunView, entry: LogEntry, *, with_html: bool) -> str:
        html = self.viewer.render("_log_line.html", line=log_row(entry)) if with_html else None
        return _encode(LOG, log_data(entry, view.picture.run.run_id), view.version, html)

    def _flow(self, view: RunView, window: Window, hint: Data | None, *, with_html: bool) -> str:
        summary = summary_of(view)
        html = self.viewer.render("_run_summary.html", head=head_of(view, summary, hint, window)) if with_html else None
        return _encode(FLOW, run_data(summary, hint), view.version, html)


def _encode(kind: str, data: Data, version: int, html: str | None) -> str:
    message = {"kind": kind, "data": data, "version": version}
    return json.dumps(message if html is None else {**message, "html": html}, ensure_ascii=False)

"""What live connections say: the API's JSON and the page's partials of what changed, in groups that end with the run's own message.

Who was cut off within a group has not seen its "flow" message, asks again from the cursor before, and misses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from collector.answers import LogEntry, RunNews, RunView
from collector.picture import TaskRun
from viewer.delivery import FEW_ITEMS, Group, WrittenOnce, encode_message
from viewer.display import head_of, log_row
from viewer.extend import TemplateViewer
from viewer.present import Data, hint_of, log_data, seen_state, summary_of, task_data, view_data
from viewer.waterfall import Window, task_line, window_of

FLOW, TASK, LOG = "flow", "task", "log"


@dataclass(slots=True)
class Scribe:
    """Writes messages. The same news are written once for all who watch."""

    viewer: TemplateViewer
    stale_after_s: float
    _kept: WrittenOnce[Group] = field(default_factory=WrittenOnce)

    async def write_news(self, news: RunNews, *, with_html: bool) -> Group:
        """Return what changed."""
        writing = self.write_apart(news.view, news.tasks, news.lines, with_html=with_html)
        return await self._kept.get(news, writing, with_html=with_html)

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
        return Group(view.cursor, texts, seen_state(view.run.status, hint))

    def state(self, view: RunView) -> str:
        """Return what time alone may change of a run, as one text: its state and its hint at this moment."""
        return seen_state(view.run.status, self.hint(view))

    def hint(self, view: RunView) -> Data | None:
        """Return why the run may not be as alive as it looks, at this moment."""
        return hint_of(view.run, view.heard, time.time_ns(), self.stale_after_s)

    def _task(self, view: RunView, task: TaskRun, window: Window, *, with_html: bool) -> str:
        data = task_data(task, view.run.run_id, view.task_ids.get(task.task_key, ""))
        html = self.viewer.render("_task_row.html", task=task_line(task, window)) if with_html else None
        return encode_message(TASK, data, view.version, html)

    def _log(self, view: RunView, entry: LogEntry, *, with_html: bool) -> str:
        html = self.viewer.render("_log_line.html", line=log_row(entry)) if with_html else None
        return encode_message(LOG, log_data(entry, view.run.run_id), view.version, html)

    def _flow(self, view: RunView, window: Window, hint: Data | None, *, with_html: bool) -> str:
        summary = summary_of(view)
        html = self.viewer.render("_run_summary.html", head=head_of(view, summary, hint, window)) if with_html else None
        return encode_message(FLOW, view_data(view, hint), view.version, html)

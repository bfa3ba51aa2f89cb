"""What of a folded run is shown, and what of it is news: the same for every storage. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from collector.answers import Heard, LogEntry, Page, Resync, RunNews, RunView
from collector.picture import RunPicture, TaskKey, TaskRun, choose_tasks, culprit_of, extent_of, place_of
from collector.questions import LARGEST_PAGE, LogQuery, ViewQuery

# A trace that joins a run brings lines from before it did: the newest are told (again); a line's id says which a watcher has.
TOLD_AGAIN = 200


def show(picture: RunPicture, query: ViewQuery, version: int, cursor: str, heard: Heard) -> RunView:
    """Return the view of a folded run. What the catalogue and the log say is added by the storage."""
    return RunView(
        run=picture.run,
        tasks=choose_tasks(picture.tasks, query.tasks),
        version=version,
        cursor=cursor,
        heard=heard,
        extent=extent_of(picture.run, picture.tasks),
        culprit=culprit_of(picture.tasks),
    )


def page_tasks(tasks: Sequence[TaskRun], limit: int, after: TaskKey | None) -> tuple[list[TaskRun], TaskKey | None]:
    """Return the next of a picture's task runs, and the place to go on after; None behind the last."""
    limit = max(1, min(limit, LARGEST_PAGE))
    first = 0 if after is None else bisect_right(tasks, after, key=place_of)
    page = list(tasks[first : first + limit])
    return page, place_of(page[-1]) if len(tasks) > first + limit else None


def news_since(before: RunView, view: RunView, read_lines: Callable[[LogQuery], Page[LogEntry]]) -> RunNews | None:
    """Return what a view, with all task runs, brings to who has one from before.

    Raises Resync if a new view is the cheaper answer: see Reader.read_news.
    """
    if view.version <= before.version:
        return None
    known = {task.node: task for task in before.tasks}
    if known.keys() - {task.node for task in view.tasks}:
        raise Resync
    changed = [task for task in view.tasks if known.get(task.node) != task]
    return RunNews(view, changed, lines_since(before, view, read_lines))


def tell(befores: Iterable[RunView], news_of: Callable[[RunView], RunNews | None]) -> dict[bytes, RunNews | None]:
    """Return the answer of Reader.read_news. news_of: what is new since one view, None if nothing is. Raises Resync, as news_since() does."""
    told: dict[bytes, RunNews | None] = {}
    for before in befores:
        try:
            news = news_of(before)
        except Resync:
            told[before.run.run_key] = None
        else:
            told |= {before.run.run_key: news} if news is not None else {}
    return told


def lines_since(before: RunView, view: RunView, read_lines: Callable[[LogQuery], Page[LogEntry]]) -> list[LogEntry]:
    """Return the lines between two views. Raises Resync if they are more than one message holds."""
    page = read_lines(LogQuery(since=before.cursor, until=view.cursor, limit=LARGEST_PAGE))
    if page.next_cursor is not None:
        raise Resync
    if set(view.run.trace_ids) - set(before.run.trace_ids):
        page = read_lines(LogQuery(until=view.cursor, newest=True, limit=TOLD_AGAIN))
    return page.items

"""The viewer's door: pages, read API, live addresses and the files they need, as one plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from collector.doors import Collector, Door
from collector.hookspecs import hookimpl
from collector.plugins import collect
from viewer.addresses import match_line_breaks
from viewer.api import Api
from viewer.extend import TemplateViewer
from viewer.live import Live
from viewer.live_lists import LiveLists
from viewer.login import Login
from viewer.pages import Pages
from viewer.welcome import Welcome

STATIC_FOLDER = Path(__file__).parent / "static"


@hookimpl
def make_doors(collector: Collector) -> Sequence[Door]:
    """Return the viewer's one door; every plugin's extend_viewer is called here, once."""
    viewer = TemplateViewer(keys_required=collector.keys.required)
    collect(collector.plugins, collector.metrics, "extend_viewer", viewer=viewer)
    routes = [
        Mount("/static", StaticFiles(directory=STATIC_FOLDER), name="static"),
        *Login(collector, viewer).routes(),
        *Welcome(collector, viewer).routes(),
        *Live(collector, viewer).routes(),
        *LiveLists(collector, viewer).routes(),
        *Api(collector).routes(),
        *Pages(collector, viewer).routes(),
    ]
    return [Door("viewer", match_line_breaks(routes))]

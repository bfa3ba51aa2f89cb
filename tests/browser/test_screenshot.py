"""The picture in the README: the demo in the middle of its run. Taken on every test run, put into docs/ only when asked for:

FLOWSPAN_UPDATE_SCREENSHOT=1 ./run test tests/browser/test_screenshot.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.chromium import ARTIFACTS, OpenPage, open_live, task_row
from tests.servers import Server, clean_environment

SHOWN = Path(__file__).parents[2] / "docs" / "run.png"
TAKEN = ARTIFACTS / "run.png"
LARGEST_BYTES = 150_000
SIZE = {"width": 1200, "height": 870}
# Fast for a test, slow enough that the second try of the load is seen.
PACE = "0.5"
SECOND_TRY_GOES_ON = "copied 32,000 rows"
# Asked at every frame: expect() looks once a second, and the moment would be over.
HAS_LINE = "(text) => document.getElementById('lines').textContent.includes(text)"
END_S = 60.0


@contextmanager
def demo(url: str) -> Iterator[str]:
    """Run the demo once, through the OpenTelemetry SDK; yields the address of its run's page and waits for its end."""
    words = [sys.executable, "-m", "otel_bridge.demo", "--url", url, "--only", "sdk", "--pace", PACE]
    with subprocess.Popen(words, env=clean_environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
        assert 0 == process.wait(END_S)


# R101 R102 R111
def test_the_demo_is_seen_moving_from_its_first_tasks_to_its_end(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(viewport=SIZE)
    state = page.locator("#summary .state .chip")
    with Server(tmp_path / "data") as server, demo(server.url) as address:
        open_live(page, address)

        expect(task_row(page, "load_warehouse").locator("summary")).to_have_text("2 attempts")
        page.wait_for_function(HAS_LINE, arg=SECOND_TRY_GOES_ON)
        expect(state).to_have_text("RUNNING")
        page.screenshot(path=TAKEN)

        expect(state).to_have_text("FAILED")
        expect(page.locator("#summary .count")).to_have_text(["8 succeeded", "1 failed", "1 skipped"])
        page.close()

    assert TAKEN.stat().st_size < LARGEST_BYTES
    if os.environ.get("FLOWSPAN_UPDATE_SCREENSHOT") == "1":
        shutil.copyfile(TAKEN, SHOWN)


def test_the_readme_shows_a_picture_that_is_there() -> None:
    assert f"({SHOWN.parent.name}/{SHOWN.name})" in (SHOWN.parents[1] / "README.md").read_text(encoding="utf-8")
    assert SHOWN.stat().st_size < LARGEST_BYTES

"""Names made to break a page, wherever a sender can put one: each is text, runs nothing, calls nobody and leaves the layout alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from otel_bridge.facts import harmless
from tests.browser.chromium import is_too_wide, open_live
from tests.builders import event
from tests.in_process import Server, eventually, running
from viewer.texts import TEXT_CHARS, clip

SCRIPT = "<script>window.pwned = 1</script>"
NAMES = {
    "script": SCRIPT,
    "image": '"><img src=x onerror="window.pwned = 1">',
    "end of everything": f"</title></textarea></template></td></table>{SCRIPT}",
    "quotes": 'it\'s "quoted" `back` \\\' \\"',
    "template": "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "entity": "&lt;b&gt; &amp;amp; &#x3c;",
    "javascript": "javascript:window.pwned = 1",
    "right to left": "\u202egnp.exe\u2066 \u05d0\u05d1",
    "nul": "a\x00b",
    "lone surrogate": "half \ud83d pair \ude00",
    "emoji": "👩🏽‍🚀 \u200d zalgo: e\u0301\u0300\u0302",
    "long": "x" * 5000,
    "long words": "lorem ipsum " * 420,
    "parent folders": "../../etc/passwd",
    "encoded slash": "a%2Fb%252F",
    "address": "a/b?c=d&e=f#g;h",
    "lines": "one\r\ntwo\ttabbed",
    "prototype": "__proto__",
    "foreign picture": '<img src="http://example.com/x.png"><link rel=stylesheet href=//example.com/x.css>',
}
# Where each character of an element's first text stands.
CHARACTERS_FROM_THE_LEFT = """(elements) => elements.map((element) => {
  const text = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
  return [...text.data.trim()].map((_, place) => {
    const range = document.createRange();
    range.setStart(text, place);
    range.setEnd(text, place + 1);
    return range.getBoundingClientRect().left;
  });
})"""
every_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """Return a server on which each name has its run."""
    with running() as one:
        for name in NAMES.values():
            assert {"ok": True} == one.send(*beginning(name)).json()
        eventually(lambda: len(one.json("/api/v1/runs")["items"]) == len(NAMES))
        yield one


def task(word: str, name: str, **fields: Any) -> dict[str, Any]:
    """Make an event of a task run called so, in a run called so."""
    return event(f"task_{word}", run_id=name, task=name, node=name, **fields)


def beginning(name: str) -> list[dict[str, Any]]:
    """Return the first events of a run in which everything is called so."""
    return [
        event("flow_started", run_id=name, flow=name, params={name: name}, metadata={name: [name]}, tags=[name], description=name),
        task("started", name, description=name, upstream=[name]),
        task("log", name, level=name, message=name, payload={name: name}),
    ]


def ending(name: str) -> list[dict[str, Any]]:
    """Return what comes while the run's page is open."""
    failed: dict[str, Any] = {"error": name, "traceback": name}
    return [
        task("retry", name, attempt=1, max=2, **failed),
        task("log", name, level=name, message=f"live {name}", payload={name: name}),
        task("err", name, **failed),
        event("flow_failed", run_id=name, **failed),
    ]


def shown(name: str) -> str:
    """Return how a page writes a name: whole up to 200 characters."""
    return clip(harmless(name))


def run_page(server: Server, name: str) -> str:
    """Return the address of a name's run."""
    return f"{server.url}/runs/{quote(harmless(name), safe='')}"


def assert_unharmed(page: Page) -> None:
    """Nothing ran, nothing was put into the page, nobody has to scroll sideways. What the console and the network say is watched anyway."""
    assert page.evaluate("window.pwned === undefined")
    assert 0 == page.locator("img:not(header img), link[href*='example.com'], main script").count()
    assert not is_too_wide(page)


# R109
@pytest.mark.parametrize("path", ["/flows", "/runs", "/runs?kind=all"])
def test_lists_show_every_name_as_text(shared: Server, page: Page, path: str) -> None:
    page.goto(shared.url + path)

    for name in NAMES.values():
        expect(page.locator("tbody a", has_text=shown(name)).first).to_be_visible()
    assert_unharmed(page)


# R103 R109
@every_name
def test_a_run_shows_its_names_as_text_when_it_is_opened_and_as_it_moves(shared: Server, page: Page, name: str) -> None:
    open_live(page, f"{run_page(shared, name)}?task={quote(harmless(name), safe='')}")
    assert_named_everywhere(page, name)

    shared.send(*ending(name))

    expect(page.locator("#summary .state .chip")).to_have_text("FAILED")
    expect(page.locator("#lines .message", has_text="live ")).to_have_count(1)
    assert_named_everywhere(page, name)
    assert_unharmed(page)


def assert_named_everywhere(page: Page, name: str) -> None:
    for place in ("h1", ".run-id", "#summary dl", "#tasks .name", "#lines .task"):
        expect(page.locator(place).first).to_contain_text(shown(name))
    expect(page.locator("#lines .message").first).to_contain_text(clip(harmless(name), TEXT_CHARS))


# R109
def test_the_list_of_a_flow_holds_its_run_alone_whatever_it_is_called(shared: Server, page: Page) -> None:
    page.goto(f"{shared.url}/runs?kind=all")
    hrefs = {link.inner_text(): link.get_attribute("href") for link in page.locator("tbody a.plain").all()}
    assert len(NAMES) == len(hrefs)

    for name, href in hrefs.items():
        page.goto(f"{shared.url}{href}")

        expect(page.locator("h1 .name")).to_have_text(name)
        expect(page.locator("tbody a.plain")).to_have_text([name])
        assert_unharmed(page)


# R109
def test_a_name_that_turns_the_direction_of_text_turns_only_itself(server: Server, page: Page) -> None:
    server.send(event("flow_started", run_id="abc", flow="\u202eevil", tags=["\u202eevil", "ok"]))
    page.goto(f"{server.url}/runs/abc")

    lefts = page.locator("h1, .run-id").evaluate_all(CHARACTERS_FROM_THE_LEFT)

    assert lefts[1] == sorted(lefts[1])
    assert max(lefts[0]) < min(lefts[1])


# R109
@pytest.mark.parametrize("path", ["/flows", "/runs", "/login", "/runs/nobody", "/runs?cursor=x"])
def test_every_page_forbids_scripts_of_others_and_inline_ones(shared: Server, path: str) -> None:
    policy = shared.get(path).headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


# R109
def test_a_hostile_address_is_answered_by_a_harmless_page(shared: Server, page: Page) -> None:
    page.goto(f"{shared.url}/runs?flow=%3Cscript%3Ewindow.pwned%3D1%3C%2Fscript%3E")

    expect(page.locator("h1")).to_have_text("Runs of <script>window.pwned=1</script>")
    assert_unharmed(page)

"""What a browser asks and is led to: levels, where a login leads, events of several lines."""

from __future__ import annotations

import pytest

from viewer.addresses import BadQuestion
from viewer.levels import min_severity
from viewer.login import local_path
from viewer.streams import encode_event


# R103
@pytest.mark.parametrize(("level", "number"), [(None, 0), ("", 0), ("info", 9), ("WARNING", 13), ("Error", 17)])
def test_a_level_is_asked_for_by_its_usual_names(level: str | None, number: int) -> None:
    assert number == min_severity(level)


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(BadQuestion):
        min_severity("loud")


# R148
@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "/\t/evil.example", "https://evil.example", "", "/a\\b", "/\n/x"])
def test_a_login_leads_nowhere_else(target: str) -> None:
    assert "/flows" == local_path(target)


# R148
def test_a_login_leads_back_to_the_page_asked_for() -> None:
    assert "/runs/a%2Fb?level=error" == local_path("/runs/a%2Fb?level=error")


# R090
def test_an_event_of_several_lines_stays_one_event() -> None:
    assert "event: html\nid: 3\ndata: <p>\ndata: </p>\n\n" == encode_event("<p>\n</p>", name="html", event_id="3")

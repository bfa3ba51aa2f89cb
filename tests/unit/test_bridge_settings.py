"""What the environment tells the bridge; what it cannot use it warns of and does without."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, cast

import pytest

from otel_bridge.settings import BridgeSettings, from_environment, normalized


# R160
@pytest.mark.parametrize("name", ["FLOWSPAN_URL", "AUTO_WORKFLOW_SERVER_URL"])
def test_either_name_switches_the_bridge_on(name: str) -> None:
    settings = from_environment({name: " http://flowspan:8000/base/ "})

    assert ("http://flowspan:8000/base", True) == (settings.url, settings.is_on)


def test_our_own_name_counts_where_both_are_set_and_an_empty_one_is_none() -> None:
    both = from_environment({"FLOWSPAN_URL": "http://ours", "AUTO_WORKFLOW_SERVER_URL": "http://theirs", "AUTO_WORKFLOW_SERVER_API_KEY": "k"})
    empty = from_environment({"FLOWSPAN_URL": " ", "AUTO_WORKFLOW_SERVER_URL": "http://theirs"})

    assert ("http://ours", "k", "http://theirs") == (both.url, both.api_key, empty.url)


def test_without_an_address_nothing_is_told() -> None:
    assert not from_environment({}).is_on


@pytest.mark.parametrize("url", ["flowspan:8000", "ftp://flowspan", "http://", "http://[", "http://flowspan:port", "http://:80"])
def test_an_address_that_is_none_is_warned_of_and_nothing_is_told(url: str, caplog: pytest.LogCaptureFixture) -> None:
    settings = from_environment({"FLOWSPAN_URL": url})

    assert not settings.is_on
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


def test_bounds_are_read_and_what_is_no_positive_number_leaves_the_default(caplog: pytest.LogCaptureFixture) -> None:
    stated = {"FLOWSPAN_BRIDGE_QUEUE_BYTES": "1000", "FLOWSPAN_BRIDGE_EXIT_S": "0.5", "FLOWSPAN_BRIDGE_GATHER_S": "soon"}
    settings = from_environment({**stated, "FLOWSPAN_BRIDGE_TIMEOUT_S": "nan", "FLOWSPAN_BRIDGE_SPOOL_BYTES": "-1"})

    default = BridgeSettings()
    assert (1000, 0.5) == (settings.queue_bytes, settings.exit_s)
    assert (default.gather_s, default.timeout_s, default.spool_bytes) == (settings.gather_s, settings.timeout_s, settings.spool_bytes)
    assert 3 == len(caplog.records)


@pytest.mark.parametrize("word", ["off", "none", "0", "OFF"])
def test_a_spool_can_be_done_without(word: str) -> None:
    assert from_environment({"FLOWSPAN_BRIDGE_SPOOL": word}).spool is None


def test_the_spool_is_where_it_is_stated_else_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    stated = from_environment({"FLOWSPAN_BRIDGE_SPOOL": "~/spool.db"}).spool
    cached = from_environment({"XDG_CACHE_HOME": "/cache"}).spool
    default = from_environment({}).spool

    assert [Path("/home/somebody/spool.db"), Path("/cache/flowspan/spool.db"), Path("/home/somebody/.cache/flowspan/spool.db")] == [
        stated,
        cached,
        default,
    ]


def test_a_user_without_a_home_has_a_spool_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)

    assert f"flowspan-{os.getuid()}" in str(from_environment({}).spool)


def test_the_key_is_not_in_what_is_printed_of_the_settings() -> None:
    assert "secret" not in repr(BridgeSettings(api_key="secret"))


def test_other_endpoints_are_listed_with_commas() -> None:
    assert ("http://a", "http://b/x") == from_environment({"FLOWSPAN_BRIDGE_ALSO": "http://a/, ,http://b/x"}).also


# R173
def test_what_is_stated_in_code_is_read_as_the_environment_is(caplog: pytest.LogCaptureFixture) -> None:
    stated: dict[str, Any] = {"url": " http://flowspan/ ", "api_key": "s3cr3t\n", "spool": "/tmp/spool.db", "also": "http://a/"}
    settings = normalized(BridgeSettings(**stated))
    bad = normalized(BridgeSettings(url="flowspan:8000"))

    assert ("http://flowspan", "s3cr3t", Path("/tmp/spool.db"), ("http://a",)) == (
        settings.url,
        settings.api_key,
        settings.spool,
        settings.also,
    )
    assert (False, 1) == (bad.is_on, len(caplog.records))
    assert (settings, None) == (normalized(settings), normalized(BridgeSettings(spool=cast(Any, "off"))).spool)
    assert "" == normalized(BridgeSettings(api_key=cast(Any, None))).api_key


# R173
def test_a_spool_in_the_home_of_nobody_is_warned_of_and_its_default_stands(caplog: pytest.LogCaptureFixture) -> None:
    settings = from_environment({"FLOWSPAN_BRIDGE_SPOOL": "~no-such-user/spool.db", "XDG_CACHE_HOME": "/cache"})

    assert (Path("/cache/flowspan/spool.db"), 1) == (settings.spool, len(caplog.records))

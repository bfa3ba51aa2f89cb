"""Settings: seed 000's names from the environment, the command line on top, and a start that fails with the name of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.settings import Settings, SettingsError, is_loopback, read_settings


# R176
def test_the_names_of_the_environment_are_those_of_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "DATABASE_URL": "sqlite:///x.db",
        "REDIS_URL": "redis://there",
        "SERVER_API_KEY": "a, b,,c ",
        "LOG_LEVEL": "debug",
        "CORS_ALLOWED_ORIGINS": "https://a.example,https://b.example",
        "RETENTION_DAYS": "7",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    settings = read_settings()

    assert ("sqlite:///x.db", "redis://there", ("a", "b", "c")) == (settings.database_url, settings.redis_url, settings.server_api_keys)
    assert ("DEBUG", ("https://a.example", "https://b.example"), 7) == (
        settings.log_level,
        settings.cors_allowed_origins,
        settings.retention_days,
    )


# R080 R176
def test_with_no_environment_at_all_there_are_settings_that_work() -> None:
    settings = read_settings()

    assert ("127.0.0.1", 8000, 4318, ()) == (settings.host, settings.port, settings.otlp_http_port, settings.server_api_keys)
    assert 1 == settings.workers
    assert settings.storage_url() == f"sqlite:///{Path.home() / '.local/share/flowspan/flowspan.db'}"


def test_the_command_line_stands_above_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("HOST", "localhost")

    settings = read_settings(port=9001, host=None)

    assert (9001, "localhost") == (settings.port, settings.host)


# R176
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETENTION_DAYS", "-1"),
        ("RETENTION_DAYS", "soon"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("PORT", "70000"),
        ("FLOWSPAN_WORKERS", "0"),
        ("FLOWSPAN_MAX_BODY_BYTES", "1"),
        ("FLOWSPAN_BODY_TIMEOUT_S", "0"),
        ("FLOWSPAN_COMMIT_TIMEOUT_S", "never"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=name):
        read_settings()


# R142
@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_alone_needs_no_key(host: str) -> None:
    Settings(host=host).check_bind()

    assert is_loopback(host)


# R142
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "flows.example", ""])
def test_the_network_needs_a_key_or_the_word_that_it_does_not(host: str) -> None:
    Settings(host=host, server_api_keys=("k",)).check_bind()
    Settings(host=host, insecure=True).check_bind()

    with pytest.raises(SettingsError, match="SERVER_API_KEY"):
        Settings(host=host).check_bind()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]  # that is the point

"""One frozen Settings, read from the environment and checked at start. Units are in the names; docs/settings.md explains each."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024

Words = Annotated[tuple[str, ...], NoDecode]


class SettingsError(ValueError):
    """A setting cannot be used; the text names it and says why."""


def _env(name: str, default: Any, **limits: Any) -> Any:
    """Declare a field read from the environment under exactly this name."""
    return Field(default, validation_alias=AliasChoices(name), **limits)


class Settings(BaseSettings):
    """Everything a start can be told. Seed 000's names where it has one, FLOWSPAN_* for the rest."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    database_url: str = _env("DATABASE_URL", "")
    data_dir: Path = _env("FLOWSPAN_DATA_DIR", Path("~/.local/share/flowspan"))
    redis_url: str = _env("REDIS_URL", "")
    server_api_keys: Words = _env("SERVER_API_KEY", ())
    log_level: str = _env("LOG_LEVEL", "INFO")
    log_format: str = _env("LOG_FORMAT", "text", pattern="^(text|json)$")
    cors_allowed_origins: Words = _env("CORS_ALLOWED_ORIGINS", ())
    retention_days: int = _env("RETENTION_DAYS", 30, ge=0)

    host: str = _env("HOST", "127.0.0.1")
    port: int = _env("PORT", 8000, ge=0, le=65535)
    otlp_http_port: int = _env("FLOWSPAN_OTLP_HTTP_PORT", 4318, ge=0, le=65535)
    insecure: bool = _env("FLOWSPAN_INSECURE", default=False)
    workers: int = _env("FLOWSPAN_WORKERS", 1, ge=1)

    # 64 MiB: what the OTLP specification recommends, counted after inflating.
    max_body_bytes: int = _env("FLOWSPAN_MAX_BODY_BYTES", 64 * MIB, ge=1024)
    # Bodies being received, waiting and being committed, together. Two of the largest fit beside ordinary traffic.
    queue_bytes: int = _env("FLOWSPAN_QUEUE_BYTES", 192 * MIB, ge=1024)
    body_timeout_s: float = _env("FLOWSPAN_BODY_TIMEOUT_S", 30.0, gt=0)
    # The OTLP exporters wait 10 s by default: past that nobody reads our answer.
    commit_timeout_s: float = _env("FLOWSPAN_COMMIT_TIMEOUT_S", 9.0, gt=0)
    # Rows are made at 20-50 thousand a second, one request after the other: more than this would keep the others waiting past their patience.
    max_records: int = _env("FLOWSPAN_MAX_RECORDS", 100_000, ge=1)
    retry_after_s: int = _env("FLOWSPAN_RETRY_AFTER_S", 2, ge=1)
    fold_every_ms: int = _env("FLOWSPAN_FOLD_EVERY_MS", 250, ge=0)
    stale_after_s: float = _env("FLOWSPAN_STALE_AFTER_S", 3600.0, gt=0)
    # News a socket may have waiting before its reader is told to start again.
    socket_queue: int = _env("FLOWSPAN_SOCKET_QUEUE", 1000, ge=1)

    @field_validator("server_api_keys", "cors_allowed_origins", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("log_level")
    @classmethod
    def _check_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
            raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return value.upper()

    @field_validator("data_dir")
    @classmethod
    def _expand_home(cls, value: Path) -> Path:
        return value.expanduser()

    def storage_url(self) -> str:
        """Return where to store: DATABASE_URL, else a SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir / 'flowspan.db'}"

    def check_bind(self) -> None:
        """Raise SettingsError if the server would be open to the network with no key."""
        if not self.server_api_keys and not self.insecure and not is_loopback(self.host):
            raise SettingsError(
                f"refusing to listen on {self.host} without a key: anybody who reaches it could read and write."
                " Set SERVER_API_KEY, or listen on 127.0.0.1, or pass --insecure if something in front of it checks who comes in."
            )


def read_settings(**given: Any) -> Settings:
    """Read the environment, with the values given on the command line on top. Raises SettingsError naming what is wrong, and where."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsError(problems) from error


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

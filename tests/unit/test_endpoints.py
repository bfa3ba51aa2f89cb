"""Which endpoints beside the Flowspan server get finished spans, as OTEL_* name them."""

from __future__ import annotations

import pytest

from otel_bridge.endpoints import has_other_endpoints
from otel_bridge.settings import BridgeSettings


@pytest.fixture(autouse=True)
def _nothing_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)


@pytest.mark.parametrize(
    ("endpoint", "protocol", "is_one"),
    [
        ("http://tempo:4318", "", True),
        ("http://flowspan:8000", "", False),
        ("http://jaeger:4317", "", False),
        ("jaeger:4317", "", False),
        ("http://jaeger:4317", "http/protobuf", True),
        ("http://tempo:4318", "grpc", False),
    ],
)
def test_an_endpoint_that_speaks_http_is_told_too(endpoint: str, protocol: str, is_one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)

    assert is_one == has_other_endpoints(BridgeSettings(url="http://flowspan:8000"))


# R173
def test_an_endpoint_that_speaks_grpc_is_warned_of_once_without_its_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@collector:4317")

    answers = [has_other_endpoints(BridgeSettings()) for _ in range(3)]

    assert ([False] * 3, 1) == (answers, len(caplog.records))
    assert "s3cret" not in caplog.text


# R173
def test_an_endpoint_that_is_no_address_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[")

    assert not has_other_endpoints(BridgeSettings())

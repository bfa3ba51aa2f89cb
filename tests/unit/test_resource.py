"""Who sends, as the environment states it: like the SDK's own Resource, but for what it says of the SDK."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import Resource as SdkResource

from otel_bridge.resource import resource_of


# R169
@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("", ""),
        ("deployment.environment.name=prod, team = data%20lake ,service.name=from-list", ""),
        ("service.name=from-list,odd,=x,a=b=c", "named"),
        ("empty=,percent=100%25", ""),
    ],
)
def test_a_resource_is_what_the_sdk_makes_of_the_same_environment(stated: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", stated)
    monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    sdk = {key: value for key, value in SdkResource.create().attributes.items() if key and not key.startswith("telemetry.sdk.")}

    assert {**sdk, "service.instance.id": "instance-1"} == resource_of("", "instance-1").attributes


# R169
def test_a_name_stated_in_code_goes_before_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "environment")

    assert "code" == resource_of("code", "instance-1").attributes["service.name"]


# R169
def test_detectors_that_the_environment_names_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "process")

    assert "process.pid" in resource_of("", "instance-1").attributes

"""Who sends: the OTel Resource of this process, as OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME state it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from otel_bridge import conventions as c
from otel_bridge.facts import Resource
from otel_bridge.guard import harmlessly


def resource_of(service_name: str, instance_id: str) -> Resource:
    """Return the resource of this process. service_name: stated in code, before the environment's. instance_id: of its signs of life."""
    stated = (_detected() if _has_detectors() else None) or _stated(os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    named = service_name or os.environ.get("OTEL_SERVICE_NAME", "") or stated.get(c.SERVICE_NAME) or _unknown_service()
    return Resource({**stated, c.SERVICE_NAME: named, c.SERVICE_INSTANCE_ID: instance_id})


def _has_detectors() -> bool:
    """Return whether detectors are to be asked, which are the SDK's."""
    return bool(os.environ.get("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "").strip())


@harmlessly
def _detected() -> Mapping[str, Any]:
    from opentelemetry.sdk.resources import Resource as SdkResource

    return SdkResource.create().attributes


def _stated(text: str) -> dict[str, Any]:
    """Read pairs like a=b,c=d%20e (OTel specification, Resource SDK); what is no pair is left out."""
    pairs = (item.partition("=") for item in text.split(",") if "=" in item)
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs if key.strip()}


def _unknown_service() -> str:
    """Return the name that the specification gives to a service without one."""
    executable = Path(sys.executable or "").name
    return f"unknown_service:{executable}" if executable else "unknown_service"

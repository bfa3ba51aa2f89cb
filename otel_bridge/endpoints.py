"""The endpoints beside the Flowspan server: a Jaeger or Tempo that OTEL_* names. They get finished spans only, by the SDK's own exporter."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otel_bridge.facts import Resource
from otel_bridge.guard import harmlessly
from otel_bridge.settings import BridgeSettings, from_environment

if TYPE_CHECKING:  # the SDK
    from otel_bridge.sdk_spans import SdkSpans

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# Where collectors speak gRPC, which is what opentelemetry-distro exports by if no protocol is stated.
_GRPC_PORT = ":4317"


@harmlessly
def other_endpoints(settings: BridgeSettings, resource: Resource) -> SdkSpans | None:
    """Return what sends to each endpoint beside the Flowspan server, if there are any: the one OTEL_* names, and those of `settings.also`."""
    if not has_other_endpoints(settings):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from otel_bridge.sdk_spans import SdkSpans

    exporters = [OTLPSpanExporter(f"{url}/v1/traces") for url in settings.also]
    if _names_another(settings):
        exporters.append(OTLPSpanExporter())
    return SdkSpans(resource, [BatchSpanProcessor(exporter) for exporter in exporters])


def has_other_endpoints(settings: BridgeSettings) -> bool:
    """Return whether there are any: the SDK and its exporter cost 280 ms of import."""
    return bool(settings.also) or _names_another(settings)


def is_told_by_exporters() -> bool:
    """Return whether the exporter that OTEL_* configure sends a program's finished spans to the Flowspan server already."""
    stated = _first(_ENDPOINTS)
    return bool(stated) and _exports_otlp() and _host_of(stated) == _host_of(from_environment().url)


def _names_another(settings: BridgeSettings) -> bool:
    """Return whether OTEL_* name an endpoint that is not the Flowspan server itself, and that this exporter can speak to."""
    stated = _first(_ENDPOINTS)
    if not stated or not _exports_otlp():
        return False
    host = _host_of(stated)
    if host == _host_of(settings.url):
        return False
    protocol = _first(_PROTOCOLS) or ("grpc" if (host or stated).endswith(_GRPC_PORT) else "")
    if protocol == "grpc":
        _warn_of_grpc(host or stated)
    return protocol != "grpc"


@cache
def _warn_of_grpc(host: str) -> None:
    """Say so once: it is asked several times whether there are other endpoints."""
    logger.warning("%s is told nothing by the bridge, which speaks OTLP over HTTP (port 4318)", host)


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:  # half an IPv6 address
        return ""


def _exports_otlp() -> bool:
    return os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().startswith("otlp")


def _first(names: Sequence[str]) -> str:
    return next((os.environ[name].strip() for name in names if os.environ.get(name, "").strip()), "")

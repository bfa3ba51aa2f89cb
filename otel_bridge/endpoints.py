"""The endpoints beside the Flowspan server: a Jaeger or Tempo that OTEL_* names. They get finished spans only, by the SDK's own exporter."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otel_bridge.settings import BridgeSettings, from_environment

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def other_endpoints(settings: BridgeSettings) -> Sequence[SpanProcessor]:
    """Return a processor for each endpoint beside the Flowspan server: the one OTEL_* names, and those of `settings.also`."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporters = [OTLPSpanExporter(f"{url}/v1/traces") for url in settings.also]
    if _names_another(settings):
        exporters.append(OTLPSpanExporter())
    return [BatchSpanProcessor(exporter) for exporter in exporters]


def has_other_endpoints(settings: BridgeSettings) -> bool:
    """Return whether there are any: importing their exporter costs 130 ms."""
    return bool(settings.also) or _names_another(settings)


def is_told_by_exporters() -> bool:
    """Return whether the exporter that OTEL_* configure sends a program's finished spans to the Flowspan server already."""
    stated = _first(_ENDPOINTS)
    here = urlsplit(from_environment().url).netloc
    return bool(stated) and _exports_otlp() and urlsplit(stated).netloc == here


def _names_another(settings: BridgeSettings) -> bool:
    """Return whether OTEL_* name an endpoint that is not the Flowspan server itself, and that this exporter can speak to."""
    stated = _first(_ENDPOINTS)
    if not stated or not _exports_otlp():
        return False
    if urlsplit(stated).netloc == urlsplit(settings.url).netloc:
        return False
    if _first(_PROTOCOLS) == "grpc":
        logger.warning("%s is told nothing by the bridge, which speaks OTLP over HTTP", stated)
        return False
    return True


def _exports_otlp() -> bool:
    return os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().startswith("otlp")


def _first(names: Sequence[str]) -> str:
    return next((os.environ[name].strip() for name in names if os.environ.get(name, "").strip()), "")

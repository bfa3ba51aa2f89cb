"""A FastAPI service that OpenTelemetry instruments: a request is seen while it is answered. In an environment that has it all
(`pip install flowspan fastapi uvicorn opentelemetry-distro opentelemetry-instrumentation-fastapi`):

    FLOWSPAN_URL=http://127.0.0.1:8000 OTEL_SERVICE_NAME=shop OTEL_TRACES_EXPORTER=none OTEL_METRICS_EXPORTER=none \
        opentelemetry-instrument uvicorn --app-dir examples --port 8081 fastapi_service:app

then http://127.0.0.1:8081/report?seconds=5, and look at the Runs page (traces). With an exporter of its own (a Jaeger, say) it keeps it.
"""

import asyncio

from fastapi import FastAPI
from opentelemetry import trace

tracer = trace.get_tracer("shop")
app = FastAPI()


@app.get("/report")
async def report(seconds: float = 2.0) -> dict[str, int]:
    """Answer after a while; each step is a span."""
    with tracer.start_as_current_span("read orders") as span:
        await asyncio.sleep(seconds / 2)
        span.add_event("read", {"message": "read 300 orders"})
    with tracer.start_as_current_span("render"):
        await asyncio.sleep(seconds / 2)
    return {"orders": 300}

"""A data pipeline that speaks only OpenTelemetry: nothing of Flowspan is imported. Start it with

    OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:8000 .venv/bin/python examples/data_pipeline.py

and it is a run with three tasks on the Runs page. (Without the two attributes below it would be shown too, as a plain trace.)
"""

import time
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Tracer

# The exporter reads where to send from OTEL_EXPORTER_OTLP_ENDPOINT, a key from OTEL_EXPORTER_OTLP_HEADERS="x-api-key=KEY".
provider = TracerProvider(resource=Resource.create({"service.name": "data_pipeline"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def run_pipeline(tracer: Tracer) -> None:
    """Run three tasks inside one root span: the root is the run, and its attributes say of which pipeline and which run of it."""
    run = {"cicd.pipeline.name": "data_pipeline", "cicd.pipeline.run.id": str(uuid4())}
    with tracer.start_as_current_span("data_pipeline", attributes=run):
        for task in ("extract", "clean", "load"):
            # A span that names a task is a task run; an exception that leaves it makes the task, and the run, FAILED.
            with tracer.start_as_current_span(task, attributes={"cicd.pipeline.task.name": task}) as span:
                work(span)


def work(span: Span) -> None:
    """Pretend to work. A span's events are the task's log lines."""
    for part in range(1, 4):
        time.sleep(0.1)
        span.add_event("progress", {"message": f"part {part} of 3 done"})


if __name__ == "__main__":
    run_pipeline(provider.get_tracer("data_pipeline"))
    provider.shutdown()  # sends what still waits

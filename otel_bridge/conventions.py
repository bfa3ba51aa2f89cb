"""The vocabulary on the wire: attribute keys, event names, roles, results. Strings only, no behaviour.

`cicd.pipeline.*`, `error.*`, `exception.*`, `service.*` are OpenTelemetry semantic conventions (0.66); `flowspan.*` is ours.
"""

from __future__ import annotations

from typing import Final

# Who issues run ids when the sender names nobody; and the source of runs that are only a trace.
DEFAULT_SOURCE: Final = "flowspan"
TRACE_SOURCE: Final = "trace"

# Semantic conventions for pipelines.
PIPELINE_NAME: Final = "cicd.pipeline.name"
PIPELINE_RUN_ID: Final = "cicd.pipeline.run.id"
PIPELINE_RESULT: Final = "cicd.pipeline.result"
TASK_NAME: Final = "cicd.pipeline.task.name"
TASK_RUN_ID: Final = "cicd.pipeline.task.run.id"
TASK_RUN_RESULT: Final = "cicd.pipeline.task.run.result"

ERROR_TYPE: Final = "error.type"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
ENVIRONMENT_NAME: Final = "deployment.environment.name"
REVISION: Final = "vcs.ref.head.revision"
SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"

# Ours: what the conventions have no word for.
SOURCE: Final = "flowspan.source"
GENERATION: Final = "flowspan.generation"
FLOW_ID: Final = "flowspan.flow.id"
FLOW_KEY: Final = "flowspan.flow.key"
FLOW_DESCRIPTION: Final = "flowspan.flow.description"
TASK_KEY: Final = "flowspan.task.key"
TASK_DESCRIPTION: Final = "flowspan.task.description"
NODE: Final = "flowspan.node"
# ATTEMPT says which attempt a span is; ATTEMPTS, on a task run's own span, how many there have been.
ATTEMPT: Final = "flowspan.attempt"
ATTEMPTS: Final = "flowspan.attempts"
ATTEMPT_MAX: Final = "flowspan.attempt.max"
ROLE: Final = "flowspan.role"
PARAMS: Final = "flowspan.params"
METADATA: Final = "flowspan.metadata"
TAGS: Final = "flowspan.tags"
PRIORITY: Final = "flowspan.priority"
RUN_IN: Final = "flowspan.run_in"
UPSTREAM: Final = "flowspan.upstream"
TASKS_DECLARED: Final = "flowspan.tasks.declared"
LOG_PAYLOAD: Final = "flowspan.log.payload"
# The run, and the node in it, that a run was started under; and the span, as W3C writes it (traceparent).
PARENT_RUN_ID: Final = "flowspan.parent.run.id"
PARENT_NODE: Final = "flowspan.parent.node"
TRACEPARENT: Final = "flowspan.traceparent"
EVENT_EXTRA: Final = "flowspan.event."

# Beginnings over OTLP: log records with these event names and the span's own ids.
SPAN_EVENT_PREFIX: Final = "flowspan.span."
SPAN_PARENT_ID: Final = "flowspan.span.parent_id"
SPAN_NAME: Final = "flowspan.span.name"
SPAN_START_NS: Final = "flowspan.span.start_ns"
PROCESS_HEARTBEAT: Final = "flowspan.process.heartbeat"
BRIDGE_DROPPED: Final = "flowspan.bridge.dropped"
PROCESS_EXIT: Final = "flowspan.process.exit"
# The event of a finished span that a log record told at once.
LOG_EVENT: Final = "log"
HEARTBEAT_INTERVAL_MS: Final = "flowspan.process.interval_ms"

# Kinds of span_moments. The first three happen once to a span (the least time wins), the others any number of times.
ANNOUNCED: Final = "announced"
QUEUED: Final = "queued"
BEGUN: Final = "begun"
PAUSED: Final = "paused"
RESUMED: Final = "resumed"
CANCELLED: Final = "cancelled"
RETRIED: Final = "retried"
MOMENT_KINDS: Final = frozenset({ANNOUNCED, QUEUED, BEGUN, PAUSED, RESUMED, CANCELLED, RETRIED})
ONCE_KINDS: Final = frozenset({ANNOUNCED, QUEUED, BEGUN})

# Roles a span can have in a run. PART is a span that names no task of its own.
ROLE_RUN: Final = "run"
ROLE_TASK: Final = "task"
ROLE_ATTEMPT: Final = "attempt"
ROLE_PART: Final = ""
ROLES: Final = frozenset({ROLE_RUN, ROLE_TASK, ROLE_ATTEMPT, ROLE_PART})

# Values of cicd.pipeline.result and cicd.pipeline.task.run.result, and of ours.
RESULT_SUCCESS: Final = "success"
RESULT_FAILURE: Final = "failure"
RESULT_ERROR: Final = "error"
RESULT_TIMEOUT: Final = "timeout"
RESULT_CANCELLATION: Final = "cancellation"
RESULT_SKIP: Final = "skip"
RESULT_RETRY: Final = "retry"
RESULTS: Final = frozenset({RESULT_SUCCESS, RESULT_FAILURE, RESULT_ERROR, RESULT_TIMEOUT, RESULT_CANCELLATION, RESULT_SKIP, RESULT_RETRY})

# OTel span status codes and kinds (opentelemetry-proto, trace.proto).
STATUS_UNSET: Final = 0
STATUS_OK: Final = 1
STATUS_ERROR: Final = 2
KIND_INTERNAL: Final = 1
KIND_SERVER: Final = 2

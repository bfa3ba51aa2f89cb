"""The OTLP wire, protobuf and JSON: requests become rows, verdicts become answers, a stored trace becomes OTLP/JSON. Nothing else knows it.

The way in: parse.py (a body -> a message), json_body.py (JSON -> a message), decode.py with spans.py and log_records.py (messages -> rows);
for large groups of traces together.py and columns/ (bodies -> columns).
The way out: answers.py and encode.py. Pure; HTTP is the receiver's.
"""

from collector.otlp.answers import METRICS_NOT_STORED, Signal, encode_response, encode_status
from collector.otlp.decode import decode_logs, decode_metrics, decode_traces
from collector.otlp.encode import encode_trace
from collector.otlp.parse import Encoding
from collector.otlp.together import joint_traces

__all__ = [
    "METRICS_NOT_STORED",
    "Encoding",
    "Signal",
    "decode_logs",
    "decode_metrics",
    "decode_traces",
    "encode_response",
    "encode_status",
    "encode_trace",
    "joint_traces",
]

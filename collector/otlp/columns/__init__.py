"""The fast way through large groups of OTLP/protobuf traces: whole columns instead of objects, equal to the last byte to what rows.py makes.

wire.py (ptars) -> pairs.py (attributes) -> json_text.py, work.py (dialects), digests.py -> spans.py -> decode.py. decode_traces is the oracle.
"""

from collector.otlp.columns.decode import decode_trace_columns, warm_up
from collector.otlp.columns.result import SPAN_SCHEMA, ArrowSpans

__all__ = ["SPAN_SCHEMA", "ArrowSpans", "decode_trace_columns", "warm_up"]

"""Ours: the semantic conventions for pipelines, `cicd.pipeline.*`, and `flowspan.*` for what they have no word for.

The bridge, the flow events and any program that sets these attributes on its spans speak it.
"""

from __future__ import annotations

from typing import Final

from collector.dialects import Dialect
from collector.dialects.table import Table
from otel_bridge import conventions as c

TABLE: Final = Table(
    default_source=c.DEFAULT_SOURCE,
    source=(c.SOURCE,),
    run_id=(c.PIPELINE_RUN_ID,),
    generation=(c.GENERATION,),
    flow_name=(c.PIPELINE_NAME,),
    flow_key=(c.FLOW_KEY,),
    task_name=(c.TASK_NAME,),
    task_key=(c.TASK_KEY,),
    node=(c.NODE, c.TASK_RUN_ID),
    attempt=(c.ATTEMPT,),
    role=(c.ROLE,),
)

DIALECT: Final = Dialect("pipeline", 0, TABLE.recognise)

"""What the recorder holds of what has begun and not ended."""

from __future__ import annotations

from otel_bridge.encoding import Encoder
from otel_bridge.facts import Resource
from otel_bridge.lifecycle import facts_of
from otel_bridge.recorder import Recorder


def test_with_its_run_a_task_run_whose_end_was_lost_is_forgotten() -> None:
    recorder, now_ns = Recorder(Encoder(), Resource()), 1_790_000_000_000_000_000
    told = [("one", "flow_started", {}), ("one", "task_started", {"task": "load", "node": "load:1"}), ("other", "flow_started", {})]
    for run_id, event, said in told:
        recorder.record(*facts_of({"event": event, "run_id": run_id, "flow": "nightly", **said}, now_ns))
    begun = recorder.open_spans

    recorder.record(*facts_of({"event": "flow_completed", "run_id": "one", "flow": "nightly"}, now_ns))

    assert (3, 1) == (begun, recorder.open_spans)

"""What a server says of itself at /metrics, read by a bench."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.servers import Server


@dataclass(frozen=True, slots=True)
class Metrics:
    """The samples of one moment."""

    samples: list[Sample]

    def total(self, name: str) -> float:
        """Return the sum of a metric's samples, 0 if it has none."""
        return sum(one.value for one in self.samples if one.name == f"flowspan_{name}")

    def longest(self, name: str, since: Metrics) -> float:
        """Return what no observation of a histogram was longer than since an earlier moment, 0 if there were none."""
        now, then = self._buckets(name), since._buckets(name)
        grown = {bound: count - then.get(bound, 0.0) for bound, count in now.items()}
        bounds = [bound for (_, below), (bound, count) in pairwise([(0.0, 0.0), *sorted(grown.items())]) if count > below]
        return bounds[-1] if bounds else 0.0

    def _buckets(self, name: str) -> dict[float, float]:
        return {float(one.labels["le"]): one.value for one in self.samples if one.name == f"flowspan_{name}_bucket"}


def read_metrics(server: Server) -> Metrics:
    """Ask a server for its metrics."""
    text = server.get("/metrics").raise_for_status().text
    return Metrics([sample for family in text_string_to_metric_families(text) for sample in family.samples])

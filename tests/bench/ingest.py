"""Acknowledged spans a second over HTTP, against the fastest plain way into the same table in the same run, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.baselines import ROWS_A_TRANSACTION, rows_a_second
from tests.bench.folds import wait_until_folded
from tests.bench.loader import Load, message, ready, send_all
from tests.bench.metrics import Metrics, read_metrics
from tests.bench.places import open_place
from tests.bench.process import cpu_s, rss_bytes
from tests.bench.profiles import ProfiledServer, top_of
from tests.bench.requests import large_request
from tests.bench.table import Figure, say
from tests.servers import Server

SPANS_A_REQUEST = 512
REQUESTS = 240
# Sent first and not counted: the first requests find cold code and an empty store.
WARM_UP = 20
# At 8 the figure is the latency of a commit (36,000 spans/s), at 32 no greater than at 16 (49,000 to 51,000).
CONNECTIONS = 16
# The middle one counts: this machine's noise is as large as what we look for.
RUNS = 3
FOLDED_WITHIN_S = 300.0
LISTS = 100
MIB = 1024 * 1024
PROFILES = Path(__file__).parents[1] / "artifacts"


@dataclass(slots=True)
class Measured:
    """One run. *_us: CPU a span of the server process, but folding_us: what its rounds took, waiting for the store too."""

    spans_a_second: float
    baseline: float
    cpu_us: float
    folding_us: float
    until_folded_us: float
    held_ms: float
    p50_ms: float
    p99_ms: float
    list_p95_ms: float
    rss_mib: float

    @property
    def ratio(self) -> float:
        """Return what the budget speaks of."""
        return self.spans_a_second / self.baseline


def measure_ingest(folder: Path, storage: str, *, profile: bool = False) -> list[Figure]:
    """Measure it a few times, each in a store of its own. profile: print where the time went in one more run."""
    messages = [ready(large_request(seed, SPANS_A_REQUEST)) for seed in range(WARM_UP + REQUESTS)]
    runs = sorted((_run(folder / str(number), storage, messages) for number in range(RUNS)), key=lambda run: run.ratio)
    if profile:
        _profile(folder / "profiled", storage, messages)
    return _figures(storage, runs[len(runs) // 2], [run.ratio for run in runs])


def _figures(storage: str, run: Measured, ratios: Sequence[float]) -> list[Figure]:
    against = f"executemany, {ROWS_A_TRANSACTION} a transaction" if storage == "sqlite" else "psql's text COPY into a table of the same DDL"
    budget = "budget 0.5, then 0.75" if storage == "sqlite" else "budget 0.7, then 1.3"
    return [
        Figure("acknowledged spans/s over HTTP", run.spans_a_second, f"{CONNECTIONS} connections, {SPANS_A_REQUEST} spans a request"),
        Figure("rows/s the plain way", run.baseline, against),
        Figure("ratio", run.ratio, f"{budget}; the middle of {', '.join(f'{ratio:.2f}' for ratio in ratios)}"),
        Figure("CPU of the server, us a span", run.cpu_us, "while sending, folding too; budget 7, then 2"),
        Figure("of it folding, us a span", run.folding_us, "wall clock of its rounds, upper bound"),
        Figure("CPU until all is folded, us a span", run.until_folded_us, ""),
        Figure("longest the event loop was held, ms", run.held_ms, "at most, by a histogram's bucket"),
        Figure("answer, p50 ms", run.p50_ms, ""),
        Figure("answer, p99 ms", run.p99_ms, ""),
        Figure("runs list, p95 ms", run.list_p95_ms, f"50 runs of {SPANS_A_REQUEST * (REQUESTS + WARM_UP):,} spans; budget 50 at 10 million"),
        Figure("memory after it, MiB", run.rss_mib, ""),
    ]


def _run(folder: Path, storage: str, messages: Sequence[bytes]) -> Measured:
    with open_place(storage, folder) as place, Server(folder, **place.environment) as server:
        load, used_s, before, after = _send(server, messages)
        wait_until_folded(place.where, FOLDED_WITHIN_S)
        folded_s, spans = cpu_s(server.pid), SPANS_A_REQUEST * REQUESTS
        lists = send_all(server.port, [message("GET", "/api/v1/runs?kind=all&limit=50")] * LISTS, 1)
        rss = rss_bytes(server.pid)
        server.stop()
        return Measured(
            spans_a_second=spans / load.took_s,
            baseline=rows_a_second(place),
            cpu_us=(used_s[1] - used_s[0]) / spans * 1e6,
            folding_us=(after.total("fold_seconds_sum") - before.total("fold_seconds_sum")) / spans * 1e6,
            until_folded_us=(folded_s - used_s[0]) / spans * 1e6,
            held_ms=after.longest("loop_lag_seconds", before) * 1000,
            p50_ms=percentile_ms(load.answer_s, 50),
            p99_ms=percentile_ms(load.answer_s, 99),
            list_p95_ms=percentile_ms(lists.answer_s, 95),
            rss_mib=rss / MIB,
        )


def _send(server: Server, messages: Sequence[bytes]) -> tuple[Load, tuple[float, float], Metrics, Metrics]:
    """Send everything, the warm-up first. Returns also the server's CPU seconds and metrics, before and after."""
    send_all(server.port, messages[:WARM_UP], CONNECTIONS)
    before, began_s = read_metrics(server), cpu_s(server.pid)
    load = send_all(server.port, messages[WARM_UP:], CONNECTIONS)
    used_s = (began_s, cpu_s(server.pid))
    assert not load.refused, f"{load.refused} requests were refused: {load.statuses}"
    return load, used_s, before, read_metrics(server)


def _profile(folder: Path, storage: str, messages: Sequence[bytes]) -> None:
    with open_place(storage, folder) as place:
        server = ProfiledServer(folder, **place.environment)
        with server:
            send_all(server.port, messages[:WARM_UP], CONNECTIONS)
            server.forget()
            send_all(server.port, messages[WARM_UP:], CONNECTIONS)
        kept = PROFILES / f"profile-{storage}.txt"
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(server.profile.read_bytes())
    say("\n".join((f"CPU time of the server while {storage} is written to; all stacks are in {kept}", *top_of(kept))))


def percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """Return what this many percent of the times stay under, in ms."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1000

"""The same bodies written as columns and as rows end in the same tables, on each storage: facts, news and marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy import Connection, select

from collector.otlp.columns import decode_trace_columns
from collector.otlp.terms import TraceTerms
from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sql.tables import Base, Span, table_of
from storage_plugins.sqlite.storage import SqliteStorage
from tests.bench.requests import large_request
from tests.columns import ALL_DIALECTS, AnyRequest, together
from tests.otlp_bodies import DIALECTS, END_NS, RECEIVED_NS, START_NS, a_span, pairs, span_request
from tests.postgres import Install, Postgres, binaries
from tests.storage.empty_stores import EmptyStores

Store = SqliteStorage | PostgresStorage

FOLD_EVERY_MS = 5
DAY_NS = 86_400 * 10**9
SPANS = table_of(Span)
# How many transactions there were, which on Postgres is not the store's own number.
NOT_ALIKE = {"clock"}


@dataclass
class Pair:
    """Two stores that are told the same, the first as columns, the second as rows."""

    of_columns: Store
    of_rows: Store
    terms: TraceTerms
    _seconds: Iterator[int]

    def write(self, *bodies: bytes, by_rows: Sequence[bytes] = ()) -> None:
        """Write bodies in one transaction, later than those before. by_rows: further bodies, which are rows in both."""
        received_ns = RECEIVED_NS + next(self._seconds) * 10**9
        rows = [self.terms.decode_by_rows(body, received_ns) for body in by_rows]
        columns = decode_trace_columns(bodies, [received_ns] * len(bodies), self.terms)
        self.of_columns.writer.write(together([*columns, *rows]))
        self.of_rows.writer.write(together([*(self.terms.decode_by_rows(body, received_ns) for body in bodies), *rows]))

    def assert_equal(self) -> None:
        """Assert that both hold the same."""
        with self.of_columns.snapshot() as one, self.of_rows.snapshot() as other:
            for name in sorted(Base.metadata.tables.keys() - NOT_ALIKE):
                assert _rows_of(other, name) == _rows_of(one, name), name

    def stored(self, *columns: str, **values: object) -> list[Any]:
        """Return some columns of the spans that were written as columns, sorted. values: what others must be."""
        asked = select(*(SPANS.c[name] for name in columns)).filter_by(**values)
        with self.of_columns.snapshot() as connection:
            return sorted(tuple(row) for row in connection.execute(asked))


def _rows_of(connection: Connection, table: str) -> list[dict[str, Any]]:
    """Return a table, sorted. Transactions are told apart by their order only: on Postgres their numbers are the server's."""
    found = [dict(row) for row in connection.execute(select(Base.metadata.tables[table])).mappings()]
    if "seq" in Base.metadata.tables[table].columns:
        numbers = sorted({row["seq"] for row in found})
        found = [row | {"seq": numbers.index(row["seq"])} for row in found]
    return sorted(found, key=repr)


PairOf = Callable[[TraceTerms], Pair]


@pytest.fixture(scope="module")
def databases(postgres_of: Callable[[Install], Postgres]) -> Iterator[EmptyStores]:
    """Databases that tests use one after the other, emptied."""
    databases = EmptyStores(postgres_of(binaries()[0]))
    yield databases
    for url in databases.free:
        databases.server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def pair_of(request: pytest.FixtureRequest) -> Iterator[PairOf]:
    """Make a pair of empty stores."""
    with ExitStack() as stack:
        stores: list[Store] = [SqliteStorage("memory:", FOLD_EVERY_MS) for _ in range(2)]
        if request.param == "postgres":
            databases: EmptyStores = request.getfixturevalue("databases")
            stack.callback(databases.empty)
            stores = [PostgresStorage(databases.take(), FOLD_EVERY_MS) for _ in range(2)]
        one, other = stores
        yield lambda terms: Pair(_opened(one, stack), _opened(other, stack), terms, count())


def _opened(store: Store, stack: ExitStack) -> Store:
    store.open()
    stack.callback(store.close)
    return store


TERMS = TraceTerms(DIALECTS)


def body_of(name: str, end_ns: int = END_NS, **fields: Any) -> bytes:
    """Return a body of one span, of run r1; of those alike the one that ends last stays."""
    span = a_span(name=name, end_time_unix_nano=end_ns, attributes=pairs({"cicd.pipeline.run.id": "r1", "said": name}), **fields)
    return span_request(span).SerializeToString()


# R079
def test_large_requests_are_stored_alike(pair_of: PairOf) -> None:
    pair = pair_of(TERMS)

    for seed in (0, 2):
        pair.write(large_request(seed, 60).body, large_request(seed + 1, 60).body)

    assert 4 * 60 == len(pair.stored("span_id"))
    pair.assert_equal()


def test_of_several_ends_in_one_transaction_the_greatest_stays(pair_of: PairOf) -> None:
    pair = pair_of(TERMS)

    pair.write(body_of("column"), body_of("greatest", END_NS + 1), body_of("column"), by_rows=[body_of("row")])

    assert [("greatest", END_NS + 1)] == pair.stored("name", "end_ns")
    pair.assert_equal()


def test_of_several_ends_over_transactions_the_greatest_stays(pair_of: PairOf) -> None:
    pair = pair_of(TERMS)

    pair.write(body_of("first", END_NS + 1))
    pair.write(body_of("lesser"), by_rows=[body_of("greater", END_NS + 2)])
    pair.write(large_request(0, 20).body, body_of("lesser", END_NS + 1))
    pair.write(by_rows=[body_of("greatest", END_NS + 3)])
    pair.write(body_of("repeated", END_NS + 2), body_of("repeated", END_NS + 2))

    assert [("greatest",)] == pair.stored("name", source="flowspan")
    pair.assert_equal()


def test_spans_of_several_days_are_stored_alike(pair_of: PairOf) -> None:
    pair = pair_of(TraceTerms(DIALECTS, retention_days=30))
    days = [START_NS // DAY_NS - ago for ago in (0, 1, 2, 40)]

    pair.write(*(body_of("of a day", start_time_unix_nano=day * DAY_NS) for day in days))

    assert [(0,), *((day,) for day in sorted(days[:3]))] == pair.stored("day")
    pair.assert_equal()


# R079
@pytest.mark.parametrize("seed", range(2))
def test_any_requests_are_stored_alike(pair_of: PairOf, seed: int) -> None:
    rng = Random(seed)
    pair = pair_of(TraceTerms(ALL_DIALECTS[1], rng.choice((0, 30))))
    bodies = [AnyRequest(rng).body() for _ in range(20)]

    for _ in range(4):
        columns, rows = rng.sample(bodies, 8), rng.sample(bodies, 3)
        pair.write(*(_changed(rng, body) for body in columns), by_rows=[_changed(rng, body) for body in rows])

    assert len(pair.stored("span_id")) > 20
    pair.assert_equal()


def _changed(rng: Random, body: bytes) -> bytes:
    """Return a body in which some spans end at another time, or say something else."""
    request = ExportTraceServiceRequest.FromString(body)
    for span in (span for envelope in request.resource_spans for group in envelope.scope_spans for span in group.spans):
        if rng.random() < 0.3:
            span.end_time_unix_nano = rng.choice((END_NS - 1, END_NS, END_NS + 1))
        if rng.random() < 0.3:
            span.status.message = rng.choice(("this", "that"))
    return request.SerializeToString()

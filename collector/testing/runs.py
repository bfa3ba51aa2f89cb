"""The promises of Reader about one run: found by its address, seen as soon as it was written, with its version and its senders."""

from __future__ import annotations

from collector.answers import Heard
from collector.picture import KIND_RUN, PENDING, RUNNING, SUCCEEDED
from collector.questions import RunRef
from collector.steady import SOURCE, at, batch_of, log_line, plain_span, run_begun, task_begun, task_ended
from collector.testing.opening import OpensStorage
from collector.testing.questions import find_view, fold_all, listed_runs, task_states, view_of, wait_for, write_each, writing_at_once
from collector.testing.stories import TRACE, trace_id_of
from otel_bridge.facts import Fact, ProcessBeat, SpanEnd, SpanMoment, Work
from otel_bridge.identity import run_key

INTERVAL_MS = 1000
# A process is gone when it is late with its third beat.
GONE_S = 2 * INTERVAL_MS / 1000


class RunPromises(OpensStorage):
    """What find_run() and view_run() answer."""

    def test_a_run_is_seen_as_soon_as_it_was_written(self) -> None:
        """A read never waits for the cache."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1"), task_begun("r1", "load:1", 1)))
            first = view_of(storage, "r1")
            storage.writer.write(batch_of(task_ended("r1", "load:1", 2)))
            second = view_of(storage, "r1")

            assert ([RUNNING], [SUCCEEDED]) == (task_states(first), task_states(second))

    def test_a_version_rises_with_every_fact(self) -> None:
        """An end, a moment, a line, and never falls."""
        with self.opened() as storage:
            versions = []
            for fact in (run_begun("r1"), task_begun("r1", "load:1", 1), log_line("r1", "hello", 2), task_ended("r1", "load:1", 3)):
                storage.writer.write(batch_of(fact))
                versions.append(view_of(storage, "r1").version)
            storage.writer.write(batch_of(run_begun("r2")))
            fold_all(storage)

            assert sorted(set(versions)) == versions
            assert versions[-1] <= view_of(storage, "r1").version

    def test_a_run_exists_as_soon_as_a_line_names_it(self) -> None:
        """Its beginning may come late, or never."""
        with self.opened() as storage:
            storage.writer.write(batch_of(log_line("r1", "hello", 3)))
            run = view_of(storage, "r1").run

            assert (PENDING, at(3)) == (run.status, run.first_ns)
            assert run_key(SOURCE, "r1") == wait_for(storage.reader.find_run(RunRef("r1")))

    def test_a_run_is_found_though_a_fact_without_its_name_came_first(self) -> None:
        """In a trace we made the trace id is the run's key: it was a plain trace until somebody named it."""
        with self.opened() as storage:
            line = log_line("r1", "hello", 1)
            line.work = Work()
            storage.writer.write(batch_of(line))
            storage.writer.write(batch_of(run_begun("r1")))
            found = wait_for(storage.reader.find_run(RunRef("r1", SOURCE)))
            run = view_of(storage, "r1").run

            assert (run_key(SOURCE, "r1"), KIND_RUN, "r1") == (found, run.kind, run.run_id)

    def test_a_run_nobody_named_is_not_found(self) -> None:
        """None, not an error."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1")))

            assert wait_for(storage.reader.find_run(RunRef("nobody"))) is None
            assert wait_for(storage.reader.view_run(bytes(16))) is None

    def test_source_and_generation_tell_twins_apart(self) -> None:
        """The newest generation is the default."""
        with self.opened() as storage:
            storage.writer.write(batch_of(run_begun("r1", generation=1)))
            storage.writer.write(batch_of(run_begun("r1", generation=0)))

            assert run_key(SOURCE, "r1", 1) == wait_for(storage.reader.find_run(RunRef("r1")))
            assert run_key(SOURCE, "r1", 0) == wait_for(storage.reader.find_run(RunRef("r1", SOURCE, 0)))
            assert wait_for(storage.reader.find_run(RunRef("r1", "elsewhere"))) is None
            assert wait_for(storage.reader.find_run(RunRef("r1", SOURCE, 2))) is None

    def test_a_trace_is_found_by_its_id_unless_a_run_has_that_name(self) -> None:
        """A named run comes before a trace, whichever was there first."""
        trace_id = trace_id_of(TRACE)
        span, named = plain_span(TRACE, 1, "GET /", 0), run_begun(trace_id.hex())
        found = []
        orders: tuple[list[Fact], ...] = ([span], [span, named], [named, span])
        for facts in orders:
            with self.opened() as storage:
                write_each(storage, (batch_of(fact) for fact in facts))
                found.append(wait_for(storage.reader.find_run(RunRef(trace_id.hex()))))

        assert [trace_id, named.work.run_key, named.work.run_key] == found

    def test_a_view_says_by_when_each_process_must_be_heard_again(self) -> None:
        """Silent for two intervals it is gone. Its last word counts, whatever came last, be it a beat or a moment of one of its spans.

        One that never said its interval is left out.
        """
        with self.opened() as storage:
            storage.writer.write(batch_of(_told_by("p1", "a:1"), _told_by("silent", "b:1"), received_s=2))
            storage.writer.write(batch_of(_beat("p1"), received_s=5))
            storage.writer.write(batch_of(_beat("p1"), received_s=4))
            beating = view_of(storage, "r1").heard
            storage.writer.write(batch_of(_told_by("p1", "c:1"), received_s=6))
            fold_all(storage)

            expected = Heard(at(6), {"p1": at(6 + GONE_S)})
            assert Heard(at(2), {"p1": at(5 + GONE_S)}) == beating
            assert [expected] * 2 == [view_of(storage, "r1").heard, listed_runs(storage)[0].heard]

    def test_a_process_that_exited_is_waited_for_no_longer(self) -> None:
        """0; if it is heard again afterwards, it lives."""
        with self.opened() as storage:
            storage.writer.write(batch_of(_told_by("p1", "a:1"), _beat("p1"), received_s=2))
            storage.writer.write(batch_of(_beat("p1", exited=True), received_s=3))
            exited = view_of(storage, "r1").heard
            storage.writer.write(batch_of(_beat("p1"), received_s=4))

            assert [{"p1": 0}, {"p1": at(4 + GONE_S)}] == [exited.beating_until_ns, view_of(storage, "r1").heard.beating_until_ns]

    def test_a_view_and_its_cursor_are_of_one_moment(self) -> None:
        """Read while another thread writes: what a view does not show is news after its cursor, and equal versions show the same."""
        traces = [trace_id_of(number) for number in range(1, 61)]
        seen = []
        with self.opened() as storage:
            with writing_at_once(storage, [[batch_of(_ended_in(trace_id)) for trace_id in traces]]) as (writer,):
                while writer.is_alive():
                    view = find_view(storage, "r1")
                    if view is not None:
                        seen.append(view)

            for view in seen:
                news = wait_for(storage.reader.changes(view.cursor))
                assert set(traces) == {*view.run.trace_ids, *news.trace_ids}
                assert set(view.run.trace_ids).isdisjoint(news.trace_ids)
            assert len({view.version for view in seen}) == len({(view.version, len(view.tasks)) for view in seen})

    def test_an_open_storage_answers_a_ping(self) -> None:
        """Readiness."""
        with self.opened() as storage:
            wait_for(storage.reader.ping())


def _told_by(process: str, node: str) -> SpanMoment:
    begun = task_begun("r1", node, 1)
    begun.process = process
    return begun


def _ended_in(trace_id: bytes) -> SpanEnd:
    end = task_ended("r1", f"t:{trace_id.hex()}", 1)
    end.trace_id = trace_id
    return end


def _beat(process: str, *, exited: bool = False) -> ProcessBeat:
    return ProcessBeat(process, at(0), INTERVAL_MS, exited)

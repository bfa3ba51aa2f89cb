"""The promises about traces that several runs share: facts that name no run reach the run that claims their trace, early or late."""

from __future__ import annotations

from collector.picture import KIND_RUN, KIND_TRACE, RUNNING, SUCCEEDED
from collector.questions import LogQuery
from collector.steady import SOURCE, at, batch_of, log_line, plain_span, run_begun
from collector.testing.opening import OpensStorage
from collector.testing.questions import fold_all, listed_runs, messages_of, task_states, view_of, wait_for
from collector.testing.stories import RUN_SPAN, TRACE, begun_in_trace, plain_begun, plain_line, trace_id_of
from otel_bridge.facts import ProcessBeat
from otel_bridge.identity import run_key


class ClaimPromises(OpensStorage):
    """Whose a fact is that names no run is decided at read, from all facts of its trace."""

    def test_a_plain_trace_is_a_run_until_a_named_run_claims_it(self) -> None:
        """Provisional: its spans go to the named run, and it is listed no more."""
        with self.opened() as storage:
            storage.writer.write(batch_of(plain_span(TRACE, 2, "load", 1, parent=1), plain_span(TRACE, 1, "GET /", 0)))
            fold_all(storage)
            before = listed_runs(storage)
            storage.writer.write(batch_of(begun_in_trace("r1", 0)))
            fold_all(storage)
            after = listed_runs(storage)

            assert [(KIND_TRACE, "shop:GET /", {SUCCEEDED: 1})] == [(one.run.kind, one.run.flow_key, one.run.counts) for one in before]
            assert [(KIND_RUN, "r1")] == [(one.run.kind, one.run.run_id) for one in after]

    def test_a_late_plain_span_reaches_the_run_that_claims_its_trace(self) -> None:
        """Its view, its version, its place in the lists."""
        with self.opened() as storage:
            storage.writer.write(batch_of(begun_in_trace("r1", 0)))
            fold_all(storage)
            before = view_of(storage, "r1")
            storage.writer.write(batch_of(plain_span(TRACE, 2, "load", 1, parent=RUN_SPAN)))
            fold_all(storage)
            after = view_of(storage, "r1")

            assert ([], [SUCCEEDED]) == (task_states(before), task_states(after))
            assert before.version < after.version
            assert [{SUCCEEDED: 1}] == [one.run.counts for one in listed_runs(storage)]

    def test_news_name_the_trace_of_a_fact_that_names_no_run(self) -> None:
        """So that whoever watches the run that claims it looks again."""
        with self.opened() as storage:
            storage.writer.write(batch_of(begun_in_trace("r1", 0), run_begun("r2")))
            cursor = view_of(storage, "r1").cursor
            storage.writer.write(batch_of(plain_line("late", 1)))
            news = wait_for(storage.reader.changes(cursor))

            assert {trace_id_of(TRACE)} == set(news.trace_ids)
            assert run_key(SOURCE, "r2") not in news.run_keys

    def test_lines_that_name_no_run_are_those_of_the_run_that_claims_their_trace(self) -> None:
        """With a span or without; until a second run claims the trace."""
        with self.opened() as storage:
            storage.writer.write(batch_of(begun_in_trace("r1", 0), plain_line("of the trace", 1), plain_line("of its span", 2, span=RUN_SPAN)))
            alone = messages_of(storage, "r1")
            other = log_line("r2", "of another run", 3)
            other.trace_id = trace_id_of(TRACE)
            storage.writer.write(batch_of(other))

            assert ["of the trace", "of its span"] == alone
            assert ["of its span"] == messages_of(storage, "r1")
            assert ["of another run"] == messages_of(storage, "r2")

    def test_lines_of_a_plain_trace_are_those_of_its_run(self) -> None:
        """By the task their span is."""
        with self.opened() as storage:
            child = plain_span(TRACE, 2, "load", 1, parent=1)
            storage.writer.write(batch_of(plain_span(TRACE, 1, "GET /", 0), child, plain_line("first", 1), plain_line("second", 2, span=2)))

            def found(query: LogQuery) -> list[str]:
                return [entry.message for entry in wait_for(storage.reader.read_logs(trace_id_of(TRACE), query)).items]

            assert ["first", "second"] == found(LogQuery())
            assert ["second"] == found(LogQuery(node=child.span_id.hex()))

    def test_a_trace_whose_process_falls_silent_is_over(self) -> None:
        """Time alone changes it: the lists follow without a new fact."""
        with self.opened() as storage:
            facts = (plain_span(TRACE, 1, "GET /", 0), plain_begun(2, 0.5, "p1"), ProcessBeat("p1", at(2), 1000))
            storage.writer.write(batch_of(*facts, received_s=2))
            fold_all(storage, at(3))
            beating = [one.run.status for one in listed_runs(storage)]
            fold_all(storage, at(60))
            silent = [one.run.status for one in listed_runs(storage)]

            assert ([RUNNING], [SUCCEEDED]) == (beating, silent)

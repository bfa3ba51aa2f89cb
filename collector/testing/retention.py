"""The promises of Writer.expire: what is too old goes for good, what is younger stays as it was, and an open run keeps its facts."""

from __future__ import annotations

from collector.answers import Expired
from collector.batch import Batch
from collector.picture import RUNNING, SUCCEEDED
from collector.questions import RunRef
from collector.rows import DAY_NS
from collector.steady import SECOND_NS, SOURCE, at, batch_of, log_line, plain_span, run_begun, run_ended, task_begun, task_ended
from collector.storage import Storage
from collector.testing.opening import OpensStorage
from collector.testing.questions import (
    everything_of,
    find_view,
    flow_of,
    fold_all,
    listed_runs,
    messages_of,
    view_of,
    wait_for,
    write_each,
    writing_at_once,
)
from collector.testing.stories import TRACE, begun_in_trace, story, trace_id_of
from otel_bridge import conventions as c
from otel_bridge.facts import Fact, ProcessBeat
from otel_bridge.identity import run_key

DAY_S = DAY_NS // SECOND_NS
KEPT_DAYS = 2
# The first day of the tests is kept until two days are over, and not a moment longer.
LATER = at(3 * DAY_S)


class KeepPromises(OpensStorage):
    """What expire() does not take away."""

    def test_without_a_retention_everything_is_kept(self) -> None:
        """However old."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*story()))
            fold_all(storage)
            before = everything_of(storage, "r1")

            assert storage.writer.expire(at(10_000 * DAY_S)) is None
            assert before == everything_of(storage, "r1")


class RetentionPromises(OpensStorage):
    """What expire() takes away."""

    def test_an_old_run_goes_wholly(self) -> None:
        """From its page, the lists, the log and its trace; its flow stays in the catalogue."""
        with self.keeping(KEPT_DAYS) as storage:
            storage.writer.write(batch_of(*story()))
            fold_all(storage)
            expired = expire_all(storage)
            facts = wait_for(storage.reader.read_trace(run_key(SOURCE, "r1")))

            assert (True, 1) == (expired.facts > 0, expired.runs)
            assert ([], None, None) == (listed_runs(storage), find_view(storage, "r1"), wait_for(storage.reader.find_run(RunRef("r1"))))
            assert ([], [], [], []) == (facts.spans, facts.moments, facts.logs, messages_of(storage, "r1"))
            assert ({}, None) == (flow_of(storage, "etl").run_counts, flow_of(storage, "etl").latest)

    def test_an_old_trace_goes_wholly(self) -> None:
        """Nobody named it."""
        with self.keeping(KEPT_DAYS) as storage:
            storage.writer.write(batch_of(plain_span(TRACE, 1, "GET /", 0), plain_span(TRACE, 2, "load", 0, parent=1)))
            fold_all(storage)
            expire_all(storage)

            assert ([], []) == (listed_runs(storage), wait_for(storage.reader.read_trace(trace_id_of(TRACE))).spans)

    def test_what_is_younger_stays_as_it_was(self) -> None:
        """Every row of it."""
        with self.keeping(KEPT_DAYS) as storage:
            young: list[Fact] = [
                run_begun("young", DAY_S),
                log_line("young", "hello", DAY_S),
                task_ended("young", "a:1", DAY_S),
                run_ended("young", DAY_S),
            ]
            storage.writer.write(batch_of(*story()))
            storage.writer.write(batch_of(*young, received_s=DAY_S))
            fold_all(storage)
            before, listed = everything_of(storage, "young"), listed_runs(storage)[:1]
            expire_all(storage)

            assert (before, listed) == (everything_of(storage, "young"), listed_runs(storage))

    def test_nothing_goes_before_its_time(self) -> None:
        """A day is kept to its end."""
        with self.keeping(KEPT_DAYS) as storage:
            storage.writer.write(batch_of(*story()))

            assert Expired() == expire_all(storage, at(2 * DAY_S))
            assert 1 == expire_all(storage).runs

    def test_a_run_across_the_cut_stays_as_it_was_before(self) -> None:
        """Its head and its place in the lists; of its task runs and lines there is what is left. It says so."""
        with self.keeping(KEPT_DAYS) as storage:
            write_each(storage, _across_the_cut())
            fold_all(storage)
            (before,) = listed_runs(storage)
            expire_all(storage)
            (listed,) = listed_runs(storage)
            view = view_of(storage, "r1")

            assert (False, True, True) == (before.run.partly_deleted, listed.run.partly_deleted, view.run.partly_deleted)
            assert ({SUCCEEDED: 2}, {SUCCEEDED: 2}, at(0)) == (listed.run.counts, view.run.counts, view.run.started_ns)
            assert {"day": 1} == view.run.params == before.run.params
            assert (["late:1"], ["late"]) == ([task.node for task in view.tasks], messages_of(storage, "r1"))

    def test_a_run_with_news_is_folded_before_it_loses_a_fact(self) -> None:
        """What nobody had time to fold yet is in its last picture."""
        with self.keeping(KEPT_DAYS) as storage:
            early, late = _across_the_cut()
            storage.writer.write(early)
            fold_all(storage)
            storage.writer.write(late)
            storage.writer.write(batch_of(plain_span(TRACE, 1, "never folded", 0)))
            expire_all(storage)
            fold_all(storage)
            (listed,) = listed_runs(storage)

            assert (SUCCEEDED, {SUCCEEDED: 2}, True) == (listed.run.status, listed.run.counts, listed.run.partly_deleted)

    def test_late_facts_do_not_change_a_run_that_lost_some(self) -> None:
        """Of what is left another run would become. They are stored and shown with what is left."""
        with self.keeping(KEPT_DAYS) as storage:
            write_each(storage, _across_the_cut())
            fold_all(storage)
            expire_all(storage)
            (before,) = listed_runs(storage)
            storage.writer.write(batch_of(task_ended("r1", "later:1", DAY_S + 9, c.RESULT_FAILURE), received_s=3 * DAY_S))
            fold_all(storage)
            view = view_of(storage, "r1")

            assert [before] == listed_runs(storage)
            assert (SUCCEEDED, ["late:1", "later:1"]) == (view.run.status, [task.node for task in view.tasks])

    def test_a_run_that_lost_some_goes_with_the_rest(self) -> None:
        """A day later."""
        with self.keeping(KEPT_DAYS) as storage:
            write_each(storage, _across_the_cut())
            expire_all(storage)
            expired = expire_all(storage, at(4 * DAY_S))

            assert (1, None) == (expired.runs, find_view(storage, "r1"))

    def test_an_open_run_keeps_its_facts_and_goes_on(self) -> None:
        """Weeks if need be, as long as it is heard of; its log lines go day by day."""
        with self.keeping(KEPT_DAYS) as storage:
            begun: list[Fact] = [run_begun("r1"), task_ended("r1", "first:1", 1), log_line("r1", "early", 1)]
            storage.writer.write(batch_of(*begun))
            storage.writer.write(batch_of(log_line("r1", "late", 2 * DAY_S), received_s=2 * DAY_S))
            fold_all(storage)
            expire_all(storage)
            storage.writer.write(batch_of(task_ended("r1", "last:1", 3 * DAY_S), received_s=3 * DAY_S))
            fold_all(storage)
            (listed,) = listed_runs(storage)

            assert ["late"] == messages_of(storage, "r1")
            assert (RUNNING, at(0), {SUCCEEDED: 2}) == (listed.run.status, listed.run.started_ns, listed.run.counts)
            assert (False, listed.run.counts) == (listed.run.partly_deleted, view_of(storage, "r1").run.counts)

    def test_an_open_run_whose_process_beats_is_heard_of(self) -> None:
        """It may wait for somebody's word, and say nothing else."""
        with self.keeping(KEPT_DAYS) as storage:
            begun = run_begun("r1")
            begun.process = "p1"
            storage.writer.write(batch_of(begun))
            storage.writer.write(batch_of(ProcessBeat("p1", at(2 * DAY_S), 1000), received_s=2 * DAY_S))
            fold_all(storage)

            assert Expired() == expire_all(storage)
            assert RUNNING == view_of(storage, "r1").run.status

    def test_an_open_run_that_nobody_hears_of_goes(self) -> None:
        """Its process died long ago."""
        with self.keeping(KEPT_DAYS) as storage:
            storage.writer.write(batch_of(run_begun("r1"), task_begun("r1", "a:1", 1)))
            fold_all(storage)

            assert (1, []) == (expire_all(storage).runs, listed_runs(storage))

    def test_facts_of_no_day_go_by_their_receipt(self) -> None:
        """The clock that gave them their time is wrong by years."""
        with self.keeping(KEPT_DAYS) as storage:
            storage.writer.write(batch_of(task_ended("old", "a:1", 1000 * DAY_S), run_ended("old", 1000 * DAY_S)))
            storage.writer.write(batch_of(task_ended("new", "a:1", 1000 * DAY_S), run_ended("new", 1000 * DAY_S), received_s=DAY_S))
            fold_all(storage)
            expired = expire_all(storage)

            assert (1, ["new"]) == (expired.runs, [one.run.run_id for one in listed_runs(storage)])
            assert 1 == len(view_of(storage, "new").tasks)

    def test_facts_that_name_no_run_stay_with_the_run_that_claims_their_trace(self) -> None:
        """As long as there are any, it is found by its name."""
        with self.keeping(KEPT_DAYS) as storage:
            ended = run_ended("r1", 2, c.RESULT_SUCCESS)
            ended.trace_id, ended.span_id = trace_id_of(TRACE), begun_in_trace("r1", 0).span_id
            storage.writer.write(batch_of(begun_in_trace("r1", 0), ended, plain_span(TRACE, 1, "GET /", 0)))
            storage.writer.write(batch_of(plain_span(TRACE, 2, "load", DAY_S, parent=1), received_s=DAY_S))
            fold_all(storage)
            expire_all(storage)
            left = [(one.run.run_id, one.run.status, one.run.partly_deleted) for one in listed_runs(storage)]
            expire_all(storage, at(4 * DAY_S))

            assert [("r1", SUCCEEDED, True)] == left
            assert ([], None) == (listed_runs(storage), find_view(storage, "r1"))

    def test_of_several_runs_in_one_trace_the_old_one_goes(self) -> None:
        """A fact that names its run is no other run's."""
        with self.keeping(KEPT_DAYS) as storage:
            old, young = task_ended("old", "a:1", 1), task_ended("young", "a:1", DAY_S)
            old.trace_id = young.trace_id = trace_id_of(TRACE)
            storage.writer.write(batch_of(old))
            storage.writer.write(batch_of(run_ended("old", 2, c.RESULT_SUCCESS), young, received_s=DAY_S))
            storage.writer.write(batch_of(run_ended("young", DAY_S + 1, c.RESULT_SUCCESS), received_s=DAY_S))
            fold_all(storage)
            expire_all(storage)

            assert [("young", False)] == [(one.run.run_id, one.run.partly_deleted) for one in listed_runs(storage)]

    def test_a_fact_that_comes_after_its_run_has_gone_makes_a_run_of_itself(self) -> None:
        """Of a day that is gone it would be one of no day, and kept from its receipt."""
        with self.keeping(KEPT_DAYS) as storage:
            storage.writer.write(batch_of(*story()))
            expire_all(storage)
            storage.writer.write(batch_of(task_ended("r1", "late:1", 1000 * DAY_S), received_s=3 * DAY_S))
            fold_all(storage)
            (listed,) = listed_runs(storage)

            assert ({SUCCEEDED: 1}, False) == (listed.run.counts, listed.run.partly_deleted)
            assert ["late:1"] == [task.node for task in view_of(storage, "r1").tasks]

    def test_what_is_gone_is_gone_once(self) -> None:
        """None says that there is nothing more to do, and says it again."""
        with self.keeping(KEPT_DAYS) as storage:
            storage.writer.write(batch_of(*story()))
            expire_all(storage)

            assert storage.writer.expire(LATER) is None
            assert Expired() == expire_all(storage, at(4 * DAY_S))

    def test_facts_written_meanwhile_survive(self) -> None:
        """Of new runs, and of runs that are on their way out."""
        with self.keeping(KEPT_DAYS) as storage:
            storage.writer.write(batch_of(*(task_ended(f"old-{run}", "a:1", 1) for run in range(200))))
            fold_all(storage)
            late = [batch_of(task_ended(f"old-{run}", "late:1", 3 * DAY_S), received_s=3 * DAY_S) for run in range(200)]
            young = [batch_of(task_ended(f"young-{run}", "a:1", 3 * DAY_S), received_s=3 * DAY_S) for run in range(100)]
            with writing_at_once(storage, [late, young]):
                expire_all(storage)
            fold_all(storage)
            ids = [*(f"old-{run}" for run in range(200)), *(f"young-{run}" for run in range(100))]

            assert [["late:1"]] * 200 + [["a:1"]] * 100 == [[task.node for task in view_of(storage, one).tasks] for one in ids]


def expire_all(storage: Storage, now_ns: int = LATER) -> Expired:
    """Take away everything that is too old, and return what went, but for the space."""
    facts = runs = 0
    while (expired := storage.writer.expire(now_ns)) is not None:
        facts, runs = facts + expired.facts, runs + expired.runs
    return Expired(facts, runs)


def _across_the_cut() -> tuple[Batch, Batch]:
    """Return a run that is over: params, a task run and a line of the first day; a task run, a line and the end of the second."""
    begun = run_begun("r1")
    begun.attributes = {c.PARAMS: {"day": 1}}
    early: list[Fact] = [begun, task_ended("r1", "early:1", 1), log_line("r1", "early", 1)]
    late: list[Fact] = [task_ended("r1", "late:1", DAY_S), log_line("r1", "late", DAY_S), run_ended("r1", DAY_S + 1, c.RESULT_SUCCESS)]
    return batch_of(*early), batch_of(*late, received_s=DAY_S)

"""The promises about flows: learnt from named runs, described by the newest, each under one id wherever it is asked for."""

from __future__ import annotations

import itertools

from collector.picture import FAILED, RUNNING
from collector.steady import batch_of, plain_span, run_begun
from collector.testing.opening import OpensStorage
from collector.testing.questions import flow_of, fold_all, listed_runs, view_of, wait_for
from collector.testing.stories import TRACE, run_of_flow, story
from otel_bridge import conventions as c


class CataloguePromises(OpensStorage):
    """What list_flows() and find_flow() answer."""

    def test_the_catalogue_holds_the_flows_of_named_runs(self) -> None:
        """With counts by state and the newest run; a plain trace makes no flow."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*story(), run_begun("r2", 50), plain_span(TRACE, 1, "GET /", 0)))
            fold_all(storage)

            flows = wait_for(storage.reader.list_flows(10, None)).items
            found = flow_of(storage, "etl")

            assert ["etl"] == [flow.flow_key for flow in flows]
            assert ({FAILED: 1, RUNNING: 1}, "r2") == (found.run_counts, found.latest.run.run_id if found.latest else "")
            assert wait_for(storage.reader.find_flow("nothing")) is None

    def test_a_plain_trace_counts_for_no_flow_though_it_looks_like_one(self) -> None:
        """Its root may have the name of a flow."""
        with self.opened() as storage:
            trace = plain_span(TRACE, 1, "GET /", 50)
            storage.writer.write(batch_of(run_of_flow("r1", trace.work.flow_key, 0), trace))
            fold_all(storage)
            flow = flow_of(storage, trace.work.flow_key)

            assert ({RUNNING: 1}, "r1") == (flow.run_counts, flow.latest.run.run_id if flow.latest else "")

    def test_pages_of_flows_follow_one_another(self) -> None:
        """By flow_key, each once, none left out."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*(run_of_flow(f"r-{key}", key, 0) for key in "dbeac")))
            fold_all(storage)
            first = wait_for(storage.reader.list_flows(2, None))
            second = wait_for(storage.reader.list_flows(2, first.next_cursor))
            third = wait_for(storage.reader.list_flows(2, second.next_cursor))

            assert ["ab", "cd", "e"] == ["".join(flow.flow_key for flow in page.items) for page in (first, second, third)]
            assert third.next_cursor is None

    def test_the_newest_run_describes_its_flow(self) -> None:
        """Whichever was folded last, and though an older one had said the same."""
        described = [(1, "as it was"), (2, "changed"), (3, "as it was")]
        with self.opened() as storage:
            for number, order in enumerate(itertools.permutations(described)):
                for seconds, text in order:
                    words = {c.FLOW_DESCRIPTION: text, c.TAGS: [text]}
                    storage.writer.write(batch_of(run_of_flow(f"r{number}-{seconds}", f"flow-{number}", seconds, **words)))
                    fold_all(storage)
                flow = flow_of(storage, f"flow-{number}")

                assert ("as it was", ["as it was"]) == (flow.description, list(flow.tags)), order

    def test_the_newest_run_describes_its_flow_after_a_restart_too(self) -> None:
        """What was written must say how old it is."""
        if not self.durable:
            return
        storage = self.make_storage()
        storage.open()
        storage.writer.write(batch_of(run_of_flow("r2", "etl", 2, **{c.FLOW_DESCRIPTION: "newer"})))
        fold_all(storage)

        with self.reopened(storage) as again:
            again.writer.write(batch_of(run_of_flow("r1", "etl", 1, **{c.FLOW_DESCRIPTION: "older"})))
            fold_all(again)

            assert "newer" == flow_of(again, "etl").description

    def test_a_flow_has_one_id_wherever_it_is_asked_for(self) -> None:
        """The sender's if it gave one."""
        for words in ({}, {c.FLOW_ID: "flow-1"}):
            with self.opened() as storage:
                storage.writer.write(batch_of(run_of_flow("r1", "etl", 0, **words), run_of_flow("r2", "other", 0)))
                fold_all(storage)
                flow = flow_of(storage, "etl")
                listed = {one.flow_key: one.id for one in wait_for(storage.reader.list_flows(10, None)).items}
                of_runs = {one.run.flow_key: one.flow_id for one in listed_runs(storage)}

                assert words.get(c.FLOW_ID, flow.id) == flow.id == listed["etl"] == of_runs["etl"] == view_of(storage, "r1").flow_id
                assert flow.id not in ("", listed["other"])

    def test_the_tasks_of_a_flow_have_ids_that_stay(self) -> None:
        """By task_key; the same in the next run."""
        with self.opened() as storage:
            storage.writer.write(batch_of(*story()))
            fold_all(storage)
            first = view_of(storage, "r1").task_ids
            storage.writer.write(batch_of(run_begun("r2", 50)))
            fold_all(storage)

            assert {"extract", "load"} == first.keys()
            assert 2 == len(set(first.values()) - {""})
            assert first == view_of(storage, "r2").task_ids

"""kill -9 at random moments under load: is everything acknowledged there, once, and was it told? `./run bench crash --rounds 200`."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.folds import compare_folds, wait_until_folded
from tests.bench.requests import LineMaker, Request, RequestMaker
from tests.bench.senders import Sender, wait_until_taken
from tests.bench.sites import Site, open_site
from tests.bench.stored import Account, read_facts, settle
from tests.bench.watchers import Watcher

SENDERS = 6
# Long enough for several commits and rounds of folding, short enough that many a round dies in its first.
LONGEST_LIFE_S = 0.6
# Every so often it is killed while it starts, too: schema, recovery of the log, first sweep.
START_KILLED_EVERY = 4
LONGEST_START_S = 2.0
FOLDED_WITHIN_S = 60.0
# A replica that lost its connections may find out, connect and look at its news again within this, on a busy machine.
TOLD_WITHIN_S = 30.0
TELL_EVERY = 25
FAULTS = ("Exception in ASGI application", "by a fault of ours", "failed and is started again", "in a way it does not promise")


@dataclass(slots=True)
class Outcome:
    """What was left after all rounds.

    unfolded: ids of listed runs that differ from a fresh fold. runs: listed, of expected_runs. untold: lines that were acknowledged, and that
    a watcher of a server that was spared did not hear of; it came again so many times, and so many times it began anew. faults: what a server
    logged of something that nobody foresaw.
    """

    rounds: int
    account: Account
    integrity: str
    runs: int
    expected_runs: int
    unfolded: list[str]
    statuses: set[int]
    told: int
    untold: list[str]
    interrupted: int
    resyncs: int
    faults: list[str]

    @property
    def is_right(self) -> bool:
        """Return whether every promise was kept."""
        listed = not self.unfolded and self.runs == self.expected_runs
        told = not self.untold and not self.faults and self.statuses <= {200, 503}
        return self.account.is_right and self.integrity == "ok" and listed and told

    def __str__(self) -> str:
        """Say it in one line."""
        folds = f"{self.runs} of {self.expected_runs} runs listed, {len(self.unfolded)} unlike a fresh fold"
        watched = f"{self.told} lines told, {len(self.untold)} not ({self.interrupted} reconnects, {self.resyncs} resyncs)"
        answers = f"answers {sorted(self.statuses)}, {len(self.faults)} faults"
        return f"{self.rounds} rounds: {self.account}; store {self.integrity}; {folds}; {watched}; {answers}"


@dataclass(slots=True)
class Crashes:
    """Rounds of load and SIGKILL. The same seed kills at the same times; the load is as fast as the machine is."""

    site: Site
    seed: int
    tell: Callable[[str], None]
    acknowledged: list[Request] = field(default_factory=list)
    unanswered: list[Request] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    told: int = 0
    untold: list[str] = field(default_factory=list)
    interrupted: int = 0
    resyncs: int = 0

    def run(self, rounds: int) -> Outcome:
        """Do this many rounds, then look at what is stored."""
        rng = random.Random(self.seed)
        for number in range(rounds):
            if len(self.site.servers) == 1 and number % START_KILLED_EVERY == 0:
                self._kill_while_starting(rng.uniform(0, LONGEST_START_S))
            self._kill_under_load(number, rng)
            if (number + 1) % TELL_EVERY == 0:
                self.tell(f"  {number + 1} rounds, {len(self.acknowledged)} requests acknowledged")
        return self._look(rounds)

    def _kill_while_starting(self, after_s: float) -> None:
        server = self.site.servers[0]
        server.spawn()
        threading.Event().wait(after_s)
        server.kill()

    def _kill_under_load(self, number: int, rng: random.Random) -> None:
        self.site.start()
        spared = rng.choice(self.site.servers) if len(self.site.servers) > 1 else None
        run_id = f"watched-{self.seed}-{number}"
        senders = self._senders(number, rng)
        speakers = [Sender(server.port, LineMaker(run_id, f"{number}-{place}")) for place, server in enumerate(self.site.servers)]
        watcher = Watcher(spared.port, run_id) if spared else None
        for thread in (*senders, *speakers, *([watcher] if watcher else [])):
            thread.start()
        threading.Event().wait(rng.uniform(0, LONGEST_LIFE_S))
        self.site.strike(number, rng, spared)
        if spared:
            self.site.start()
            wait_until_taken([sender for sender in (*senders, *speakers) if sender.is_alive()])
        for sender in (*senders, *speakers):
            self._end(sender)
        if watcher:
            self._settle_told(watcher, speakers)

    def _senders(self, number: int, rng: random.Random) -> list[Sender]:
        """Share the senders among the servers; each sends some of what was not answered before again."""
        again = [rng.sample(self.unanswered, min(3, len(self.unanswered))) for _ in range(SENDERS)]
        ports = [self.site.servers[place % len(self.site.servers)].port for place in range(SENDERS)]
        return [Sender(ports[place], RequestMaker(f"{self.seed}-{number}-{place}"), again[place]) for place in range(SENDERS)]

    def _end(self, sender: Sender) -> None:
        sender.stop()
        sender.join()
        self.acknowledged += sender.acknowledged
        self.unanswered += sender.unanswered
        self.statuses |= sender.statuses

    def _settle_told(self, watcher: Watcher, speakers: Sequence[Sender]) -> None:
        lines = {key[1] for sender in speakers for request in sender.acknowledged for key in request.facts if key[0] == "log"}
        self.untold += watcher.wait_for(lines, TOLD_WITHIN_S)
        self.told += len(lines)
        watcher.stop()
        self.interrupted += watcher.interrupted
        self.resyncs += watcher.resyncs

    def _look(self, rounds: int) -> Outcome:
        self.site.start()
        wait_until_folded(self.site.where, FOLDED_WITHIN_S)
        runs, unfolded = compare_folds(self.site.servers[0].port)
        for server in self.site.servers:
            server.stop()
        stored = read_facts(self.site.where)
        return Outcome(
            rounds=rounds,
            account=settle(self.acknowledged, self.unanswered, stored),
            integrity=self.site.check(),
            runs=runs,
            # All our log lines come beside a moment of the same trace.
            expected_runs=len({key[1] for key in stored if key[0] != "log"}),
            unfolded=unfolded,
            statuses=self.statuses,
            told=self.told,
            untold=self.untold,
            interrupted=self.interrupted,
            resyncs=self.resyncs,
            faults=[
                line for server in self.site.servers for line in server.log.read_text().splitlines() if any(word in line for word in FAULTS)
            ],
        )


def crash(
    folder: Path, rounds: int, seed: int, tell: Callable[[str], None] = lambda line: None, storage: str = "sqlite", replicas: int = 1
) -> Outcome:
    """Run the rounds in a folder of their own. tell: takes a line now and then, of how far it is. storage: "sqlite" or "postgres"."""
    with open_site(storage, folder, replicas) as site:
        return Crashes(site, seed, tell).run(rounds)

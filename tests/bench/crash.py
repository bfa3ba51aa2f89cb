"""kill -9 at random moments under load: is everything acknowledged there, once? `./run bench crash --rounds 200`."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.folds import compare_folds, wait_until_folded
from tests.bench.requests import Request, RequestMaker
from tests.bench.senders import Sender
from tests.bench.stored import Account, check_file, read_facts, settle
from tests.servers import Server

SENDERS = 6
# Long enough for several commits and rounds of folding, short enough that many a round dies in its first.
LONGEST_LIFE_S = 0.6
# Every so often it is killed while it starts, too: schema, recovery of the log, first sweep.
START_KILLED_EVERY = 4
LONGEST_START_S = 2.0
FOLDED_WITHIN_S = 60.0
TELL_EVERY = 25


@dataclass(slots=True)
class Outcome:
    """What was left after all rounds. unfolded: ids of listed runs that differ from a fresh fold. runs: listed, of expected_runs."""

    rounds: int
    account: Account
    integrity: str
    runs: int
    expected_runs: int
    unfolded: list[str]
    statuses: set[int] = field(default_factory=set)

    @property
    def is_right(self) -> bool:
        """Return whether every promise was kept."""
        return self.account.is_right and self.integrity == "ok" and not self.unfolded and self.runs == self.expected_runs

    def __str__(self) -> str:
        """Say it in one line."""
        folds = f"{self.runs} of {self.expected_runs} runs listed, {len(self.unfolded)} unlike a fresh fold"
        return f"{self.rounds} rounds: {self.account}; file {self.integrity}; {folds}; answers {sorted(self.statuses)}"


@dataclass(slots=True)
class Crashes:
    """Rounds of load and SIGKILL on one data folder. The same seed kills at the same times; the load is as fast as the machine is."""

    server: Server
    seed: int
    tell: Callable[[str], None]
    acknowledged: list[Request] = field(default_factory=list)
    unanswered: list[Request] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def run(self, rounds: int) -> Outcome:
        """Do this many rounds, then look at what is stored."""
        rng = random.Random(self.seed)
        for number in range(rounds):
            if number % START_KILLED_EVERY == 0:
                self._kill_while_starting(rng.uniform(0, LONGEST_START_S))
            self._kill_under_load(number, rng)
            if (number + 1) % TELL_EVERY == 0:
                self.tell(f"  {number + 1} rounds, {len(self.acknowledged)} requests acknowledged")
        return self._look(rounds)

    def _kill_while_starting(self, after_s: float) -> None:
        self.server.spawn()
        threading.Event().wait(after_s)
        self.server.kill()

    def _kill_under_load(self, number: int, rng: random.Random) -> None:
        self.server.start()
        again = [rng.sample(self.unanswered, min(3, len(self.unanswered))) for _ in range(SENDERS)]
        senders = [Sender(self.server.port, RequestMaker(f"{self.seed}-{number}-{place}"), again[place]) for place in range(SENDERS)]
        for sender in senders:
            sender.start()
        threading.Event().wait(rng.uniform(0, LONGEST_LIFE_S))
        self.server.kill()
        for sender in senders:
            sender.join()
            self.acknowledged += sender.acknowledged
            self.unanswered += sender.unanswered
            self.statuses |= sender.statuses

    def _look(self, rounds: int) -> Outcome:
        self.server.start()
        wait_until_folded(self.server.database, FOLDED_WITHIN_S)
        runs, unfolded = compare_folds(self.server.port)
        self.server.stop()
        stored = read_facts(self.server.database)
        account = settle(self.acknowledged, self.unanswered, stored)
        # All our log lines come beside a moment of the same trace.
        traces = {key[1] for key in stored if key[0] != "log"}
        return Outcome(rounds, account, check_file(self.server.database), runs, len(traces), unfolded, self.statuses)


def crash(folder: Path, rounds: int, seed: int, tell: Callable[[str], None] = lambda line: None) -> Outcome:
    """Run the rounds in a folder of their own. tell: takes a line now and then, of how far it is."""
    server = Server(folder)
    try:
        return Crashes(server, seed, tell).run(rounds)
    finally:
        server.kill()

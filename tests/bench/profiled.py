"""A server that takes samples of itself: `python -m tests.bench.profiled FILE serve ...` is `flowspan serve ...`, and writes FILE at its end.

Every few milliseconds each thread's stack is noted with the CPU time the thread has used since, so that native code shows at the line that
called it. SIGUSR1 makes it forget what it saw until then. FILE holds a line for each stack (`thread;outermost;...;innermost microseconds`),
as flame graph tools take it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from collector import cli

EVERY_S = 0.004
DEEPEST = 60


class Sampler(threading.Thread):
    """Samples the other threads of this process."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.stacks: Counter[tuple[str, ...]] = Counter()
        self._used_ns: dict[int, int] = {}

    def run(self) -> None:
        """Sample until the process ends."""
        pause = threading.Event()
        while not pause.wait(EVERY_S):
            self.sample()

    def sample(self) -> None:
        """Note where each thread is, and what it has used since the last time."""
        frames = sys._current_frames()
        for thread in threading.enumerate():
            if thread.ident is None or thread is self:
                continue
            used_ns = time.clock_gettime_ns(time.pthread_getcpuclockid(thread.ident))
            spent_ns = used_ns - self._used_ns.get(thread.ident, used_ns)
            self._used_ns[thread.ident] = used_ns
            if spent_ns and thread.ident in frames:
                self.stacks[(_group(thread), *_stack(frames[thread.ident]))] += spent_ns // 1000

    def write(self, file: Path) -> None:
        """Write what was seen."""
        file.write_text("".join(f"{';'.join(stack)} {used_us}\n" for stack, used_us in self.stacks.most_common()))


def _group(thread: threading.Thread) -> str:
    """The threads of a pool are one."""
    return thread.name.rstrip("0123456789").rstrip("_-")


def _stack(frame: FrameType | None) -> list[str]:
    lines: list[str] = []
    while frame is not None and len(lines) < DEEPEST:
        code = frame.f_code
        lines.append(f"{_short(code.co_filename)}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return lines[::-1]


def _short(file: str) -> str:
    """Return a file's name as far as it tells anything: from our folder, or the package's, on."""
    path = file.rpartition("site-packages" + os.sep)[2]
    return path.removeprefix(f"{Path.cwd()}{os.sep}")


def main() -> None:
    """Run the command line, sampled."""
    file = Path(sys.argv.pop(1))
    sampler = Sampler()

    def end(number: int, frame: object) -> None:
        sampler.write(file)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)  # the server raises it again once it has stopped
    signal.signal(signal.SIGUSR1, lambda number, frame: sampler.stacks.clear())
    sampler.start()
    cli.main()


if __name__ == "__main__":
    main()

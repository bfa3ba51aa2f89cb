"""What a forked child needs of the bridge: its own, and a file that is not locked by a thread it does not have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.servers import clean_environment

ROOT = Path(__file__).parents[2]


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program that forks, in a process of its own: pytest's has threads that a child must not meet."""
    environment = clean_environment(PYTHONPATH=str(ROOT))
    return subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_fork_waits_for_the_spool_so_that_the_child_can_write_to_it(tmp_path: Path) -> None:
    code = """
import os, sys, threading
from pathlib import Path
from otel_bridge import bridge
from otel_bridge.parcels import Parcel
from otel_bridge.runs import Run, RunName
from otel_bridge.worth import Worth

bridge.configure(url="http://127.0.0.1:9", spool=Path(sys.argv[1]))
Run(RunName("run", "flow")).begin()
spool = bridge.bridge().spool
inside, enough = threading.Event(), threading.Event()

def write():
    with spool._transaction():
        inside.set()
        enough.wait()

threading.Thread(target=write).start()
inside.wait()
threading.Timer(0.2, enough.set).start()
child = os.fork()
if not child:
    try:
        bridge.bridge().spool.put([Parcel("/v1/logs", b"line", Worth.LINE, 1)])
    except OSError as error:
        print(error, flush=True)
        os._exit(1)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

    done = run(code, str(tmp_path / "spool.db"))

    assert (0, "") == (done.returncode, done.stdout), done.stderr


def test_a_child_knows_that_the_server_fails_and_does_not_warn_again(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from otel_bridge import bridge
from otel_bridge.runs import Run, RunName

bridge.configure(url="http://127.0.0.1:9", spool=Path(sys.argv[1]))
Run(RunName("run", "flow")).begin()
bridge.flush(2.0)
for _ in range(3):
    child = os.fork()
    if not child:
        Run(RunName("run", "flow")).log("from a child")
        bridge.shutdown()
        os._exit(0)
    os.waitpid(child, 0)
"""

    done = run(code, str(tmp_path / "spool.db"))

    assert (0, 1) == (done.returncode, done.stderr.count("will be sent later")), done.stderr

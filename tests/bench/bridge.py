"""What the bridge costs the program it watches: microseconds in its threads, its start, its duration, its memory; and how soon it is seen."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bad_servers import BadServer, silence, status
from tests.bench.table import Figure
from tests.bridge_programs import environment
from tests.ports import free_ports
from tests.servers import Server

# Of what is measured in a loop: the least of so many rounds, each of so many calls, in CPU time of the thread: others have the interpreter too.
ROUNDS, CALLS = 9, 500
# Programs of each kind, one after the other in turn, so that what the machine does meanwhile falls on all alike.
PROGRAMS = 3
FLOW_S = 2.0
SLEEPING_TASKS = 60
# What a computing program loses is less than what this machine's speed changes within seconds, so its time is not compared with another's but
# with its own thread's CPU time: beyond that it has waited, for the interpreter. It tells and is silent in turn; seven events a task.
EVENTS_A_SECOND = 200
PHASE_S, PHASES = 2.0, 10
DELAYED_TASKS = 60
LINES_WHILE_HANGING = 200_000
MIB = 1024


def measure_bridge(folder: Path, storage: str) -> list[Figure]:
    """Measure what stands in the budgets (design, section 8). It does not depend on the storage, so it is done once."""
    if storage != "sqlite":
        return []
    return [*_threads(folder), *_imports(), *_delays(folder), *_durations(folder), *_memory(folder)]


def _threads(folder: Path) -> Iterator[Figure]:
    with Server(folder / "server") as server:
        costs = json.loads(_program(_COSTS.format(rounds=ROUNDS, calls=CALLS), server.url, folder / "spool.db"))
    yield Figure("task begun and ended, in the program's thread, us", costs["task"], "two events; budget 20 each")
    yield Figure("log line, us", costs["line"], "budget 20")
    yield Figure("logging call through the record factory, us; without", costs["logging"], f"{costs['bare logging']:.3g}; budget 20")
    yield Figure(
        "span through LiveSpanProcessor, us beside the SDK's own",
        costs["span"] - costs["bare span"],
        f"SDK {costs['bare span']:.3g}; budget 20",
    )
    yield Figure(
        "  the same under load of 1 thread more, task, us", costs["task, two threads"], "the mapper maps meanwhile: it has the interpreter too"
    )


def _imports() -> Iterator[Figure]:
    for module in ("otel_bridge", "otel_bridge.runs", "otel_bridge.bridge"):
        times = [float(_program(_IMPORT.format(module=module), "", Path())) for _ in range(5)]
        yield Figure(f"import {module}, ms", min(times), "neither the SDK nor asyncio with it")


def _delays(folder: Path) -> Iterator[Figure]:
    with Server(folder / "delays") as server:
        times = json.loads(_program(_DELAYS.format(tasks=DELAYED_TASKS), server.url, folder / "spool.db"))
    yield Figure("task begun to its row in the API, p50 ms", statistics.median(times), "of it 50 are the wait for company")
    yield Figure("  p95 ms", statistics.quantiles(times, n=20)[-1], "asked for again and again, which the server answers meanwhile")


def _durations(folder: Path) -> Iterator[Figure]:
    """The same flow without a bridge and with one whose server is well, away, hanging or refusing; the median of each against the first."""
    with _servers(folder) as urls:
        took: dict[str, list[float]] = {name: [] for name in urls}
        for turn in range(PROGRAMS):
            for name, url in urls.items():
                code = _SLEEPING.format(tasks=SLEEPING_TASKS, seconds=FLOW_S)
                took[name].append(float(_program(code, url, folder / f"{name}-{turn}.db")))
        bare = statistics.median(took.pop("no bridge"))
        for name, times in took.items():
            yield Figure(f"sleeping flow of {bare:.2f} s, server {name}: ratio", statistics.median(times) / bare, "target 0.98-1.02")
        for name, url in list(urls.items())[1:]:
            code = _COMPUTING.format(rate=EVENTS_A_SECOND, phase=PHASE_S, phases=PHASES)
            ratio, low, high, share, once_s = json.loads(_program(code, url, folder / f"{name}-computing.db"))
            note = f"target 0.98-1.02; quartiles {low:.3f}-{high:.3f}; CPU of the bridge's threads, sockets and disk with it: {share:.3f}"
            yield Figure(f"computing, {EVENTS_A_SECOND} events/s, server {name}: ratio", ratio, note)
            yield Figure("  CPU of the bridge's threads until the first run is told, once, ms", once_s * 1e3, "imports, a connection")


@contextmanager
def _servers(folder: Path) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        hanging, refusing = (stack.enter_context(BadServer(answer)) for answer in (silence, status(503)))
        well = stack.enter_context(Server(folder / "well"))
        absent = f"http://127.0.0.1:{free_ports()[0]}"
        yield {"no bridge": "", "well": well.url, "absent": absent, "hanging": hanging.url, "answering 503": refusing.url}


def _memory(folder: Path) -> Iterator[Figure]:
    with BadServer(silence) as server:
        grown_kib, lines = map(int, _program(_HANGING.format(lines=LINES_WHILE_HANGING), server.url, folder / "memory.db").split())
    yield Figure("memory more, the server hanging, 200,000 lines, MiB", grown_kib / MIB, f"of them {lines:,} dropped; queue and parcels 8 each")


def _program(code: str, url: str, spool: Path) -> str:
    told = environment(url, spool) if url else {**environment("", spool), "FLOWSPAN_URL": ""}
    return subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True).stdout


_COSTS = """
import json, logging, threading, time
from opentelemetry.sdk.trace import TracerProvider
from otel_bridge import LiveSpanProcessor, bridge
from otel_bridge.log_records import follow_loggers
from otel_bridge.places import Place, at
from otel_bridge.runs import Run, RunName

def least(call):
    call(); bridge.flush()
    times = []
    for _ in range({rounds}):
        bridge.flush()
        began = time.thread_time()
        for _ in range({calls}):
            call()
        times.append((time.thread_time() - began) / {calls} * 1e6)
    return min(times)

run = Run(RunName("r", "flow")); run.begin()
def task():
    node = run.new_node("task")
    run.begin_task(node, "task")
    run.end_task(node)
logger = logging.getLogger("program"); logger.addHandler(logging.NullHandler()); logger.propagate = False; logger.setLevel(10)
bare, live = TracerProvider(), TracerProvider()
live.add_span_processor(LiveSpanProcessor())
def spans_of(provider):
    tracer = provider.get_tracer("t")
    return lambda: tracer.start_span("s").end()

costs = {{"task": least(task), "line": least(lambda: run.log("a line of some length", node="task:1"))}}
costs["bare logging"] = least(lambda: logger.info("a line of %s length", "some"))
follow_loggers()
with at(Place(run, "task:1")):
    costs["logging"] = least(lambda: logger.info("a line of %s length", "some"))
costs["bare span"] = least(spans_of(bare))
costs["span"] = least(spans_of(live))
over = threading.Event()
def beside():
    while not over.wait(0.001):
        task()
thread = threading.Thread(target=beside); thread.start()
costs["task, two threads"] = least(task)
over.set(); thread.join()
print(json.dumps(costs))
"""

_IMPORT = """
import sys, time
began = time.perf_counter()
import {module}
print((time.perf_counter() - began) * 1e3)
assert not [name for name in sys.modules if name.startswith(("opentelemetry", "asyncio"))]
"""

_DELAYS = """
import http.client, json, os, time
from otel_bridge.runs import Run, RunName
run = Run(RunName("r", "flow")); run.begin()
address = os.environ["FLOWSPAN_URL"].removeprefix("http://")
connection = http.client.HTTPConnection(address)
def nodes():
    connection.request("GET", "/api/v1/runs/r/tasks?limit=500")
    return connection.getresponse().read()
times = []
for number in range({tasks}):
    node = run.new_node("task")
    wanted = ('"' + node + '"').encode()
    began = time.perf_counter()
    run.begin_task(node, "task")
    while wanted not in nodes():
        time.sleep(0.002)
    times.append((time.perf_counter() - began) * 1e3)
    run.end_task(node)
    time.sleep(number % 7 * 0.011)
print(json.dumps(times[5:]))
"""

_SLEEPING = """
import os, time
from contextlib import contextmanager, nullcontext
if os.environ["FLOWSPAN_URL"]:
    from otel_bridge.runs import Run, RunName
    run = Run(RunName(str(os.getpid()), "flow"))
    @contextmanager
    def told(task):
        node = run.new_node(task)
        run.begin_task(node, task)
        yield
        for number in range(5):
            run.log("a line of some length", node=node)
        run.end_task(node)
else:
    class run:
        begin = end = staticmethod(lambda: None)
    told = nullcontext
began = time.perf_counter()
run.begin()
for number in range({tasks}):
    with told("task"):
        time.sleep({seconds} / {tasks})
run.end()
print(time.perf_counter() - began)
"""

# A phase that tells is counted once the bridge has got into its stride; before a silent one it is given the time to finish.
_COMPUTING = """
import json, os, statistics, threading, time
from otel_bridge import bridge
from otel_bridge.runs import Run, RunName
def spent():
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) for thread in others)
def computed(seconds, tell):
    began, began_cpu, told = time.perf_counter(), time.thread_time(), 0.0
    while (now := time.perf_counter() - began) < seconds:
        if tell and told <= now * {rate}:
            told += 7
            node = run.new_node("task")
            run.begin_task(node, "task")
            sum(range(500_000))
            for number in range(5):
                run.log("a line of some length", node=node)
            run.end_task(node)
        else:
            sum(range(500_000))
    return now / (time.thread_time() - began_cpu)
run = Run(RunName(str(os.getpid()), "flow"))
run.begin()
computed(1.0, True)
bridge.flush(1.0)
once, ratios, shares = spent(), [], []
for turn in range({phases}):
    computed(0.7, True)
    before = spent()
    telling = computed({phase}, True)
    shares.append((spent() - before) / {phase})
    time.sleep(1.0)
    ratios.append(telling / computed({phase}, False))
low, ratio, high = statistics.quantiles(ratios, n=4)
print(json.dumps([ratio, low, high, statistics.median(shares), once]))
run.end()
"""

_HANGING = """
import resource
from otel_bridge import bridge
from otel_bridge.runs import Run, RunName
run = Run(RunName("r", "flow")); run.begin(); bridge.flush(1.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number in range({lines}):
    run.log(f"line {{number}} of some length, as lines have it")
bridge.flush(2.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, bridge.losses().lines)
"""

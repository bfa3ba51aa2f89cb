"""However a program ends, what it told has been sent, once, and its end is not held up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_servers import PATIENCE_S, BadServer, ok, silence, status
from tests.bridge_programs import all_of, lines_of, run_program, running_program, step, told


@pytest.fixture
def server() -> Iterator[BadServer]:
    """A server that takes everything."""
    with BadServer() as one:
        yield one


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


# R163
@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise KeyboardInterrupt", 1),
        ("raise ValueError('its own')", 1),
        ("import threading; threading.Thread(target=sys.exit).start()", 0),
        ("import os, signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); os.kill(os.getpid(), signal.SIGTERM)", 7),
        ("import gc; gc.freeze(); bridge.shutdown()", 0),
    ],
)
def test_a_short_program_loses_nothing_however_it_ends(end: str, code: int, server: BadServer, spool: Path) -> None:
    done = run_program(f"tell('r')\n{end}", server.url, spool)

    assert (code, all_of("r")) == (done.returncode, told(server.requests)), done.stderr
    assert not spool.exists()


# R160 R163
def test_a_program_without_a_single_package_is_told_whole(server: BadServer, spool: Path) -> None:
    server.answer = status(200, body=b"\x0a\x00")  # a partial success that says nothing: nobody here can read it
    asked = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"}
    done = run_program("tell('r')", server.url, spool, ["-S"], OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **asked)

    assert (0, all_of("r")) == (done.returncode, told(server.requests)), done.stderr
    assert not spool.exists()


def test_threads_that_go_on_after_the_main_thread_are_heard_to_the_end(server: BadServer, spool: Path) -> None:
    code = """
        import threading
        def go_on():
            threading.main_thread().join()
            tell("late")
        threading.Thread(target=go_on).start()
    """
    done = run_program(code, server.url, spool)

    assert ("", all_of("late")) == (done.stderr, told(server.requests))


def test_a_process_that_ends_at_once_loses_only_what_was_not_flushed(server: BadServer, spool: Path) -> None:
    done = run_program("import os; tell('flushed'); print(bridge.flush()); tell('not'); os._exit(0)", server.url, spool)

    ends, lines = all_of("flushed")
    assert "True\n" == done.stdout
    assert (ends, lines) == tuple(counts & kept for counts, kept in zip(told(server.requests), (ends, lines), strict=True))


def test_forked_children_tell_their_own_and_never_what_their_parent_told(server: BadServer, spool: Path) -> None:
    code = """
        import os
        def fork(work):
            if not os.fork():
                work()
        tell("before")          # waits in the parent while its thread imports
        fork(lambda: os._exit(0))
        fork(lambda: (tell("child of an import"), sys.exit(0)))
        bridge.flush()
        tell("between")
        fork(lambda: (tell("child"), bridge.flush(), os._exit(0)))
        fork(lambda: sys.exit(0))
        tell("after")
        print([os.wait()[1] for _ in range(4)])
    """
    done = run_program(code, server.url, spool)

    runs = [all_of(name) for name in ("before", "child of an import", "between", "child", "after")]
    assert ("[0, 0, 0, 0]\n", "") == (done.stdout, done.stderr)
    assert (_sum(run[0] for run in runs), _sum(run[1] for run in runs)) == told(server.requests)


def _sum(counts: Iterator[Counter[str]]) -> Counter[str]:
    whole: Counter[str] = Counter()
    for some in counts:
        whole += some
    return whole


def test_a_fork_while_a_request_is_under_way_leaves_both_processes_able_to_tell(server: BadServer, spool: Path) -> None:
    server.answer = silence
    code = """
        import os
        tell("parent")
        sys.stdin.readline()
        if not os.fork():
            tell("child")
            print(bridge.flush(), flush=True)
            os._exit(0)
        os.wait()
    """
    with running_program(code, server.url, spool) as program:
        server.wait_for(1)
        server.answer = ok
        said = step(program)
        server.close_connections()
        assert 0 == program.wait(PATIENCE_S)

    assert "True" == said
    assert all_of("child")[1] + all_of("parent")[1] == _each_once(lines_of(server.requests))


def _each_once(counts: Counter[str]) -> Counter[str]:
    """The request nobody answered is sent again: the same bytes are the same records."""
    return Counter(dict.fromkeys(counts, 1))


@pytest.mark.parametrize("way", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_are_heard(way: str, server: BadServer, spool: Path, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(_POOL.format(way=way))

    done = run_program(f"import runpy; sys.path.insert(0, {str(tmp_path)!r}); import program; program.main()", server.url, spool)

    assert "" == done.stderr
    assert {"parent", "child 0", "child 1", "pooled 0", "pooled 1"} == set(lines_of(server.requests))
    assert {1} == set(lines_of(server.requests).values())


_POOL = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from otel_bridge.runs import Run, RunName

def say(text):
    run = Run(RunName("r", "flow"))
    run.log(text)

def main():
    context = multiprocessing.get_context("{way}")
    say("parent")
    children = [context.Process(target=say, args=(f"child {{number}}",)) for number in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        list(pool.map(say, ["pooled 0", "pooled 1"]))
"""


def test_a_provider_that_is_shut_down_after_the_bridge_holds_nobody_up(server: BadServer, spool: Path) -> None:
    code = """
        from opentelemetry.sdk.trace import TracerProvider
        from otel_bridge import LiveSpanProcessor
        provider = TracerProvider()
        provider.add_span_processor(LiveSpanProcessor())
        provider.get_tracer("t").start_span("s").end()
    """
    began_s = time.monotonic()
    done = run_program(code, server.url, spool)

    assert ("", 0) == (done.stderr, done.returncode)
    assert time.monotonic() - began_s < 8


# R173
@pytest.mark.parametrize("before", ["", "tell('before'); "])
def test_what_is_told_after_the_shutdown_is_not_said_to_have_arrived(before: str, server: BadServer, spool: Path) -> None:
    done = run_program(f"{before}bridge.shutdown(); print(bridge.flush()); tell('after'); print(bridge.flush())", server.url, spool)

    assert ("True\nFalse\n", "") == (done.stdout, done.stderr)
    assert (all_of("before") if before else ({}, {})) == told(server.requests)


# R173
def test_settings_made_in_code_are_read_as_those_of_the_environment(server: BadServer, spool: Path) -> None:
    code = f"bridge.configure(url={server.url + '/'!r}, api_key='s3cr3t' + chr(10), spool={str(spool)!r}); tell('r')"
    done = run_program(code, "", spool)

    assert ("", all_of("r")) == (done.stderr, told(server.requests))
    assert {"Bearer s3cr3t"} == {request.headers["authorization"] for request in server.requests}


def test_a_program_that_tells_nothing_starts_nothing(server: BadServer, spool: Path) -> None:
    done = run_program("import threading; print(threading.active_count(), 'opentelemetry' in sys.modules)", server.url, spool)

    assert ("1 False\n", []) == (done.stdout, server.requests)


def test_a_flush_in_the_middle_of_mapping_is_heard(server: BadServer, spool: Path) -> None:
    code = """
        run = Run(RunName("r", "flow")); run.begin(); bridge.flush()
        said = set()
        for turn in range(3):
            for number in range(4_000):
                run.log(f"{turn} {number}")
            said.add(bridge.flush(5.0))
        print(said)
    """
    done = run_program(code, server.url, spool, FLOWSPAN_BRIDGE_GATHER_S="0.0001")

    assert ("{True}\n", 12_000) == (done.stdout, len(lines_of(server.requests)))

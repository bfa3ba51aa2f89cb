"""What a server does not start with: open to the network without a key, a store or a setting that cannot be. It says why in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collector.app import create_app
from collector.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]


def flowspan(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "collector", *words]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=60, check=False)


# R142 R176
def test_serving_the_network_without_a_key_stops_with_the_reason(tmp_path: Path) -> None:
    ended = flowspan("serve", "--host", "0.0.0.0", "--port", "0", FLOWSPAN_DATA_DIR=str(tmp_path))

    assert (2, "") == (ended.returncode, ended.stdout)
    assert "refusing to listen on 0.0.0.0 without a key" in ended.stderr
    assert "SERVER_API_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr


# R142
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "flows.example"])
def test_only_this_machine_is_served_without_a_key(host: str) -> None:
    with pytest.raises(SettingsError, match="without a key"):
        create_app(Settings(host=host, database_url="memory:"))


# R142 R148
def test_insecure_serves_the_network_and_warns(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "collector", "serve", "--host", "0.0.0.0", "--port", "0", "--otlp-http-port", "0", "--insecure"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": "memory:", "FLOWSPAN_DATA_DIR": str(tmp_path)}

    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        address = process.stdout.readline()
        process.terminate()
        warned = process.stderr.read()

    assert address.startswith("http://0.0.0.0:")
    assert "WARNING: no key is set" in warned


# R078 R176
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"DATABASE_URL": "mongodb://there/x"}, "no plugin stores at mongodb:"),
        ({"DATABASE_URL": "sqlite:////dev/null/x.db"}, "cannot open"),
        ({"PORT": "eighty"}, "PORT"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
        ({"RETENTION_DAYS": "-1"}, "RETENTION_DAYS"),
    ],
)
def test_what_must_be_mended_is_said_and_the_exit_code_is_2(environment: dict[str, str], reason: str) -> None:
    ended = flowspan("serve", **{"PORT": "0", "FLOWSPAN_OTLP_HTTP_PORT": "0"} | environment)

    assert 2 == ended.returncode
    assert reason in ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith("flowspan: ")

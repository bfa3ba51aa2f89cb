"""A live WebSocket as tests open one. Those that belong to an event loop: tests/acceptance/test_live.py."""

from __future__ import annotations

from websockets.sync.client import ClientConnection, connect

from tests.in_process import PATIENCE_S


def open_socket(port: int, path: str) -> ClientConnection:
    """Open a socket of a server on the loopback, and wait for its handshake and its pongs as long as a busy machine takes."""
    address = f"ws://127.0.0.1:{port}{path}"
    return connect(address, open_timeout=PATIENCE_S, ping_interval=None, max_size=None, proxy=None)

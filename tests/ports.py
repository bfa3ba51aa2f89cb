"""Ports for servers of tests that are started again on the port they had."""

from __future__ import annotations

import random
import socket

# Below those that the kernel gives to outgoing connections: one of them could take the port of a server that is being started again.
PORTS = range(20_000, 32_000)
PORTS_TRIED = 20


def free_ports() -> list[int]:
    """Return ports nobody listens on just now. Somebody else may take one before you do: then take the next."""
    return [port for port in random.Random().sample(PORTS, PORTS_TRIED) if _is_free(port)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

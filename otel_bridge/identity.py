"""Ids that are computed, never looked up: every door and every re-delivery meets in the same rows. Pure.

What is hashed, and the vector that pins it, is decision 4 in ARCHITECTURE.md.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

RUN_KEY_BYTES = 16
SPAN_ID_BYTES = 8

# What is told mostly names few runs and nodes: two hashes are a fifth of what a log line costs the bridge, and of what recognising a span does.
_remembered = lru_cache(maxsize=4096)


@_remembered
def run_key(source: str, run_id: str, generation: int = 0) -> bytes:
    """Return the 16 bytes that stand for one execution; the trace id of traces we make ourselves.

    source: who issues run ids, never service.name. The project is in every table key and in no hash: a client does not know it.
    """
    return digest("flowspan-run-1", source, run_id, generation)[:RUN_KEY_BYTES]


@_remembered
def run_span_id(key: bytes) -> bytes:
    """Return the 8-byte id of the span that is the run with this run_key."""
    return digest("flowspan-span-1", key.hex(), "run")[:SPAN_ID_BYTES]


@_remembered
def task_span_id(key: bytes, node: str, attempt: int = 0) -> bytes:
    """Return the 8-byte id of a task run's own span (attempt 0) or of one of its attempts (1, 2, ...)."""
    return digest("flowspan-span-1", key.hex(), "task", node, attempt)[:SPAN_ID_BYTES]


def digest(*parts: str | int) -> bytes:
    """Return sha256 over each part as its UTF-8 length (u32, big endian) and its bytes; integers as decimal text.

    The length before each part keeps ("ab", "c") and ("a", "bc") apart. Text is `facts.harmless`: a lone surrogate cannot be hashed.
    """
    hashed = sha256()
    for part in parts:
        text = str(part).encode()
        hashed.update(len(text).to_bytes(4, "big") + text)
    return hashed.digest()

"""The messages of the stream, as bytes.

Owns: how a server-sent event is written. Must not: decide when one is sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from felixhub.core.coalescing import Batch
from felixhub.views.web.bounds import CHUNK_BYTES

RETRY = b"retry: 1000\n\n"
PING = b": ping\n\n"


def batch_frame(batch: Batch) -> bytes:
    """Unnamed: the events as on the wire. Its id is where a viewer that is cut off goes on."""
    return b"id: " + batch.position.encode() + b"\ndata: " + batch.body + b"\n\n"


def frame(event: str, body: bytes, *, position: str | None = None) -> bytes:
    """`body` is JSON, so it holds no line end."""
    head = f"id: {position}\n" if position is not None else ""
    return f"{head}event: {event}\ndata: ".encode() + body + b"\n\n"


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def chunks(data: bytes) -> Iterator[bytes]:
    """Pieces of one write each."""
    if len(data) <= CHUNK_BYTES:
        yield data
        return
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]

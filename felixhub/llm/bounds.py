"""How much of a server's answer is read where it is not a model's text: lists, error bodies, redirects.

Owns: these bounds, as a hook of the HTTP client. Must not: bound a model's own answer (`answer.py` and `sse.py` do).
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

ERROR_BYTES_MAX = 64 * 1024  # the rest of an error's words is not read
LIST_BYTES_MAX = 4 * 1024 * 1024

# What is asked of the server; with a compressed body no bound on what comes over the wire would hold.
UNCOMPRESSED = {"Accept-Encoding": "identity"}


class TooMuch(httpx2.StreamError):
    """A server sent more than `LIST_BYTES_MAX` where a list was asked for."""

    def __init__(self) -> None:
        super().__init__(f"it sent more than {LIST_BYTES_MAX:,} bytes")


class _Bounded(httpx2.AsyncByteStream):
    """The first `most` bytes; then the end, or `TooMuch`."""

    def __init__(self, stream: httpx2.AsyncByteStream, most: int, *, cut: bool) -> None:
        self._stream = stream
        self._most = most
        self._cut = cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        async for data in self._stream:
            if len(data) > left:
                if not self._cut:
                    raise TooMuch
                yield data[:left]
                return
            left -= len(data)
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()


async def bound(response: httpx2.Response) -> None:
    """For every response before its body is read."""
    is_answer = response.is_success and response.request.method == "POST"
    if is_answer or not isinstance(response.stream, httpx2.AsyncByteStream):
        return
    response.headers.pop("Content-Encoding", None)  # Not inflated: a compressed body counts as what it is on the wire.
    most = LIST_BYTES_MAX if response.is_success else ERROR_BYTES_MAX
    response.stream = _Bounded(response.stream, most, cut=not response.is_success)

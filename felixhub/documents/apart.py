"""The process that takes one HTML or PDF file apart: bytes on standard input, JSON on standard output.

Owns: the bounds on its own time and memory, and that what it answers is clean text. Must not: open a file or a socket.
Answers `{"text": …}` or `{"fault": sentence, "line": number or null}`; whatever else happens ends it with a code.
"""

from __future__ import annotations

import json
import math
import re
import sys

from felixhub.core.errors import ConfigError
from felixhub.core.limits import MIB

MEMORY_BYTES_MAX = 2048 * MIB

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0d-\x1f\x7f-\x9f]")  # all but newline, tab and form feed


def main(kind: str, text_bytes_max: int, seconds_max: float) -> None:
    _bound(seconds_max)
    data = sys.stdin.buffer.read()
    try:
        text = _text_of(kind, data, text_bytes_max)
    except ConfigError as error:
        answer = {"fault": error.sentence, "line": error.place.line if error.place else None}
    else:
        answer = {"text": clean(text)}
    sys.stdout.write(json.dumps(answer))


def clean(text: str) -> str:
    """Without control characters other than newline, tab and form feed, and with a UTF-8 form."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # Joins pairs, replaces halves.
    return _CONTROLS.sub("", text)


def _text_of(kind: str, data: bytes, text_bytes_max: int) -> str:
    if kind == "html":
        from felixhub.documents.html_text import html_text

        return html_text(data)
    from felixhub.documents.pdf_text import pdf_text

    return pdf_text(data, text_bytes_max=text_bytes_max)


def _bound(seconds_max: float) -> None:
    """The parent waits no longer than `seconds_max`; these hold when the parent is gone."""
    try:
        import resource
    except ImportError:  # Windows has no such limits.
        return
    seconds = math.ceil(seconds_max)
    for what, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, MEMORY_BYTES_MAX)):
        try:
            resource.setrlimit(what, (most, most))
        except (OSError, ValueError):
            continue  # A lower limit is set already, or the system has none of this kind.


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))

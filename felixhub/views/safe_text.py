"""Model text is data: its control characters are shown, never obeyed. Every view passes foreign text through here.

Owns: which characters a terminal or a bidi-aware renderer would obey, and how each is shown instead.
Must not: lay text out, wrap it or colour it.
"""

from __future__ import annotations

import json

_KEPT = (0x09, 0x0A)  # tab and newline are layout that text may have
_DELETE = 0x7F
_C1 = range(0x80, 0xA0)  # 0x9B alone is a CSI, 0x9D an OSC, to terminals that know 8-bit controls
_INVISIBLE = (
    0x061C,  # Arabic letter mark
    *range(0x200E, 0x2010),  # left-to-right and right-to-left marks
    *range(0x2028, 0x202F),  # line and paragraph separators, bidi embeddings and overrides
    *range(0x2066, 0x2070),  # bidi isolates and the deprecated format characters
    0xFEFF,  # byte order mark
    *range(0xD800, 0xE000),  # lone surrogates, which no encoding can write
)


def _table(*, ascii_only: bool) -> dict[int, str]:
    shown = {code: f"\\x{code:02x}" if ascii_only else chr(0x2400 + code) for code in range(0x20) if code not in _KEPT}
    shown[_DELETE] = "\\x7f" if ascii_only else "\u2421"
    shown.update({code: f"\\x{code:02x}" for code in _C1})
    shown.update({code: f"<U+{code:04X}>" for code in _INVISIBLE})
    return shown


_PICTURES = _table(ascii_only=False)
_ESCAPES = _table(ascii_only=True)
_QUOTED = {code: f"\\u{code:04x}" for code in (_DELETE, *_C1, *_INVISIBLE)}


def safe_text(text: str, *, ascii_only: bool = False) -> str:
    """The text with every control character but newline and tab made visible; other text comes back unchanged.

    Controls become pictures (`␛`), or `\\x1b` with `ascii_only`; C1 becomes `\\x9b`, bidi controls `<U+202E>`.
    Joiners stay: emoji and several scripts need them. `ascii_only` changes how controls look, not the text itself.
    """
    if text.isprintable():
        return text  # The usual case: it has none, and no newline either.
    return text.translate(_ESCAPES if ascii_only else _PICTURES)


def safe_line(text: str, *, ascii_only: bool = False) -> str:
    """As `safe_text`, on one line: every run of white space, newlines included, becomes one space."""
    return safe_text(" ".join(text.split()), ascii_only=ascii_only)


def quoted(text: str, *, ascii_only: bool = False) -> str:
    """The text as one JSON string on one line, whatever it holds."""
    return json.dumps(text, ensure_ascii=ascii_only).translate(_QUOTED)


def safe_json(text: str) -> str:
    """One line of JSON as a terminal may show it: the same value, with what would be obeyed as `\\u` escapes."""
    return text.translate(_QUOTED)

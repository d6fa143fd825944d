"""Text that is hard on whoever lays it out, and tries to be more than text.

Owns: the samples. Must not: know what a page makes of them.
"""

from __future__ import annotations

from felixhub.documents.document import Document, Part

WORD = "W" * 600
TABLE = "\n".join(
    [
        "|" + "|".join(f"head-{column}" for column in range(25)) + "|",
        "|" + "---|" * 25,
        *("|" + "|".join(f"cell-{row}-{column}" for column in range(25)) + "|" for row in range(3)),
    ]
)
DEEP_LIST = "\n".join("  " * depth + f"- depth-{depth}" for depth in range(14))
QUOTES = ">" * 10_000 + " at the bottom"
TYPST = 'says #include("/etc/passwd") and #eval("1+1") and $x$ and \\ and #read("/etc/hosts") @label <label>'
ACTIVE = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> [go](javascript:alert(3)) [in](data:text/html;base64,AAAA) "
    '![alt words](https://evil.example/track.png) <a href="https://x.example" onclick="alert(4)">a</a> '
    "[file](file:///etc/passwd) [ok](https://ok.example/a?b=c&d) [up](../../etc/passwd) "
    '[quote](https://x.example/"onmouseover="alert(5))\n\n<iframe src="https://evil.example"></iframe>\n'
)
SCRIPTS = "bus 🚍 👩‍👩‍👧 中文段落 日本語 한국어 שלום עולם مرحبا Русский"
CONTROLS = "red \x1b[31m bell \x07 nul \x00 csi \x9b31m bidi \u202egnp.exe end"
CODE = '```typst\n#include("/etc/passwd")\n    indented\n</code></pre><script>alert(6)</script>\n```'

NASTY = "\n\n".join(
    [
        *("# Opening", "Words **bold** *slanted* ~~struck~~ `literal`.", SCRIPTS, CONTROLS, TYPST, ACTIVE, CODE),
        *(f"long {WORD} word", TABLE, DEEP_LIST, QUOTES, "last words"),
    ]
)


def document(*parts: Part, **more: object) -> Document:
    fields = {"title": "Should the city?", "started_at": 1_795_000_000.0, "about": "run r1 · workflow w · 2 agents"}
    return Document(**{**fields, "parts": parts, **more})  # type: ignore[arg-type]

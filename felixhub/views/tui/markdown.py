"""A final text as Markdown, drawn into lines.

Owns: that nothing in it is obeyed: no link can be followed, no markup of ours is read. Must not: scroll.
"""

from __future__ import annotations

import io

from rich.console import Console
from rich.markdown import Markdown
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

BYTES_MAX = 65_536  # a longer text is shown as it was written


def markdown_strips(text: str, width: int, ground: Style, *, dark: bool) -> list[Strip]:
    """Lines of at most `width` columns. `text` is harmless already."""
    console = Console(width=width, file=io.StringIO(), color_system="truecolor", force_terminal=True, markup=False)
    theme = "ansi_dark" if dark else "ansi_light"
    document = Markdown(text, code_theme=theme, hyperlinks=False)
    lines = console.render_lines(document, console.options.update(width=width), pad=False)
    return [Strip(_on(line, ground)) for line in lines]


def _on(line: list[Segment], ground: Style) -> list[Segment]:
    """With our colours behind it, and without links."""
    return [Segment(part.text, ground + (part.style or Style()).update_link(None)) for part in line]

"""A document as one HTML page that needs nothing else: no script, no picture, no request.

Owns: the page, and two fences around foreign text: every word is escaped as it is written, and the whole body then goes
through a sanitizer that knows only the tags used here. Must not: know Markdown or runs.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources

import nh3

from felixhub.documents.document import CHARACTERS_MAX, NODES_MAX, Page
from felixhub.documents.tokens import Node, Reader, as_written, cut

CONTENTS_MIN = 3  # fewer headings need no contents
CONTENTS_LEVEL_MAX = 3
COLUMNS_MAX = 9  # a wider table is printed on a page of its own, turned

_TAGS = {
    "paragraph": "p",
    "quote": "blockquote",
    "list": "ul",
    "item": "li",
    "table": "table",
    "head": "tr",
    "row": "tr",
    "emphasis": "em",
    "strong": "strong",
    "strike": "s",
    "literal": "code",
}
_ALLOWED = {
    *("h1", "h2", "h3", "h4", "h5", "h6", "p", "blockquote", "aside", "ul", "ol", "li", "pre", "code", "hr", "br"),
    *("table", "thead", "tbody", "tr", "th", "td", "em", "strong", "s", "a", "div", "nav", "header", "main", "footer"),
}
_ATTRIBUTES = {
    "*": {"class", "id", "dir"},
    "a": {"href"},
    "ol": {"start"},
    "div": {"tabindex"},
    "nav": {"aria-label"},
    "th": {"scope"},
}


def html(page: Page) -> bytes:
    """The page as UTF-8."""
    style = resources.files("felixhub.documents").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = _clean(_body(page))
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(page.title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            body,
            "</body>",
            "</html>",
            "",
        ]
    ).encode()


def body(page: Page) -> str:
    """What the page says, without the page around it: to be put into another one."""
    return _clean(_body(page))


def fragment(text: str, *, characters_max: int = CHARACTERS_MAX) -> str:
    """A text in Markdown as HTML to be put into a page. What cannot be laid out is shown as it was written."""
    shown = text[:characters_max]
    nodes = Reader().read(shown)
    notes = []
    if nodes is None:
        nodes = as_written(shown)
        notes.append("This text is too long or too entangled to be laid out: it is shown as it was written.")
    if cut(nodes, NODES_MAX) < 0 or len(shown) < len(text):
        notes.append("This text is cut, it is too long to be laid out: the Markdown export has all of it.")
    for number, node in enumerate((node for node in nodes if node.kind == "heading"), 1):
        node.text = f"heading-{number}"
    out: list[str] = []
    _write_all(nodes, out)
    out += [f'<aside class="note">{escape(note)}</aside>' for note in notes]
    return _clean("".join(out))


def _clean(html: str) -> str:
    return nh3.clean(
        html,
        tags=_ALLOWED,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
    )


def _body(page: Page) -> str:
    out = ["<header>", f'<h1 dir="auto">{escape(page.title)}</h1>']
    if page.task:
        out.append(f'<p class="task" dir="auto">{escape(page.task)}</p>')
    out += [f'<p class="date">{escape(page.date)}</p>', "</header>"]
    out += _contents(page)
    out.append("<main>")
    _write_all(page.nodes, out)
    out += ["</main>", f'<footer><p dir="auto">{escape(page.about)}</p></footer>']
    return "".join(out)


def _contents(page: Page) -> list[str]:
    headings = [node for node in page.headings if node.number <= CONTENTS_LEVEL_MAX]
    if len(headings) < CONTENTS_MIN:
        return []
    items = [
        f'<li class="level-{node.number}"><a href="#{node.text}" dir="auto">{escape(node.words())}</a></li>'
        for node in headings
    ]
    return ['<nav aria-label="Contents"><ul>', *items, "</ul></nav>"]


def _write_all(nodes: tuple[Node, ...] | list[Node], out: list[str]) -> None:
    for node in nodes:
        _write(node, out)


def _write(node: Node, out: list[str]) -> None:
    """Appends the HTML of a node. It calls itself as deep as nodes nest, which the reader bounds."""
    match node.kind:
        case "text":
            out.append(escape(node.text))
        case "literal":
            out.append(f"<code>{escape(node.text)}</code>")
        case "break":
            out.append("<br>")
        case "rule":
            out.append("<hr>")
        case "code":
            out.append(f'<pre><code dir="auto">{escape(node.text)}</code></pre>')
        case "heading":
            out.append(f'<h{node.number} id="{node.text}" dir="auto">')
            _write_all(node.children, out)
            out.append(f"</h{node.number}>")
        case "paragraph" if node.tight:
            _write_all(node.children, out)
        case "link":
            out.append(f'<a href="{escape(node.text)}">')
            _write_all(node.children, out)
            out.append("</a>")
        case "note":
            out.append('<aside class="note">')
            _write_all(node.children, out)
            out.append("</aside>")
        case "numbered":
            out.append(f'<ol start="{node.number}">' if node.number != 1 else "<ol>")
            _write_all(node.children, out)
            out.append("</ol>")
        case "table":
            _write_table(node, out)
        case _:
            tag = _TAGS[node.kind]
            out.append(f'<{tag} dir="auto">' if node.kind in ("paragraph", "item", "quote") else f"<{tag}>")
            _write_all(node.children, out)
            out.append(f"</{tag}>")


def _write_table(table: Node, out: list[str]) -> None:
    is_wide = max((len(row.children) for row in table.children), default=0) > COLUMNS_MAX
    out.append(f'<div class="table{" wide" if is_wide else ""}" tabindex="0"><table>')
    for part, tag in (("thead", "th"), ("tbody", "td")):
        rows = [row for row in table.children if (row.kind == "head") == (part == "thead")]
        if not rows:
            continue
        out.append(f"<{part}>")
        for row in rows:
            out.append("<tr>")
            for cell in row.children:
                align = f' class="{cell.text}"' if cell.text else ""
                scope = ' scope="col"' if tag == "th" else ""
                out.append(f'<{tag}{align}{scope} dir="auto">')
                _write_all(cell.children, out)
                out.append(f"</{tag}>")
            out.append("</tr>")
        out.append(f"</{part}>")
    out.append("</table></div>")

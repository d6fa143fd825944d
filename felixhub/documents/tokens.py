"""Markdown as a tree of plain nodes: the one source of the HTML page and of the PDF.

Owns: what of Markdown means something (tables and strikethrough do, raw HTML and remote images do not), which links may
be followed, and the bounds: nesting, and the work that reading may cost. Must not: know how a node looks.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

NESTING_MAX = 40  # a list takes two: itself and its item
DEPTH_MAX = 50  # of nodes; emphasis that nests deeper than this means nothing
WORK_MAX = 1_000_000  # steps of the parser for one document; 4 MiB of ordinary prose take 500,000
BLOCK_STEPS = 3  # what a line of a block costs
ADDRESS_CHARACTERS_MAX = 300  # of an address that is shown, not followed

Kind = Literal[
    # blocks
    "heading", "paragraph", "quote", "note", "list", "numbered", "item", "code", "rule", "table", "head", "row", "cell",
    # inside a line
    "text", "emphasis", "strong", "strike", "literal", "link", "break",
]  # fmt: skip


@dataclass(slots=True)
class Node:
    """One node. `text`: of a text, code or literal its words, of a link the address, of a heading its anchor, of a
    cell its alignment. `number`: a heading's level, a list's first number. `tight`: a paragraph without space around.
    """

    kind: Kind
    children: list[Node] = field(default_factory=list)
    text: str = ""
    number: int = 0
    tight: bool = False

    def walk(self) -> Iterator[Node]:
        """This node and all below, in reading order."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def words(self) -> str:
        """The text of all that is in it."""
        return "".join(" " if node.kind == "break" else node.text for node in self.walk() if node.kind in _WORDS)


def _is_any_link(address: str) -> bool:  # noqa: ARG001
    """Every link is read as one; `_link` decides which may be followed, and shows the address of the others."""
    return True


_WORDS = ("text", "literal", "code", "break")


class _Spent(Exception):
    """Reading the text takes more work than a document may cost."""


class Reader:
    """Reads Markdown; the texts that go through one reader share its budget of work.

    A text that would take more than is left is not read but shown as it was written: a few kilobytes that nest in the
    right way could otherwise keep a parser busy for hours.
    """

    def __init__(self, work_max: int = WORK_MAX) -> None:
        self.work_left = work_max
        self._parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": NESTING_MAX})
        self._parser.enable(["table", "strikethrough"])
        self._parser.disable(["html_block", "html_inline"])
        self._parser.validateLink = _is_any_link  # type: ignore[method-assign, assignment]
        every = {"alt": ["paragraph", "reference", "blockquote", "list", "table"]}
        self._parser.block.ruler.before("table", "work", self._count_block, every)  # type: ignore[arg-type]
        self._parser.inline.ruler.before("text", "work", self._count_inline)

    def read(self, text: str) -> list[Node] | None:
        """The nodes of a text; None when reading it would take too much work."""
        try:
            tokens = self._parser.parse(text, {})
        except _Spent:
            return None
        return _Builder(text).build(tokens)

    def blocks(self, text: str, *, html: bool = False) -> list[Token] | None:
        """The tokens of its blocks, without what is inside their lines; None as above. `html`: with HTML blocks."""
        off = ["inline"] if html else ["inline", "html_block"]
        with self._parser.reset_rules():
            self._parser.enable("html_block").disable(off)
            self._parser.options["html"] = html
            try:
                return self._parser.parse(text, {})
            except _Spent:
                return None
            finally:
                self._parser.options["html"] = False

    def _count_block(self, state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: ARG002
        return self._spend(BLOCK_STEPS)

    def _count_inline(self, state: StateInline, silent: bool) -> bool:  # noqa: ARG002
        return self._spend(1)

    def _spend(self, steps: int) -> bool:
        self.work_left -= steps
        if self.work_left < 0:
            self.work_left = 0
            raise _Spent
        return False


def as_written(text: str) -> list[Node]:
    """A text that is not read as Markdown."""
    return [Node("code", text=visible(text.replace("\r\n", "\n").strip("\n")))]


def cut(nodes: list[Node], left: int) -> int:
    """Keep as many nodes, and lines of code, as there is room for. Returns the room left, -1 when something was cut."""
    for index, node in enumerate(nodes):
        if left <= 0:
            del nodes[index:]
            return -1
        left -= 1
        if node.kind == "code" and node.text.count("\n") > left:
            node.text = "\n".join(node.text.split("\n", left + 1)[: left + 1])
            left = -1
        else:
            left = cut(node.children, left - node.text.count("\n"))
        if left < 0:
            del nodes[index + 1 :]
            return -1
    return left


# ---- from tokens to nodes --------------------------------------------------------------------------------------------

_CONTAINERS: dict[str, Kind] = {
    "blockquote_open": "quote",
    "bullet_list_open": "list",
    "ordered_list_open": "numbered",
    "list_item_open": "item",
    "table_open": "table",
    "em_open": "emphasis",
    "strong_open": "strong",
    "s_open": "strike",
}
_TRANSPARENT = ("thead_open", "thead_close", "tbody_open", "tbody_close")
_MARKERS = re.compile(r"^(?:[ \t>]|[-*+](?=[ \t]|$)|\d{1,9}[.)](?=[ \t]|$))*")


class _Builder:
    """Folds the flat list of tokens into nodes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.root = Node("quote")
        self.open = [self.root]
        self._source_lines: list[str] | None = None
        self._in_head = False

    def build(self, tokens: list[Token]) -> list[Node]:
        self._take(tokens)
        return self.root.children

    def _take(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            if token.type in _TRANSPARENT:
                self._in_head = token.type == "thead_open"
            elif token.nesting > 0:
                self._enter(token)
            elif token.nesting < 0:
                self._leave(token)
            else:
                self._add(token)

    def _enter(self, token: Token) -> None:
        top = self.open[-1]
        match token.type:
            case "heading_open" if token.level == 0:
                node = Node("heading", number=int(token.tag[1]))
            case "heading_open":  # In a quote or a list it heads nothing: it is bold there.
                node = Node("strong")
                top.children.append(Node("paragraph", [node]))
                self.open.append(node)
                return
            case "paragraph_open":
                node = Node("paragraph", tight=token.hidden)
            case "ordered_list_open":
                node = Node("numbered", number=int(token.attrs.get("start", 1)))
            case "tr_open":
                node = Node("head" if self._in_head else "row")
            case "th_open" | "td_open":
                align = re.search(r"left|right|center", str(token.attrs.get("style", "")))
                node = Node("cell", text=align[0] if align else "")
            case "link_open":
                node = Node("link", text=str(token.attrs.get("href", "")))
            case _:
                node = Node(_CONTAINERS[token.type])
        if token.map is not None and token.type in ("blockquote_open", "list_item_open"):
            node.text = f"{token.map[0]}:{token.map[1]}" if token.level + 1 >= NESTING_MAX else ""
        top.children.append(node)
        self.open.append(node)

    def _leave(self, token: Token) -> None:
        node = self.open.pop()
        node.children = _joined(node.children)
        match node.kind:
            case "quote" | "item" if node.text:
                node.children = self._too_deep(node)
                node.text = ""
            case "list" | "numbered":
                node.tight = all(
                    child.tight for item in node.children for child in item.children if child.kind == "paragraph"
                )
            case "emphasis" | "strong" | "strike" if len(self.open) > DEPTH_MAX:
                self.open[-1].children[-1:] = node.children  # Thousands of stars nest as deep.
            case "link":
                self.open[-1].children[-1:] = _link(node)
            case _:
                assert token.type != "link_close"

    def _too_deep(self, node: Node) -> list[Node]:
        """What the parser leaves out of the deepest container that it opens, as it was written."""
        if node.children:
            return node.children
        if self._source_lines is None:
            self._source_lines = self.source.split("\n")
        first, last = (int(part) for part in node.text.split(":"))
        lines = [_MARKERS.sub("", line) for line in self._source_lines[first:last]]
        words = "\n".join(lines).strip()
        return [Node("code", text=visible(words))] if words else []

    def _add(self, token: Token) -> None:
        children = self.open[-1].children
        match token.type:
            case "inline":
                self._take(token.children or ())
                self.open[-1].children = _joined(children)
            case "softbreak":
                self._add_words(" ")
            case "hardbreak":
                children.append(Node("break"))
            case "code_inline":
                children.append(Node("literal", text=visible(token.content)))
            case "fence" | "code_block":
                children.append(Node("code", text=visible(token.content.removesuffix("\n"))))
            case "hr":
                children.append(Node("rule"))
            case "image":
                self._add_words(_image(token))
            case _:
                self._add_words(token.content)

    def _add_words(self, words: str) -> None:
        if words:
            self.open[-1].children.append(Node("text", text=visible(words)))


def _joined(nodes: list[Node]) -> list[Node]:
    """Texts that follow each other as one."""
    joined: list[Node] = []
    for is_text, group in itertools.groupby(nodes, key=lambda node: node.kind == "text"):
        some = list(group)
        joined += [Node("text", text="".join(node.text for node in some))] if is_text and len(some) > 1 else some
    return joined


_FOLLOWED = re.compile(r"(?:https?://|mailto:)[!-~]+", re.IGNORECASE)


def _link(node: Node) -> list[Node]:
    """A link that may be followed, else its words and its address as text."""
    if _FOLLOWED.fullmatch(node.text) and len(node.text) <= 2_000:
        return [node]
    if not node.text or node.words() == node.text:
        return node.children
    return [*node.children, Node("text", text=f" ({visible(_short(node.text))})")]


def _image(token: Token) -> str:
    """An image is never fetched: its description and address are shown."""
    parts = [part for part in (token.content, _short(str(token.attrs.get("src", "")))) if part]
    return f"[image: {' – '.join(parts)}]" if parts else "[image]"


def _short(address: str) -> str:
    return address if len(address) <= ADDRESS_CHARACTERS_MAX else address[: ADDRESS_CHARACTERS_MAX - 1] + "…"


# ---- foreign characters ----------------------------------------------------------------------------------------------

# As `\x1b`, not as `␛`: few fonts have those.
_SHOWN = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}
_SHOWN |= {code: f"<U+{code:04X}>" for code in (*range(0x2028, 0x202F), *range(0x2066, 0x2070), 0xFEFF)}
_SHOWN |= dict.fromkeys((*range(55296, 57344), *range(64976, 65008)), "�")
_SHOWN |= {plane << 16 | last: "\ufffd" for plane in range(17) for last in (0xFFFE, 0xFFFF)}


def visible(text: str) -> str:
    """The text with what a page would obey or refuse made visible: controls, bidi overrides, noncharacters."""
    return text if text.isprintable() else text.translate(_SHOWN)


_MEANS_SOMETHING = re.compile(r"[\\`*\[|]|~(?=~)|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|&(?=#?\w+;)|#+$")
_BEGINS_A_BLOCK = re.compile(r"^(?:[-+>#=]|\d+(?=[.)]))")


def escaped(text: str) -> str:
    """Foreign words as one line of Markdown in which nothing has a meaning."""
    line = _MEANS_SOMETHING.sub(lambda found: "\\" + found[0], " ".join(visible(text).split()))
    if begins := _BEGINS_A_BLOCK.match(line):
        end = begins.end()
        return f"\\{line}" if not begins[0].isdigit() else f"{line[:end]}\\{line[end:]}"
    return line


# ---- Markdown that stays Markdown ------------------------------------------------------------------------------------

LEVEL_MAX = 6
_HTML_ENDS = (("<!--", "-->"), ("<?", "?>"), ("<![cdata[", "]]>"), ("<!", ">"))
_HTML_RAW = re.compile(r"<(script|pre|style|textarea)\b", re.IGNORECASE)


def below(text: str, level: int, reader: Reader) -> str:
    """The Markdown with its headings moved so that the highest is at least at `level`; nothing else is changed."""
    found = [token for token in reader.blocks(text) or () if token.type == "heading_open" and token.level == 0]
    deeper = max(0, level - min((int(token.tag[1]) for token in found), default=level))
    if not deeper:
        return text
    lines = re.split(r"(\r\n|\n|\r)", text)  # a line, its end, a line, …
    for token in reversed(found):
        assert token.map is not None
        first, end = token.map
        marks = "#" * min(LEVEL_MAX, int(token.tag[1]) + deeper)
        if token.markup.startswith("#"):
            lines[2 * first] = lines[2 * first].replace(token.markup, marks, 1)
        else:  # underlined: its words, then a line of = or -
            words = " ".join(line.strip() for line in lines[2 * first : 2 * (end - 1) : 2])
            lines[2 * first : 2 * (end - 1) + 1] = [f"{marks} {words}"]
    return "".join(lines)


def ending(text: str, reader: Reader) -> str:
    """What must follow a text so that what comes after is not part of it: the end of an open code or HTML block.

    Raw HTML means nothing here, but other readers of Markdown would hide the rest of the document in it.
    """
    tokens = reader.blocks(text, html=True)
    if not tokens or tokens[-1].level != 0:
        return ""
    last = tokens[-1]
    if last.type == "fence":
        lines = text.rstrip().split("\n")
        closing = lines[-1].strip()
        whole = len(lines) > 1 and len(closing) >= len(last.markup) and not closing.strip(last.markup[0])
        return "" if whole else last.markup
    if last.type == "html_block":
        opened = last.content.lstrip().lower()
        if raw := _HTML_RAW.match(opened):
            closer = f"</{raw[1]}>"
        else:
            closer = next((end for begin, end in _HTML_ENDS if opened.startswith(begin)), "")
        return "" if closer in opened else closer
    return ""

"""HTML into readable text with Markdown's headings, lists, tables and code.

nh3 reads it as browsers do and hands on well-formed HTML without scripts, styles and comments; what is left is walked.
Owns: the encoding, what is hidden, and how each element reads. Must not: fetch anything, or obey style sheets: only
`hidden` and an element's own `display: none` or `visibility: hidden` hide it.
"""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser

import nh3

from felixhub.core.errors import ConfigError, Place

# What a page says it is, by Python's name, and what browsers then read it as: the larger relative of each.
ENCODINGS = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8",  # It could not have said so in UTF-16.
    **{name: name for name in ("utf-8", "gb18030", "cp932", "cp949", "big5hkscs", "euc_jp", "iso2022_jp", "koi8-r")},
    **{name: name for name in ("koi8-u", "cp866", "cp874", "mac-roman", "mac-cyrillic")},
    **{f"cp{number}": f"cp{number}" for number in range(1250, 1259)},
    **{f"iso8859-{number}": f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
}  # fmt: skip
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SAID = re.compile(rb"""<meta\s[^>]{0,500}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_SAID_XML = re.compile(rb"""\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})""", re.IGNORECASE)
_HEAD_BYTES = 4096  # how far in a page says its encoding; browsers look at 1024


def _names(tags: str) -> frozenset[str]:
    return frozenset(tags.split())


GONE = _names(
    "script style template noscript title iframe object embed canvas svg audio video textarea select datalist"
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS = _names(
    "address article aside body caption center details dialog dir div dl dt fieldset figcaption figure footer form "
    "header hgroup hr html legend main menu nav p search section summary"
)
_INLINE = _names(
    "a abbr acronym b bdi bdo big button cite code data del dfn em font i ins kbd label map mark math meter output "
    "progress q rp rt ruby s samp small span strike strong sub sup time tt u var wbr"
)
_TABLE = _names("table thead tbody tfoot tr td th")
_OTHER = _names("blockquote br img li ol ul dd pre")
_VOID = frozenset(("br", "hr", "img", "wbr"))
_HIDES = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))\s*(?:!|;|$)", re.IGNORECASE)


def html_text(data: bytes) -> str:
    """The readable text. Raises ConfigError, with the line only, for bytes that are not in the encoding they claim."""
    walker = _Walker()
    walker.feed(
        nh3.clean(
            decode(data),
            tags=set(_HEADINGS) | _BLOCKS | _INLINE | _TABLE | _OTHER,
            clean_content_tags=set(GONE),
            attributes={"*": {"hidden", "style"}, "img": {"alt"}, "ol": {"start"}},
            link_rel=None,
        )
    )
    walker.close()
    text = walker.text()
    if not text:
        raise ConfigError("this page shows no text without its scripts: save it from the browser as text or PDF")
    return text


def decode(data: bytes) -> str:
    """The characters of a page: by its byte order mark, else by what it says it is, else as UTF-8."""
    encoding = "utf-8"
    for mark, name in _MARKS:
        if data.startswith(mark):
            data, encoding = data[len(mark) :], name
            break
    else:
        said = _SAID_XML.match(data[:_HEAD_BYTES]) or _SAID.search(data[:_HEAD_BYTES])
        if said:
            encoding = _known(said[1].decode("ascii", "replace"))
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"this page is not {encoding} from here on: save it as UTF-8", place=Place("", line)
        ) from None


def _known(label: str) -> str:
    try:
        return ENCODINGS[codecs.lookup(label).name]
    except (LookupError, ValueError):
        raise ConfigError(f"this page says it is '{label}', which is not known: save it as UTF-8") from None


class _Walker(HTMLParser):
    """Walks well-formed HTML and writes blocks of text. `_line` is the block that is being written."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks: list[tuple[str, bool]] = []  # text, and whether it is an item that stands close to the next
        self._line: list[str] = []
        self._prefix = ""  # of a heading
        self._hidden = 0  # open elements from the one that is hidden down
        self._lists: list[int | None] = []  # of each open list the next number; None for one without
        self._markers: list[str] = []  # of each open item what stands before its text; blanks once that is written
        self._quotes = 0
        self._code = 0
        self._tables = 0  # open tables; only the outermost has rows
        self._rows: list[list[str]] = []

    def text(self) -> str:
        self._end_block()
        written: list[str] = []
        close_before = True
        for block, close in self._blocks:
            if written:
                written.append("\n" if close and close_before else "\n\n")
            written.append(block)
            close_before = close
        return "".join(written)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self._hidden or "hidden" in given or _HIDES.search(given.get("style") or ""):
            self._hidden += tag not in _VOID
        elif tag == "br":
            self._line.append("\n")
        elif tag == "img":
            self._line.append(f" [{given['alt']}] " if (given.get("alt") or "").strip() else "")
        elif self._tables:
            self._start_in_table(tag)
        elif tag not in _INLINE:
            self._end_block()
            self._start_block(tag, given)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden -= tag not in _VOID
        elif self._tables:
            self._end_in_table(tag)
        elif tag not in _INLINE and tag not in _VOID:
            self._end_block()
            match tag:
                case "ul" | "ol":
                    self._lists.pop()
                case "li" | "dd":
                    self._markers.pop()
                case "blockquote":
                    self._quotes -= 1
                case "pre":
                    self._code -= 1
                case _ if tag in _HEADINGS:
                    self._prefix = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._line.append(data.replace("\f", "\n") if self._code else re.sub(r"\s+", " ", data))

    def _start_block(self, tag: str, given: dict[str, str | None]) -> None:
        match tag:
            case "ul":
                self._lists.append(None)
            case "ol":
                start = given.get("start") or ""
                self._lists.append(int(start) if re.fullmatch("[0-9]{1,6}", start) else 1)
            case "li":
                number = self._lists[-1] if self._lists else None
                if number is not None:
                    self._lists[-1] = number + 1
                self._markers.append("- " if number is None else f"{number}. ")
            case "dd":
                self._markers.append(": ")
            case "blockquote":
                self._quotes += 1
            case "pre":
                self._code += 1
            case "table":
                self._tables = 1
                self._rows = []
            case "hr":
                self._add("---")
            case _ if tag in _HEADINGS:
                self._prefix = _HEADINGS[tag]

    def _end_block(self) -> None:
        text, self._line = "".join(self._line), []
        if self._code:
            text = text.strip("\n")
            fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text) or [""]))
            self._add(f"{fence}\n{text}\n{fence}" if text.strip() else "")
        else:
            lines = [re.sub(" +", " ", line).strip() for line in text.split("\n")]
            joined = (" " if self._prefix else "\n").join(lines).strip()
            self._add(self._prefix + joined if joined else "")

    def _add(self, text: str) -> None:
        """A block, with the marks of the items and quotes that it stands in before its lines."""
        if not text:
            return
        depth_max = 20  # Deeper than this only the text matters.
        first = "".join(self._markers[-depth_max:])
        is_item = bool(first)
        self._markers = [" " * len(marker) for marker in self._markers]
        later = "".join(self._markers[-depth_max:])
        quote = "> " * min(self._quotes, depth_max)
        lines = text.split("\n")
        marked = [quote + (first if number == 0 else later) + line for number, line in enumerate(lines)]
        self._blocks.append(("\n".join(line.rstrip() for line in marked), is_item))

    def _start_in_table(self, tag: str) -> None:
        if tag == "table":
            self._tables += 1
        elif self._tables > 1 or tag not in _TABLE:
            self._line.append("" if tag in _INLINE else " ")
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._line = []

    def _end_in_table(self, tag: str) -> None:
        if tag == "table":
            self._tables -= 1
            if not self._tables:
                self._end_table()
        elif self._tables > 1 or tag not in _TABLE:
            self._line.append("" if tag in _INLINE else " ")
            if tag == "caption" and self._tables == 1:
                self._end_block()
        elif tag in ("td", "th"):
            cell = " ".join("".join(self._line).split())
            self._rows[-1].append(cell.replace("|", "\\|"))
            self._line = []

    def _end_table(self) -> None:
        """Rows as Markdown's; tables of one column only lay a page out, so their cells are paragraphs."""
        self._line = []
        rows = [row for row in self._rows if any(row)]
        width = max(map(len, rows), default=0)
        if width < 2:
            for row in rows:
                self._add(row[0].replace("\\|", "|"))
            return
        lines = [f"| {' | '.join(row)} |" for row in rows]
        self._add("\n".join([lines[0], "|" + " --- |" * width, *lines[1:]]))

"""Every key of the terminal UI, its short word for the footer and its sentence for the help.

Owns: which key asks for what. Must not: do it (`app.py` and the screens do).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.binding import Binding

_SHOWN = {
    "question_mark": "?",
    "slash": "/",
    "enter": "Enter",
    "escape": "Esc",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "space": "Space",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "f1": "F1",
    "f9": "F9",
}


def _key(keys: str, action: str, word: str, about: str, *, priority: bool = False) -> Binding:
    return Binding(keys, action, word, tooltip=about, priority=priority)


COMMON = [
    _key("c", "cancel_agent", "cancel", "cancel this agent; asks first, the others go on"),
    _key("s", "steer", "steer", "say what is wrong, what instead, and constraints; the others go on"),
    _key("r", "regenerate", "regenerate", "have the text written anew, fresh or with feedback"),
    _key("a", "approve", "approve", "approve the section that this agent writes"),
    _key("A", "approve_all", "approve all", "approve every section that can be approved"),
    _key("e", "export", "export", "write the document as Markdown, HTML or PDF, or the events, into a file"),
    _key("v", "versions", "versions", "the versions of this agent's section, and what has changed between them"),
    _key("y", "copy", "copy", "copy the text of this agent to the clipboard (OSC 52)"),
    _key("ctrl+s", "save", "save", "save the text of this agent to a file in this folder"),
    _key("p", "pause", "pause", "pause the run, or let it go on"),
    _key("C", "cancel_run", "stop run", "cancel the whole run; asks first"),
    _key("h", "helix", "helix", "the helix with the agents on their way"),
    _key("t", "timeline", "timeline", "a bar for every thought"),
    _key("R", "runs", "runs", "choose another run of this hub, live or finished"),
    _key("question_mark,f1", "help", "help", "this help"),
    _key("ctrl+p", "command_palette", "palette", "find any command by its name"),
    _key("ctrl+z", "suspend_process", "suspend", "to the shell and its other jobs; fg comes back"),
    _key("q", "detach", "quit", "leave; the run goes on"),
    _key("ctrl+c", "quit_now", "quit at once", "leave at once; the run goes on", priority=True),
]
GRID = [
    _key("tab", "step(1)", "next", "the next agent"),
    _key("shift+tab", "step(-1)", "previous", "the agent before"),
    _key("left", "move(-1,0)", "left", "the pane to the left"),
    _key("down,j", "move(0,1)", "down", "the pane below"),
    _key("up,k", "move(0,-1)", "up", "the pane above"),
    _key("right,l", "move(1,0)", "right", "the pane to the right"),
    *(Binding(str(number), f"number({number})", "pane", tooltip="the pane of this number") for number in range(1, 10)),
    _key("pagedown,right_square_bracket", "turn(1)", "next page", "the next page"),
    _key("pageup,left_square_bracket", "turn(-1)", "page before", "the page before"),
    _key("home,g", "first", "first", "the first agent"),
    _key("end,G", "last", "last", "the last agent"),
    _key("enter,f", "fullscreen", "open", "this agent's whole text on the full screen"),
    _key("slash", "filter", "filter", "show only agents whose name, role, state or text holds these words"),
    _key("n", "found(1)", "next match", "the next agent whose text holds what was looked for"),
    _key("N", "found(-1)", "match before", "the one before"),
    _key("escape", "unfilter", "all", "show all agents again"),
]
FULL = [
    _key("escape,enter,f", "back", "back", "back to the grid"),
    _key("down,j", "scroll(1)", "down", "a line down"),
    _key("up,k", "scroll(-1)", "up", "a line up; the view no longer follows the text"),
    _key("pagedown,space", "scroll_page(1)", "page down", "a page down"),
    _key("pageup", "scroll_page(-1)", "page up", "a page up"),
    _key("home,g", "top", "top", "the beginning of the text"),
    _key("end,G", "bottom", "follow", "the end of the text; the view follows it again"),
    _key("left", "sideways(-1)", "left", "to the left, where lines are not wrapped"),
    _key("right", "sideways(1)", "right", "to the right"),
    _key("w", "wrap", "wrap", "wrap long lines, or not"),
    _key("m", "markdown", "as written", "a final text as Markdown, or as it was written"),
    _key("slash", "find", "find", "find words in the text"),
    _key("n", "found(1)", "next match", "the next place"),
    _key("N", "found(-1)", "match before", "the place before"),
    _key("tab", "step(1)", "next agent", "the next agent"),
    _key("shift+tab", "step(-1)", "agent before", "the agent before"),
]
# No priority here: a key that went before the letters typed just ahead of it would cut them off.
STEERING = [
    _key("ctrl+s,f9,ctrl+enter", "submit", "send", "send it"),
    _key("escape", "back", "keep for later", "close the form; what was written in it is kept"),
]
PICTURE = [
    _key("escape", "back", "back", "back to the grid"),
    _key("down,j", "scroll(1)", "down", "down"),
    _key("up,k", "scroll(-1)", "up", "up"),
    _key("pagedown,space", "scroll_page(1)", "page down", "a page down"),
    _key("pageup", "scroll_page(-1)", "page up", "a page up"),
]
VERSIONS = [
    _key("escape,v", "back", "back", "back"),
    _key("right,l", "pick(1)", "later", "compare with a later version"),
    _key("left", "pick(-1)", "earlier", "compare with an earlier version"),
    _key("down,j", "scroll(1)", "down", "a line down"),
    _key("up,k", "scroll(-1)", "up", "a line up"),
    _key("pagedown,space", "scroll_page(1)", "page down", "a page down"),
    _key("pageup", "scroll_page(-1)", "page up", "a page up"),
]
ASKING = [_key("y,enter", "yes", "yes", "yes"), _key("n,escape", "no", "no", "no")]
CLOSING = [_key("escape", "back", "back", "close it")]

CHAPTERS: Sequence[tuple[str, Sequence[Binding]]] = (
    ("The agent that is selected", COMMON),
    ("The grid", GRID),
    ("Full screen", FULL),
    ("Steering", STEERING),
    ("Helix and timeline", PICTURE),
    ("Versions", VERSIONS),
)


def shown(key: str) -> str:
    """A key as people call it: `ctrl+s` is Ctrl+S."""
    if key in _SHOWN:
        return _SHOWN[key]
    *modifiers, last = key.split("+")
    return "+".join(
        [*(one.capitalize() for one in modifiers), _SHOWN.get(last) or (last.upper() if modifiers else last)]
    )


def rows(bindings: Iterable[Binding]) -> list[tuple[str, str]]:
    """Keys and what they do, those of one sentence together."""
    found: dict[str, list[str]] = {}
    for binding in bindings:
        found.setdefault(binding.tooltip, []).extend(shown(key) for key in binding.key.split(","))
    return [(_together(keys), about[:1].upper() + about[1:]) for about, keys in found.items()]


def _together(keys: list[str]) -> str:
    if keys == [str(number) for number in range(1, 10)]:
        return "1 – 9"
    return " ".join(keys)

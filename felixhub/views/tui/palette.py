"""The palette of Ctrl+P: every key's action by name, every agent, the two themes.

Owns: what is listed. Must not: do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from felixhub.views.tui import keys
from felixhub.views.tui.look import DARK, LIGHT

if TYPE_CHECKING:
    from felixhub.views.tui.app import RunApp

LEFT_OUT = ("command_palette",)


def entries(top: RunApp, go_to: Callable[[str], None]) -> Iterator[SystemCommand]:
    """Every command of `keys.COMMON`, every agent, the themes; Textual lists them by their titles."""
    for binding in keys.COMMON:
        if binding.action in LEFT_OUT:
            continue
        key = keys.shown(binding.key.split(",")[0])
        title = f"{binding.description[:1].upper()}{binding.description[1:]}  ({key})"
        yield SystemCommand(title, binding.tooltip, partial(top.run_action, binding.action))
    if top.seen is not None:
        for view in top.seen.agents:
            yield SystemCommand(f"Go to {view.agent}", view.role, partial(go_to, view.agent))
    for theme, name in ((DARK, "Dark colours"), (LIGHT, "Light colours")):
        yield SystemCommand(name, f"theme {theme.name}", partial(setattr, top, "theme", theme.name))

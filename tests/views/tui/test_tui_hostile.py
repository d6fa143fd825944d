"""What a model writes is shown, never obeyed: in the grid, on the full screen, in every form and picture."""

from __future__ import annotations

from console_script import Script
from textual.strip import Strip
from top_pilot import Driver, drive, top_told

from felixhub.views.tui.look import DARK, Palette
from felixhub.views.tui.markdown import markdown_strips

HOSTILE = (
    "[/x] [bold]not bold[/bold] [@click=app.quit]no link[/] "
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]52;c;aGFjaw==\x07 \x9b31m \u202eback\u202c \x00 \x08 "
    "<script>alert(1)</script> [a link](javascript:alert(1)) ![x](http://example.org/x.png) 漢字 👩‍🔬 e\u0301\n"
)
FORBIDDEN = {chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0), 0x202C, 0x202E)} - {"\n"}


def _script(*texts: str) -> Script:
    script = Script(("ada", "bob"), task=HOSTILE)
    script.start("ada", 0.1)
    script.start("bob", 0.1)
    for number, text in enumerate(texts):
        script.say("ada", 0.5 + number, text, tokens=50 + number)
    script.say("bob", 0.6, "all well", tokens=2)
    return script


def _is_inert(top: Driver) -> None:
    assert not FORBIDDEN & set(top.text), FORBIDDEN & set(top.text)
    for line in top.lines:
        for segment in line:
            style = segment.style
            assert style is None or not style.link
            assert style is None or "@click" not in style.meta


def test_every_screen_shows_hostile_text_as_text() -> None:
    script = _script(HOSTILE, HOSTILE)
    script.finalize("ada", 5.0)

    async def steps(top: Driver) -> None:
        await top.until_shown("all well")
        await top.until_shown("[/x]")
        assert "␛[31mred" in top.text or "␛" in top.text
        _is_inert(top)
        await top.press("enter")
        await top.until_shown("not bold")
        _is_inert(top)
        await top.press("m")
        await top.until_shown("[bold]not bold[/bold]")
        assert "<U+202E>back" in top.text
        _is_inert(top)
        await top.press("escape")
        for key, shown in (("v", "thought 1"), ("t", "first token"), ("h", "CentralPost"), ("e", "Export this run")):
            await top.press(key)
            await top.until_shown(shown)
            _is_inert(top)
            await top.press("escape")
        await top.press("tab", "s")
        await top.until_shown("What is wrong?")
        _is_inert(top)
        await top.press("escape", "shift+tab", "s")
        await top.until_shown("[/x]")
        _is_inert(top)
        top.app.say(HOSTILE)
        await top.pilot.pause(0.3)
        _is_inert(top)

    drive(top_told(script, at=9.0), steps)


def test_a_line_of_ninety_thousand_characters_is_shown_at_its_end() -> None:
    long = "".join(f"[{number}]" for number in range(13_000))
    script = _script(long, "漢" * 30_000, "THE END")

    async def steps(top: Driver) -> None:
        await top.until_shown("THE END")
        await top.press("enter")
        await top.until_shown("THE END")
        await top.press("g", "w", "w", "pagedown", "G")
        await top.until_shown("THE END")
        _is_inert(top)

    drive(top_told(script, at=9.0), steps)


def test_names_and_reasons_are_inert_too() -> None:
    script = _script("fine")
    script.abandon("ada", 4.0, "llm_error", error=f"no: {HOSTILE}", retry_s=None)

    async def steps(top: Driver) -> None:
        await top.until_shown("all well")
        _is_inert(top)

    drive(top_told(script, at=9.0), steps)


def test_markdown_has_no_links() -> None:
    palette = Palette(DARK.to_color_system().generate())
    text = "[a](http://example.org) <http://example.org> ![i](http://example.org/x.png)\n\n```py\nx = '[/red]'\n```\n"
    strips = markdown_strips(text, 60, palette.style(), dark=True)
    assert all(isinstance(strip, Strip) for strip in strips)
    assert not [segment for strip in strips for segment in strip if segment.style and segment.style.link]
    assert "x = '[/red]'" in "\n".join(strip.text for strip in strips)

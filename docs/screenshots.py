"""Take the README's pictures of the page, light and dark, from a run made now with the offline model.

`make screenshots` does it; Chromium must be there. Usage: python -m docs.screenshots FOLDER
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.chromium import running_chromium
from felixhub.client.runs import send_start
from felixhub.client.starting import build_start
from felixhub.settings.settings import load_settings

TASK = "Should the city convert the night bus depot to electric buses?"
MEMO = Path(__file__).parent.parent / "examples" / "night-bus-depot.md"
WIDTH, HEIGHT = 1440, 900
THOUGHTS_BEFORE = 6  # ended: then there is something to see everywhere
WAIT_MS = 120_000


def felixhub(*arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "felixhub", *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def shoot(address: str, folder: Path) -> None:
    with running_chromium() as browser:
        pages = {}
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            page.set_default_timeout(WAIT_MS)
            page.goto(address)
            pages[scheme] = page
        done = pages["light"].locator("#timeline-table tr", has_text="final")
        pages["light"].locator("#timeline-table summary").click()
        done.nth(THOUGHTS_BEFORE - 1).wait_for()
        pages["light"].locator("#timeline-table summary").click()
        pages["light"].locator(".card[data-writes]").nth(1).wait_for()
        for scheme, page in pages.items():
            page.mouse.move(0, 0)
            page.screenshot(path=folder / f"web-{scheme}.png")


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="felixhub-shots-") as data:
        hub = felixhub("up", "--serve", "--data", data, "--llm", "offline")
        settings = load_settings({"llm": "offline"}, {}, Path.cwd())
        start = build_start(settings, task=TASK, workflow="helix", files=[MEMO], endpoint="offline")
        run = send_start(start, hub=data, wait_s=60.0)
        web = felixhub("web", "--hub", data, "--no-open", "--port", 0)
        try:
            assert web.stdout is not None
            address = web.stdout.readline().split()[-1]
            shoot(f"{address}?run={run.id}", folder)
        finally:
            for process in (web, hub):
                process.terminate()
            for process in (web, hub):
                process.communicate(timeout=60)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

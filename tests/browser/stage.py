"""A hub, a gateway and a browser, all real; what a page complains about is kept.

Owns: starting them, and the flags that this Chromium needs. Must not: judge what is on a page.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page
from ports import free_ports
from shell import Command, Shell, a_shell, until

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
WAIT_MS = 60_000  # a busy machine may take its time
_WATCH = """
window.broken = [];
document.addEventListener("securitypolicyviolation", (event) => {
    window.broken.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


class Stage:
    """One hub and one gateway, shared by the tests of a module; each test has pages of its own."""

    def __init__(self, shell: Shell, browser: Browser) -> None:
        self.shell = shell
        self.port = free_ports(1)
        self.base = f"http://127.0.0.1:{self.port}"
        self.bases = [self.base]
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.asked: set[str] = set()  # every address that a page has asked for
        self.is_disturbed = False  # while something is killed, failed requests are no complaint
        self.hub = shell.serve()
        self.web = self.start_web()

    def start_web(self) -> Command:
        self.web = self.shell.start("web", "--no-open", "--port", self.port)
        self.web.until_printed(self.base)
        return self.web

    def kill_web(self) -> None:
        self.web.signal(signal.SIGKILL)
        self.web.popen.wait(30.0)

    def page(self, *, width: int = 1280, height: int = 900, scheme: Any = "light", **options: Any) -> Page:
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True, **options
        )
        self._contexts.append(context)
        context.add_init_script(_WATCH)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda said: said.type in ("error", "warning") and self._complain(said.text))
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("request", lambda request: self.asked.add(request.url))
        return page

    def _complain(self, what: str) -> None:
        if not (self.is_disturbed and ("net::ERR" in what or "status of" in what)):
            self.complaints.append(what)

    def open(self, run: str | None = None, **options: Any) -> Page:
        page = self.page(**options)
        page.goto(f"{self.base}/?run={run}" if run else self.base)
        return page

    def start(self, *arguments: object) -> str:
        """A run that is started from outside; its id."""
        return self.shell.run("run", *arguments, "--detach").text.strip()

    def until_status(self, run: str, status: str, seconds: float = 90.0) -> None:
        until(lambda: self.shell.status(run) == status, seconds, lambda: f"{status}, not {self.shell.status(run)}")

    def close_pages(self) -> None:
        """No page has broken the policy, complained, or asked anybody but the gateway."""
        broken = [
            what for context in self._contexts for page in context.pages for what in page.evaluate("window.broken")
        ]
        for context in self._contexts:
            context.close()
        self._contexts = []
        complaints, self.complaints = self.complaints, []
        self.is_disturbed = False
        assert not broken, broken
        assert not complaints, complaints
        asked, self.asked = self.asked, set()
        foreign = {url for url in asked if not url.startswith((*self.bases, f"blob:{self.base}", "data:"))}
        assert not foreign, foreign


@contextlib.contextmanager
def a_stage(browser: Browser) -> Iterator[Stage]:
    with a_shell() as shell:
        yield Stage(shell, browser)

"""Debian's Chromium without a window: for what the page costs, for its tests and for its pictures.

Owns: finding it, and the flags that it needs here. Must not: open a page.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    """Raises RuntimeError where there is none."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("no Chromium here: `make test-all` installs it")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(prefix="fh-browser-") as home:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS), env={**os.environ, "HOME": home})
        try:
            yield browser
        finally:
            browser.close()

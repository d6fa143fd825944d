"""`felixhub export` in each of its forms, into each of the places it may go."""

from __future__ import annotations

import io
import re

import pypdf
from shell import TASK, Shell

from felixhub.llm.offline import OfflineModel

NAME = r"[a-z0-9-]{1,40}-\d{4}-\d{2}-\d{2}(-2)?"


def test_a_run_as_page_and_as_pdf(shell: Shell, model: OfflineModel) -> None:
    done = shell.run("up", TASK, "--view", "none", "--llm", model.base_url)
    assert done.code == 0
    shell.serve()
    page = shell.run("export", "latest", "--format", "html", "--appendix").text
    assert page.startswith("<!DOCTYPE html>") and "Appendix" in page and "<script" not in page

    names = [shell.run("export", "latest", "--format", "pdf").text.strip() for _ in range(2)]
    assert re.fullmatch(NAME + r"\.pdf", names[0]) and names[1] == names[0].replace(".pdf", "-2.pdf")
    read = pypdf.PdfReader(shell.project / names[0])
    assert "Key points" in "".join(one.extract_text() for one in read.pages)
    piped = shell.run("export", "latest", "--format", "pdf", "-o", "-").out
    assert len(pypdf.PdfReader(io.BytesIO(piped)).pages) == len(read.pages)

    (shell.project / "out").mkdir()
    for kind in ("md", "html", "pdf", "jsonl"):
        said = shell.run("export", "latest", "--format", kind, "-o", "out/").text.strip()
        assert re.fullmatch(rf"out/{NAME}\.{kind}", said) and (shell.project / said).stat().st_size
    terminal = shell.terminal("export", "latest", "--format", "pdf", "-o", "-")
    assert terminal.wait() == 2
    assert b"a PDF is nothing for a terminal" in terminal.received

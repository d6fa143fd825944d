"""What agents are given: HTML, PDF, passages of what is too large for a prompt, and the result of an earlier run."""

from __future__ import annotations

import re
from pathlib import Path

from scripted_model import Say, scripted_model
from shell import Shell, until
from texts import of_kind

from felixhub.core.events import RunStarted, ThoughtStarted

NEEDLE = "The seventh boiler was taken out in 1987 because its plates had cracked."
HTML = """<html><head><title>Boilers</title><script>alert("no")</script><style>p { color: red }</style></head>
<body><h1>Boilers</h1>
<p>There were <b>nine</b> boilers &amp; one chimney.</p><!-- nobody reads this --></body></html>"""


def say(agent: str, _prompt: str) -> Say:
    return Say(f"What {agent} says.")


def large(where: int = 700) -> str:
    """A text of some 120 kB with one sentence that is to be found."""
    lines = [f"Row {n}: nothing happened in the yard, and the gate stayed shut all day." for n in range(1_400)]
    lines[where] = NEEDLE
    return "# The yard\n\n" + "\n\n".join(lines) + "\n"


def pdf(path: Path, pages: list[str]) -> Path:
    """A PDF with these pages, written by the tool that writes ours."""
    import typst

    source = path.with_suffix(".typ")
    source.write_text("#pagebreak()\n".join(pages))
    path.write_bytes(typst.compile(str(source)))
    return path


def run(shell: Shell, url: str, *more: object) -> str:
    arguments = ("Why was the seventh boiler taken out?", "--workflow", "solo", "--llm", url, "--detach", *more)
    name = shell.run("run", *arguments).text.strip()
    until(lambda: shell.status(name) == "finished", 30.0, "the run ends")
    return name


def test_html_and_pdf_are_given_as_text(shell: Shell) -> None:
    page = shell.write("boilers.html", HTML)
    book = pdf(shell.project / "book.pdf", ["The first page.", "The second page."])
    shell.serve("--view", "none")
    with scripted_model(say) as model:
        run(shell, model.base_url, "--file", page, "--file", book)
    (one,) = model.asked
    assert "## boilers.html\n\n# Boilers\n\nThere were" in one.prompt and "nine" in one.prompt
    assert "& one chimney." in one.prompt
    for hidden in ("alert", "color: red", "nobody reads this", "<b>"):
        assert hidden not in one.prompt
    assert re.search(r"The first page\.\s*\f\s*The second page\.", one.prompt)


def test_of_what_is_too_large_each_stage_gets_the_best_passages(shell: Shell) -> None:
    yard = shell.write("yard.md", large())
    shell.write("small.txt", "A small document is given whole.")
    shell.serve("--view", "none")
    with scripted_model(say) as model:
        name = run(shell, model.base_url, "--file", yard, "--file", "small.txt")
    (one,) = model.asked
    assert NEEDLE in one.prompt
    assert "## small.txt\n\nA small document is given whole." in one.prompt
    assert len(one.prompt) < 20_000
    events = shell.events(name)
    (started,) = of_kind(events, RunStarted)
    assert [(d.name, d.whole) for d in started.documents] == [("yard.md", False), ("small.txt", True)]
    (thought,) = of_kind(events, ThoughtStarted)
    assert len(thought.passages) == 10
    data = large().encode()
    found = [p for p in thought.passages if NEEDLE in data[p.start : p.end].decode()]
    assert len(found) == 1
    for passage in thought.passages:
        assert passage.document == "yard.md" and passage.place
        assert f"## yard.md, {passage.place}\n\n{data[passage.start : passage.end].decode()}" in one.prompt


def test_passages_of_a_pdf_are_cited_by_page(shell: Shell) -> None:
    pages = [f"Page {n}. " + "Nothing happened in the yard. " * 60 for n in range(1, 31)]
    pages[16] += NEEDLE
    book = pdf(shell.project / "book.pdf", pages)
    shell.serve("--view", "none")
    with scripted_model(say) as model:
        run(shell, model.base_url, "--file", book)
    (one,) = model.asked
    assert re.search(r"## book\.pdf, p\. 17\n\n[^#]*seventh boiler was taken\s+out in 1987", one.prompt)


def test_a_run_that_goes_on_from_another(shell: Shell) -> None:
    shell.serve("--view", "none")
    with scripted_model(lambda _agent, _prompt: Say("It cracked in 1987.")) as model:
        first = run(shell, model.base_url)
        second = run(shell, model.base_url, "--after", first)
    assert of_kind(shell.events(second), RunStarted)[0].after == first
    assert "It cracked in 1987." not in model.asked[0].prompt
    assert f"## result of {first}.md\n\nIt cracked in 1987." in model.asked[1].prompt
    wrong = shell.run("run", "And now?", "--workflow", "solo", "--after", "nobody", code=2)
    assert "there is no run 'nobody' to continue" in wrong.complaint

"""A program of a user's own against `felixhub up --serve`: five lines from a task to the team's answer."""

from __future__ import annotations

import sys

from shell import MEMO, TASK, Shell

FIVE_LINES = f"""
import felixhub
run = felixhub.start({TASK!r}, files=[{str(MEMO)!r}], llm="offline")
for event in run:
    print(event.kind)
print(run.wait().text)
"""


def test_a_run_with_the_shipped_team_in_five_lines(shell: Shell) -> None:
    assert len(FIVE_LINES.strip().splitlines()) == 5
    shell.serve()
    file = shell.write("five.py", FIVE_LINES)
    done = shell.script(f"{sys.executable} {file}")
    assert done.code == 0, done.err
    kinds, answer = done.text.split("run.finished\n")
    assert kinds.startswith("run.started\n") and "thought.partial\n" in kinds and "synthesis.finished\n" in kinds
    assert answer.startswith("# Should the city")
    (row,) = shell.rows()
    assert (row["status"], row["workflow"], row["task"]) == ("finished", "helix", TASK)

"""A run's document as Markdown. Pure: a run in, text out.

Owns: what the document contains and in which order. Must not: change a byte of what the agents wrote.
"""

from __future__ import annotations

from felixhub.core.events import RunCancelled, RunFailed, RunFinished
from felixhub.core.run import Run


def markdown(run: Run) -> str:
    """Title, result, and a note on what it was made from. An unfinished run gives what is final so far, and says so."""
    started = run.started
    title = [f"# {' '.join(started.task.split())}", ""]
    parts: list[str] = []
    match run.ended:
        case RunFinished() as finished:
            # A result that begins with a title of its own keeps it.
            parts += [*([] if finished.result.startswith("# ") else title), finished.result, ""]
            if finished.degraded:
                parts += ["> This result is degraded:", ">", *(f"> - {reason}" for reason in finished.degraded), ""]
        case RunFailed() as failed:
            parts += [*title, f"> The run failed: {failed.error}", "", *_finals(run)]
        case RunCancelled() as cancelled:
            parts += [*title, f"> The run was cancelled by {cancelled.by}. What was final by then:", "", *_finals(run)]
        case _:
            parts += [*title, f"> The run is {run.status}. What is final so far:", "", *_finals(run)]
    documents = ", ".join(document.name for document in started.documents)
    about = f"run {run.id} · workflow {started.workflow.name} · {len(run.cards)} agents"
    parts += ["---", "", f"*{about}{f' · from {documents}' if documents else ''}*", ""]
    return "\n".join(parts)


def _finals(run: Run) -> list[str]:
    parts: list[str] = []
    for agent in run.cards:
        thought = run.latest_final(agent)
        if thought is not None:
            parts += [f"## {agent}", "", str(thought.text), ""]
    return parts

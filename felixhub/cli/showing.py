"""`felixhub show RUN`: a run at a glance, and what to do with it next.

Owns: which facts are shown, as JSON and as lines. Must not: ask the hub for more than the run.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable
from typing import Any

from felixhub.cli.printing import print_json, table
from felixhub.cli.runs import hint_for, named
from felixhub.cli.sections import section_rows, section_table
from felixhub.cli.steering import client_of
from felixhub.core.approval import awaiting
from felixhub.core.overview import stage_state
from felixhub.core.run import Run, StageState
from felixhub.core.thought import Thought
from felixhub.views import wording
from felixhub.views.safe_text import safe_line

TASK_SHOWN_MAX = 300
LABEL_COLUMNS = 10


def show(run: str, *, hub: str | None, as_json: bool) -> None:
    """`felixhub show`."""
    with client_of(hub) as client:
        known = client.snapshot(named(client, run))
    told = facts(known, now=time.time(), hub=f" --hub {shlex.quote(hub)}" if hub else "")
    if as_json:
        print_json(told)
    else:
        print("\n".join(lines(known, told)))


def facts(run: Run, *, now: float, hub: str = "") -> dict[str, Any]:
    """What there is to say. `now`: unix seconds, for a run that goes on; `hub`: the option that names the hub."""
    started, settings, ended = run.started, run.started.settings, run.ended
    usage = ended.usage if ended else run.usage()
    waiting = [] if ended else awaiting(run)
    return {
        "run": run.id,
        "status": run.status,
        "task": started.task,
        "workflow": started.workflow.name,
        "by": started.by,
        "started_at": started.at,
        "seconds": round(ended.seconds if ended else max(0.0, now - started.at), 3),
        "endpoint": settings.endpoint,
        "model": settings.model,
        "review": settings.review,
        "budget_tokens": settings.budget_tokens,
        "after": started.after,
        "documents": [one.model_dump() for one in started.documents],
        "tokens": {
            "prompt": usage.prompt_tokens,
            "completion": usage.completion_tokens,
            "estimated": usage.estimated,
        },
        "stages": [_stage(run, stage, now) for stage in run.stages.values()],
        "sections": section_rows(run),
        "awaiting": waiting,
        "degraded": list(getattr(ended, "degraded", ())),
        "error": _error(run),
        "result": _size(getattr(ended, "result", "")),
        "next": next_commands(run, waiting, hub),
    }


def _size(result: str) -> dict[str, int] | None:
    return {"characters": len(result), "words": len(result.split())} if result else None


def _error(run: Run) -> str:
    match run.status:
        case "failed":
            return str(getattr(run.ended, "error", ""))
        case "cancelled" | "cancelling":
            by = getattr(run.ended, "by", "") or run.cancelled_by or ""
            return f"cancelled by {by}" if by else "cancelled"
        case "paused" if run.paused is not None and run.paused.by:
            return f"paused by {run.paused.by}"
    return ""


def _stage(run: Run, stage: StageState, now: float) -> dict[str, Any]:
    """One stage: tokens and seconds of all its thoughts, the other figures of its latest."""
    own = [thought for thought in run.thoughts.values() if thought.started.stage == stage.spec.name]
    latest = own[-1] if own else None
    final = latest.final if latest else None
    state, why = stage_state(run, stage)
    counted = [thought.final.usage for thought in own if thought.final]
    return {
        "stage": stage.spec.name,
        "agent": stage.spec.agent,
        "state": state,
        "why": why,
        "round": stage.round,
        "thoughts": len(own),
        "attempt": latest.started.attempt if latest else None,
        "endpoint": latest.started.endpoint if latest else None,
        "model": latest.model if latest else None,
        "tokens": sum(_tokens(thought) for thought in own),
        "estimated": any(usage.estimated for usage in counted) or any(not thought.final for thought in own),
        "seconds": round(sum(_seconds(thought, now) for thought in own), 3),
        "first_token_s": final.first_token_s if final else None,
        "confidence": final.confidence if final else None,
        "truncated": bool(final and final.truncated),
    }


def _tokens(thought: Thought) -> int:
    return thought.final.usage.completion_tokens if thought.final else thought.tokens


def _seconds(thought: Thought, now: float) -> float:
    if thought.final:
        return thought.final.seconds
    end = thought.abandoned.at if thought.abandoned else now
    return max(0.0, end - thought.started.at)


def next_commands(run: Run, waiting: Iterable[str], hub: str = "") -> list[str]:
    """What one may want to type now."""
    watch = f"felixhub watch --run {run.id}{hub}"
    if run.ended is not None:
        story = f"{watch} --tail all --no-follow"
        if run.status == "finished":
            return [f"felixhub export {run.id}{hub}", f'felixhub run "TASK" --after {run.id}{hub}', story]
        return [story, f"felixhub export {run.id}{hub}"]
    if run.paused is not None:
        return [f"felixhub resume {run.id}{hub}", f"felixhub cancel {run.id}{hub}"]
    if stuck := list(waiting):
        found = [run.sections[name].current for name in stuck]
        whole = any(version is not None and version.whole for version in found)
        return hint_for(hub=hub)(run.id, None if whole else stuck[0]).split(" · ")
    return [watch, f"felixhub cancel {run.id}{hub}"]


# ---- lines -----------------------------------------------------------------------------------------------------------


def lines(run: Run, told: dict[str, Any]) -> list[str]:
    """The facts for people."""
    head = [("run", f"{told['run']} · {_how_it_is(told)}"), ("task", _cut(told["task"])), ("with", _with(told))]
    if told["documents"]:
        head.append(
            ("documents", wording.names([f"{one['name']} ({one['size']:,} bytes)" for one in told["documents"]]))
        )
    shown = [_labelled(label, text) for label, text in head]
    shown += ["", *table(_stage_table(told["stages"]))]
    if told["sections"]:
        shown += ["", *table(section_table(told["sections"])), wording.progress(run)]
    tail = [("degraded", sentence) for sentence in told["degraded"]]
    if told["status"] == "failed":
        tail.append(("error", told["error"]))
    if told["result"]:
        size = told["result"]
        words = wording.count(size["words"], "word")
        tail.append(("result", f"{words}, {wording.count(size['characters'], 'character')}"))
    tail += [("next" if number == 0 else "", command) for number, command in enumerate(told["next"])]
    return [*shown, "", *(_labelled(label, text) for label, text in tail)]


def _labelled(label: str, text: str) -> str:
    return f"{label:<{LABEL_COLUMNS}}  {safe_line(text)}"


def _cut(task: str) -> str:
    line = " ".join(task.split())
    return line if len(line) <= TASK_SHOWN_MAX else line[: TASK_SHOWN_MAX - 1] + "…"


def _how_it_is(told: dict[str, Any]) -> str:
    status = "degraded" if told["status"] == "finished" and told["degraded"] else told["status"]
    if told["status"] == "running" and told["awaiting"]:
        status = "awaiting"
    by = ""
    if told["error"] and told["status"] in ("cancelled", "paused"):
        status = told["error"]  # Who did it is said with it.
    elif told["error"] and told["status"] != "failed":
        by = f" ({told['error']})"
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(told["started_at"]))
    started_by = f" by {told['by']}" if told["by"] else ""
    return f"{status}{by} · {wording.span(told['seconds'])} · started {when}{started_by}"


def _with(told: dict[str, Any]) -> str:
    tokens = told["tokens"]
    parts = [
        f"workflow {told['workflow']}",
        wording.model_of(told["endpoint"], told["model"]),
        wording.count(tokens["completion"], "token", estimated=tokens["estimated"]),
        f"{wording.count(tokens['prompt'], 'token', estimated=tokens['estimated'])} of prompts",
    ]
    if told["budget_tokens"]:
        parts.append(f"at most {wording.count(told['budget_tokens'], 'token')}")
    if told["review"]:
        parts.append("with review")
    if told["after"]:
        parts.append(f"after {told['after']}")
    return " · ".join(parts)


def _stage_table(stages: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    head = ("STAGE", "AGENT", "STATE", "ATTEMPT", "TOKENS", "TIME", "FIRST", "CONFIDENCE", "MODEL", "NOTE")
    rows = [head, *(_stage_row(one) for one in stages)]
    return rows if any(row[-1] for row in rows[1:]) else [row[:-1] for row in rows]


def _stage_row(one: dict[str, Any]) -> tuple[str, ...]:
    if not one["thoughts"]:
        return (one["stage"], one["agent"], one["state"], *"------", one["why"])
    notes = []
    if one["round"] > 1:
        notes.append(f"round {one['round']}")
    if one["truncated"]:
        notes.append("TRUNCATED")
    if one["why"]:
        notes.append(one["why"])
    return (
        one["stage"],
        one["agent"],
        one["state"],
        str(one["attempt"]),
        f"{'~' if one['estimated'] else ''}{one['tokens']:,}",
        wording.span(one["seconds"]),
        "-" if one["first_token_s"] is None else wording.span(one["first_token_s"]),
        "-" if one["confidence"] is None else f"{one['confidence']:.2f}",
        wording.model_of(one["endpoint"], one["model"]),
        " · ".join(notes),
    )

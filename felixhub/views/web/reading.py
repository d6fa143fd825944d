"""What a client can read of runs besides the stream: lists, states, texts, versions, differences, documents.

Owns: from a path to an answer. Must not: change anything.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from felixhub.core.section import Section, Version
from felixhub.core.thought import Thought
from felixhub.core.word_diff import word_diff
from felixhub.documents.html import fragment
from felixhub.transport.control import ControlClient
from felixhub.views.web.bounds import MARKDOWN_CHARACTERS_MAX
from felixhub.views.web.gateway import Gateway
from felixhub.views.web.places import number_of, run_of, section_of, thought_of
from felixhub.views.web.refusal import Refusal
from felixhub.views.web.stream import TAIL_MAX
from felixhub.views.web.workflows import told_workflows

SIGNS = {"same": "=", "gone": "-", "new": "+"}
NUMBER_MAX = 1_000_000


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


async def runs(request: Request) -> Response:
    """GET /api/runs: newest last."""
    return JSONResponse(await _gateway(request).ask(ControlClient.runs))


async def workflows(request: Request) -> Response:
    """GET /api/workflows: for a form that starts a run."""
    return JSONResponse(await _gateway(request).heavy(told_workflows))


async def run(request: Request) -> Response:
    """GET /api/runs/{run}"""
    async with _gateway(request).feeds.use(run_of(request)) as feed:
        return _json(feed.overview().model_dump_json().encode())


async def snapshot(request: Request) -> Response:
    """GET /api/runs/{run}/snapshot"""
    tail = number_of(request, "tail", at_least=0, at_most=TAIL_MAX, otherwise=None)
    async with _gateway(request).feeds.use(run_of(request)) as feed:
        return _json(feed.snapshot(tail))


# ---- thoughts --------------------------------------------------------------------------------------------------------


async def thought(request: Request) -> Response:
    """GET /api/runs/{run}/thoughts/{thought}: its whole text."""
    async with _gateway(request).feeds.use(run_of(request)) as feed:
        found = feed.run.thoughts.get(thought_of(request))
        return JSONResponse(_told_thought(_there(found, "thought")))


async def thought_html(request: Request) -> Response:
    """GET /api/runs/{run}/thoughts/{thought}.html: its text as a harmless piece of HTML."""
    gateway = _gateway(request)
    async with gateway.feeds.use(run_of(request)) as feed:
        found = _there(feed.run.thoughts.get(thought_of(request)), "thought")
        text = str(found.text)
    return HTMLResponse(await gateway.heavy(lambda: fragment(text, characters_max=MARKDOWN_CHARACTERS_MAX)))


def _told_thought(thought: Thought) -> dict[str, Any]:
    final = thought.final
    return {
        "thought": thought.id,
        "agent": thought.started.agent,
        "stage": thought.started.stage,
        "attempt": thought.started.attempt,
        "state": thought.state,
        "reason": thought.abandon_reason,
        "text": str(thought.text),
        "reasoning": str(thought.reasoning),
        "length": len(thought.text),
        "sha256": thought.text.sha256,
        "tokens": final.usage.completion_tokens if final else thought.tokens,
        "truncated": bool(final and final.truncated),
    }


def _there(found: Thought | None, what: str) -> Thought:
    if found is None:
        raise Refusal(404, f"unknown_{what}", f"there is no {what} of that name in this run", what)
    return found


# ---- sections --------------------------------------------------------------------------------------------------------


async def version(request: Request) -> Response:
    """GET /api/runs/{run}/sections/{section}/versions/{number}"""
    async with _gateway(request).feeds.use(run_of(request)) as feed:
        section = _section(feed.run.sections.get(section_of(request)))
        found = _version(section, int(request.path_params["number"]))
        text = feed.run.text_of(found.source)
        return JSONResponse(
            {
                "section": section.name,
                "title": section.title,
                "version": found.number,
                "by": found.by,
                "by_person": found.by_person,
                "at": found.at,
                "source": found.source,
                "whole": found.whole,
                "text": text,
            }
        )


async def diff(request: Request) -> Response:
    """GET /api/runs/{run}/sections/{section}/diff: what has changed, in words; of the last two by default."""
    gateway = _gateway(request)
    async with gateway.feeds.use(run_of(request)) as feed:
        section = _section(feed.run.sections.get(section_of(request)))
        latest = len(section.versions)
        b = number_of(request, "b", at_least=1, at_most=NUMBER_MAX, otherwise=latest) or 0
        a = number_of(request, "a", at_least=1, at_most=NUMBER_MAX, otherwise=max(1, b - 1)) or 0
        before = feed.run.text_of(_version(section, a).source)
        after = feed.run.text_of(_version(section, b).source)
    changes = await gateway.heavy(lambda: word_diff(before, after))
    return JSONResponse([[SIGNS[change.op], change.text] for change in changes])


def _section(found: Section | None) -> Section:
    if found is None:
        raise Refusal(404, "unknown_section", "there is no section of that name in this run", "section")
    return found


def _version(section: Section, number: int) -> Version:
    found = section.version(number)
    if found is None:
        there = f"versions 1 to {len(section.versions)}" if section.versions else "no version yet"
        raise Refusal(404, "unknown_version", f"section '{section.name}' has {there}", "version")
    return found

"""What a client can do to a run: start, cancel, pause, resume, steer, regenerate, approve, reopen, edit.

Owns: from a path and a body to a command of the hub's. Must not: know what becomes of it; that is the hub's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from felixhub.core.messages import Start
from felixhub.core.run import Run
from felixhub.transport.control import ControlClient
from felixhub.views.web import bodies, bounds
from felixhub.views.web.gateway import Gateway
from felixhub.views.web.places import run_of, target_of
from felixhub.views.web.refusal import Refusal
from felixhub.views.web.starts import made_start

LATEST = "latest"  # as the run to go on from: the newest that has finished
Act = Callable[[ControlClient], dict[str, Any]]


async def _done(request: Request, act: Act) -> Response:
    gateway: Gateway = request.app.state.gateway
    reply = await gateway.command(act)
    return JSONResponse({**reply, "sentence": said(reply)})


def said(reply: dict[str, Any]) -> str:
    """What was done, in words."""
    if "approved" in reply:
        approved, refused = list(reply["approved"]), dict(reply.get("refused") or {})
        parts = [f"approved: {', '.join(approved)}"] if approved else ["nothing was approved"]
        return "; ".join([*parts, *(f"{name} cannot be approved: {why}" for name, why in refused.items())])
    if "version" in reply:
        return f"section {reply.get('section', '')}: version {reply['version']}"
    if "stage" in reply:
        return f"{reply.get('agent') or reply['stage']} writes again"
    return "done"


# ---- runs ------------------------------------------------------------------------------------------------------------


async def start(request: Request) -> Response:
    body = await bodies.read(request, bodies.Starting, bytes_max=bounds.START_BODY_BYTES_MAX)
    gateway: Gateway = request.app.state.gateway
    given = bodies.command_id(request, body)
    message = await gateway.heavy(lambda: made_start(body, given))
    reply = await gateway.command(lambda client: _sent(client, message))
    run = str(reply.get("run", message.id))
    return JSONResponse({"run": run, "sentence": f"run {run} is started"}, 201, {"Location": f"/api/runs/{run}"})


def _sent(client: ControlClient, message: Start) -> dict[str, Any]:
    if message.after == LATEST:
        finished = [row["run"] for row in client.runs() if row["status"] == "finished"]
        if not finished:
            raise Refusal(409, "no_result", "no run has finished yet", "after")
        message = message.model_copy(update={"after": finished[-1]})
    return client.request(message)


async def cancel_run(request: Request) -> Response:
    run, body = run_of(request), await bodies.read(request, bodies.Nothing)
    given = bodies.command_id(request, body)
    return await _done(request, lambda client: client.cancel(run, by=body.by, id=given))


async def pause(request: Request) -> Response:
    run, body = run_of(request), await bodies.read(request, bodies.Nothing)
    given = bodies.command_id(request, body)
    return await _done(request, lambda client: client.pause(run, by=body.by, id=given))


async def resume(request: Request) -> Response:
    run, body = run_of(request), await bodies.read(request, bodies.Nothing)
    given = bodies.command_id(request, body)
    return await _done(request, lambda client: client.resume(run, by=body.by, id=given))


async def approve_all(request: Request) -> Response:
    run, body = run_of(request), await bodies.read(request, bodies.Nothing)
    given = bodies.command_id(request, body)
    return await _done(request, lambda client: client.approve(run, by=body.by, id=given))


# ---- agents, sections, thoughts --------------------------------------------------------------------------------------


async def cancel(request: Request) -> Response:
    run, target = run_of(request), target_of(request)
    body = await bodies.read(request, bodies.Nothing)
    given = bodies.command_id(request, body)
    return await _done(request, lambda client: client.cancel(run, **target, by=body.by, id=given))


async def steer(request: Request) -> Response:
    run, target = run_of(request), target_of(request)
    body = await bodies.read(request, bodies.Feedback)
    if not body.wrong.strip() and not body.instead.strip():
        raise Refusal(400, "bad_input", "say what is wrong, or what you want instead", "wrong")
    words = {"wrong": body.wrong, "instead": body.instead, "constraints": body.constraints}
    given = bodies.command_id(request, body)
    return await _done(request, lambda client: client.steer(run, **target, **words, by=body.by, id=given))


async def regenerate(request: Request) -> Response:
    run, target = run_of(request), target_of(request)
    body = await bodies.read(request, bodies.Feedback)
    words = {"wrong": body.wrong, "instead": body.instead, "constraints": body.constraints}
    given = bodies.command_id(request, body)
    return await _done(request, lambda client: client.regenerate(run, **target, **words, by=body.by, id=given))


async def approve(request: Request) -> Response:
    run, body = run_of(request), await bodies.read(request, bodies.Approval)
    section = await _section_of(request, run)
    given = bodies.command_id(request, body)
    return await _done(request, lambda client: client.approve(run, section, version=body.version, by=body.by, id=given))


async def reopen(request: Request) -> Response:
    run, body = run_of(request), await bodies.read(request, bodies.Nothing)
    section = await _section_of(request, run)
    given = bodies.command_id(request, body)
    return await _done(request, lambda client: client.reopen(run, section, by=body.by, id=given))


async def edit(request: Request) -> Response:
    run = run_of(request)
    body = await bodies.read(request, bodies.Editing, bytes_max=bounds.EDIT_BODY_BYTES_MAX)
    section = await _section_of(request, run)
    given = bodies.command_id(request, body)
    return await _done(
        request, lambda client: client.edit(run, section, body.text, version=body.version, by=body.by, id=given)
    )


async def _section_of(request: Request, run: str) -> str:
    """The section that a path is about: named there, or the one that the agent writes."""
    target = target_of(request)
    if "section" in target:
        return target["section"]
    gateway: Gateway = request.app.state.gateway
    async with gateway.feeds.use(run) as feed:
        return written_by(feed.run, target["agent"])


def written_by(run: Run, agent: str) -> str:
    """The section that this agent writes. Raises Refusal when there is none, or several."""
    if agent not in run.cards:
        raise Refusal(404, "unknown_agent", f"run '{run.id}' has no agent of that name", "agent")
    found = [name for name in run.sections if run.stages[name].spec.agent == agent]
    if not found:
        raise Refusal(409, "no_section", f"{agent} writes no section of its own", "agent")
    if len(found) > 1:
        sentence = f"{agent} writes several sections, name one: {', '.join(found)}"
        raise Refusal(409, "several_sections", sentence, "agent")
    return found[0]

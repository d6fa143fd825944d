"""A run's document: which formats there are now, and why not, and the files.

Owns: that what takes long is made beside the loop, and every reason in words. Must not: know what a document contains.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from felixhub.core.messages import Replay
from felixhub.core.run import Run
from felixhub.documents.document import Document, document_of, page_of
from felixhub.documents.exporting import exported, file_name
from felixhub.documents.html import body
from felixhub.transport.control import ControlClient, TooMuch, new_id
from felixhub.views.web import bounds
from felixhub.views.web.gateway import Gateway
from felixhub.views.web.places import run_of
from felixhub.views.web.refusal import Refusal

NOT_YET = "nothing is final yet: wait until the first text is"
NO_TYPST = "a PDF needs the package typst on the gateway's machine: pip install 'felixhub[pdf]'"
TYPES = {
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "jsonl": "application/x-ndjson",
}


async def available(request: Request) -> Response:
    """GET /api/runs/{run}/document: for each format whether it can be had now, and why not."""
    gateway: Gateway = request.app.state.gateway
    async with gateway.feeds.use(run_of(request)) as feed:
        document = document_of(feed.run)
    return JSONResponse({kind: _told(_why_not(document, kind)) for kind in TYPES})


async def document(request: Request) -> Response:
    """GET /api/runs/{run}/document.{md,html,pdf,jsonl}"""
    gateway: Gateway = request.app.state.gateway
    kind, query = str(request.path_params["format"]), request.query_params
    if kind not in TYPES:
        raise Refusal(404, "not_found", f"a document comes as {', '.join(TYPES)}")
    async with gateway.feeds.use(run_of(request)) as feed:
        run = feed.run
        made = document_of(run, appendix=query.get("appendix") == "1")
        refusal = _why_not(made, kind)
        if refusal is not None:
            raise refusal
        if kind == "jsonl":
            return _file(await _events(gateway, run.id), run, kind)
        if kind == "html" and query.get("fragment") == "1":
            return HTMLResponse(await gateway.heavy(lambda: body(page_of(made))))
        return _file(await gateway.heavy(lambda: exported(made, kind)), run, kind)


async def _events(gateway: Gateway, run: str) -> bytes:
    request = Replay(id=new_id(), run=run)

    def asked(client: ControlClient) -> bytes:
        return b"".join(line + b"\n" for line in client.pages(request, bytes_max=bounds.EXPORT_BYTES_MAX))

    try:
        return await gateway.ask(asked)
    except TooMuch:
        sentence = f"this run's events are too many for a page: felixhub export {run} --format jsonl writes them"
        raise Refusal(413, "too_large", sentence) from None


def _why_not(document: Document, kind: str) -> Refusal | None:
    if kind != "jsonl" and not any(part.text.strip() for part in document.parts):
        return Refusal(409, "not_yet", NOT_YET)
    if kind == "pdf" and find_spec("typst") is None:
        return Refusal(501, "no_typst", NO_TYPST)
    return None


def _told(why_not: Refusal | None) -> dict[str, Any]:
    return {"available": True} if why_not is None else {"available": False, "why": why_not.sentence}


def _file(data: bytes, run: Run, kind: str) -> Response:
    name = quote(f"{file_name(run.started.task, run.started.at)}.{kind}")
    # Saved, never shown from here: what a model wrote is no page of ours.
    headers = {"content-disposition": f"attachment; filename=\"document.{kind}\"; filename*=UTF-8''{name}"}
    return Response(data, headers=headers, media_type=TYPES[kind])

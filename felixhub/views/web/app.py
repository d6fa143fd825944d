"""Every address of the gateway, and what answers there.

Owns: the table of routes, and that every error is told in the same shape. Must not: answer anything itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import product
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from felixhub.core.errors import FelixError
from felixhub.logs import get_log
from felixhub.views.web import commands, documents, health, page, reading, stream
from felixhub.views.web.gateway import Gateway, WebOptions
from felixhub.views.web.refusal import Refusal, refusal_of

Verb = Callable[[Request], Coroutine[Any, Any, Response]]

RUN = "/api/runs/{run}"
SENTENCES = {404: "there is nothing here", 405: "there is nothing here for this method"}


def routes() -> list[BaseRoute]:
    post = ["POST"]
    found: list[BaseRoute] = [
        Route("/", page.page),
        Route("/healthz", health.healthz),
        Route("/readyz", health.readyz),
        Route("/metrics", health.metrics),
        Route("/openapi.json", health.openapi),
        Route("/api/events", stream.all_events),
        Route("/api/workflows", reading.workflows),
        Route("/api/runs", reading.runs),
        Route("/api/runs", commands.start, methods=post),
        Route(RUN, reading.run),
        Route(f"{RUN}/events", stream.events),
        Route(f"{RUN}/snapshot", reading.snapshot),
        Route(f"{RUN}/document", documents.available),
        Route(f"{RUN}/document.{{format}}", documents.document),
        Route(f"{RUN}/thoughts/{{thought}}.html", reading.thought_html),
        Route(f"{RUN}/thoughts/{{thought}}", reading.thought),
        Route(f"{RUN}/sections/{{section}}/diff", reading.diff),
        Route(f"{RUN}/sections/{{section}}/versions/{{number:int}}", reading.version),
        Route(f"{RUN}/cancel", commands.cancel_run, methods=post),
        Route(f"{RUN}/pause", commands.pause, methods=post),
        Route(f"{RUN}/resume", commands.resume, methods=post),
        Route(f"{RUN}/approve", commands.approve_all, methods=post),
        Mount("/static", page.Files(), name="static"),
    ]
    targets = ("agents/{agent}", "sections/{section}", "thoughts/{thought}")
    verbs: list[tuple[str, Verb]] = [
        *product(targets, (commands.cancel, commands.steer, commands.regenerate)),
        *product(targets[:2], (commands.approve, commands.reopen, commands.edit)),
    ]
    found += [Route(f"{RUN}/{target}/{verb.__name__}", verb, methods=post) for target, verb in verbs]
    return found


def application(options: WebOptions) -> Starlette:
    """Without the door (`guard.py`). `app.state.gateway` is made when its loop runs."""

    @contextlib.asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        app.state.gateway = gateway = Gateway(options)
        try:
            yield
        finally:
            await gateway.close()

    app = Starlette(
        routes=routes(),
        lifespan=living,
        exception_handlers={
            Refusal: _refused,
            FelixError: _refused,
            HTTPException: _no_such,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False  # An address is one, or it is none.
    return app


async def _refused(_request: Request, error: Exception) -> Response:
    return refusal_of(error).response()


async def _no_such(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = SENTENCES.get(error.status_code, str(error.detail))
    return Refusal(error.status_code, "not_found" if error.status_code == 404 else "bad_request", sentence).response()


async def _failed(_request: Request, error: Exception) -> Response:
    get_log("web").error("request_failed", exc_info=error)
    return refusal_of(error).response()

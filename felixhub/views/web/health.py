"""Whether the gateway is well, for those who watch over processes, and its own description.

Owns: these answers. Must not: need a token's worth of secrets in them.
"""

from __future__ import annotations

from importlib import resources

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from felixhub.views.web import figures
from felixhub.views.web.gateway import Gateway
from felixhub.views.web.hub_watch import AWAY
from felixhub.views.web.refusal import Refusal


async def healthz(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """503 while no hub is heard."""
    gateway: Gateway = request.app.state.gateway
    await gateway.watch.known(2.0)
    if not gateway.watch.is_here:
        raise Refusal(503, "no_hub", AWAY)
    return JSONResponse({"hub": "here", "boot": gateway.watch.boot})


async def metrics(request: Request) -> Response:
    """For Prometheus."""
    gateway: Gateway = request.app.state.gateway
    figures.VIEWERS.set(len(gateway.feeds.viewers))
    figures.FEEDS.set(len(gateway.feeds))
    figures.HUB_HERE.set(1 if gateway.watch.is_here else 0)
    return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_LATEST)


async def openapi(_request: Request) -> Response:
    body = resources.files("felixhub.views.web").joinpath("openapi.json").read_bytes()
    return Response(body, media_type="application/json")

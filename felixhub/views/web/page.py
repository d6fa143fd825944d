"""The page itself, and the files that it is made of.

Owns: how both are served: the page never cached, its files asked for again each time with their ETag. Must not: know
what is on the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from felixhub.version import __version__
from felixhub.views.web.gateway import Gateway

HERE = Path(__file__).parent

_templates = Environment(loader=PackageLoader("felixhub.views.web"), autoescape=True)


async def page(request: Request) -> Response:
    """GET /"""
    gateway: Gateway = request.app.state.gateway
    html = _templates.get_template("page.html").render(version=__version__, token=gateway.options.token)
    return HTMLResponse(html)


class Files(StaticFiles):
    """The modules of the page name each other without a version: a browser asks each time whether one is new."""

    def __init__(self) -> None:
        super().__init__(directory=HERE / "static", check_dir=False)

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers["cache-control"] = "no-cache"
        return response

"""The door: who may come in, and what every answer says of itself.

Owns: Host (a page of somebody else's that was given our address), Origin, token, and the headers that keep a browser
from running or embedding anything. Must not: look at a body.
"""

from __future__ import annotations

import secrets
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from felixhub.views.web.gateway import WebOptions
from felixhub.views.web.refusal import Refusal

COOKIE = "felixhub-token-{port}"  # a browser keeps cookies by host alone, and two gateways have two tokens
TOKEN_HEADER = "x-felixhub-token"
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-FelixHub-Token"
PREFLIGHT_S = 600
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
OPEN_PATHS = ("/healthz",)  # without a token, always
OPEN_PREFIX = "/static/"
READING = ("GET", "HEAD")
OTHER_SITES = ("cross-site", "same-site")  # the latter: another port of this host
METHODS = (*READING, "POST", "OPTIONS")


class Guard:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, options: WebOptions) -> None:
        self._app = app
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        is_cross = origin in self._options.cross_origins

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
                out.setdefault("cache-control", "no-store")
                if is_cross and origin is not None:
                    out["access-control-allow-origin"] = origin
                    out.add_vary_header("Origin")
            await send(message)

        try:
            answer = self._checked(scope, headers, origin, is_cross)
        except Refusal as refusal:
            answer = refusal.response()
        if answer is not None:
            # What was not asked for is not read: the connection ends with the answer.
            answer.headers["connection"] = "close"
            await answer(scope, receive, sent)
            return
        await self._app(scope, receive, sent)

    def _checked(self, scope: Scope, headers: Headers, origin: str | None, is_cross: bool) -> Response | None:
        """An answer in place of the application's, None to go on. Raises Refusal."""
        options = self._options
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in options.hosts:
            sentence = "this is not an address of ours: open the one that felixhub web printed, or add it: --allow-host"
            raise Refusal(403, "foreign_host", sentence)
        method = scope["method"]
        if method not in METHODS:
            raise Refusal(405, "bad_method", f"there is nothing here for {method[:20]}")
        if (
            len(headers.getlist("origin")) > 1
            or (origin is not None and not is_cross and origin.lower() not in options.origins)
            or (origin is None and _is_foreign(headers))
        ):
            raise Refusal(403, "foreign_origin", "a page of another site may not do this: name it with --allow-origin")
        if method == "OPTIONS":
            if not is_cross:
                raise Refusal(405, "bad_method", "there is nothing here for OPTIONS")
            return Response(
                status_code=204,
                headers={
                    "access-control-allow-methods": "GET, POST",
                    "access-control-allow-headers": ALLOWED_HEADERS,
                    "access-control-max-age": str(PREFLIGHT_S),
                },
            )
        return self._check_token(scope, headers, method)

    def _check_token(self, scope: Scope, headers: Headers, method: str) -> Response | None:
        options, path = self._options, scope["path"]
        if options.token_for_all:
            if path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
                return None
            if path == "/" and method in READING and (given := _in_query(scope)) is not None:
                self._check(given)
                # Out of the address bar, the history and every log.
                answer = RedirectResponse("/", 303)
                answer.set_cookie(_cookie_of(scope), options.token, httponly=True, samesite="strict", path="/")
                return answer
            self._check(_bearer(headers) or headers.get(TOKEN_HEADER) or _cookie(scope, headers))
            if method not in READING and _bearer(headers) is None and headers.get(TOKEN_HEADER) is None:
                # A cookie comes by itself: whoever commands shows that it knows the token.
                raise Refusal(401, "no_token", "send the token in the header X-FelixHub-Token")
            return None
        if method not in READING:
            self._check(headers.get(TOKEN_HEADER) or _bearer(headers))
        return None

    def _check(self, given: str | None) -> None:
        if given is None:
            raise Refusal(401, "no_token", "this needs the token: open the address that felixhub web printed")
        if not secrets.compare_digest(given.encode(), self._options.token.encode()):
            raise Refusal(401, "wrong_token", "this is not the token: open the address that felixhub web printed")


def _is_foreign(headers: Headers) -> bool:
    """Another site's page asks without saying Origin, as for a picture: it sees nothing, but would keep us busy.

    A link that somebody follows is none of these.
    """
    return headers.get("sec-fetch-site") in OTHER_SITES and headers.get("sec-fetch-mode") != "navigate"


def _bearer(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


def _cookie(scope: Scope, headers: Headers) -> str | None:
    # Those of every port of this host come along: whatever theirs look like, ours is found.
    return cookie_parser(headers.get("cookie", "")).get(_cookie_of(scope))


def _cookie_of(scope: Scope) -> str:
    return COOKIE.format(port=scope["server"][1])


def _in_query(scope: Scope) -> str | None:
    found = parse_qs(scope["query_string"].decode("latin-1")).get("token")
    return found[0] if found else None

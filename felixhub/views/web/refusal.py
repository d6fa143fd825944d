"""What a request is refused with: a status, a code for programs, a sentence for people.

Owns: the one shape of an error, and which status an error of ours or of the hub's has. Must not: decide to refuse.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from felixhub.core.errors import ConfigError, FelixError
from felixhub.transport.address import KeyRefused, NoHub
from felixhub.transport.control import HubRefused
from felixhub.views.web import figures

NOT_FOUND = ("unknown_run", "unknown_agent", "unknown_section", "unknown_thought", "gone")
BAD_INPUT = ("bad_message", "bad_workflow", "not_json", "unknown_type")
NOT_NOW = ("busy", "too_many_runs", "internal")


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.field = field

    def response(self) -> Response:
        error: dict[str, Any] = {"code": self.code, "sentence": self.sentence}
        if self.field:
            error["field"] = self.field
        figures.REFUSED.labels(self.code).inc()
        headers = {"Retry-After": "2"} if self.status in (429, 503) else None
        return JSONResponse({"error": error}, self.status, headers)


def refusal_of(error: Exception) -> Refusal:
    """What an error of ours, or of the hub's, is to a client."""
    match error:
        case Refusal():
            return error
        case HubRefused():
            return Refusal(_status_of(error.code), error.code, str(error), error.field)
        case NoHub():
            return Refusal(503, "no_hub", "the hub is away: start it, or wait until it is back")
        case KeyRefused():
            return Refusal(503, "key_refused", str(error))
        case ConfigError():
            return Refusal(400, "bad_input", str(error))
        case FelixError():
            return Refusal(409, "refused", str(error))
    return Refusal(500, "fault", "this is a fault of ours: the gateway's log says more")


def _status_of(code: str) -> int:
    if code in NOT_FOUND:
        return 404
    if code == "forbidden":
        return 403
    if code in BAD_INPUT:
        return 400
    if code == "too_large":
        return 413
    return 503 if code in NOT_NOW else 409

"""What a client posts: read within bounds, and checked.

Owns: the shapes of all bodies, and what is refused: too large, too slow, no JSON. Must not: act on one.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request

from felixhub.core.events import Words
from felixhub.core.names import Name, Short, Token
from felixhub.views.web import bounds
from felixhub.views.web.refusal import Refusal

BY = "web"  # who asks, when nobody says
IDEMPOTENCY_KEY_CHARACTERS_MAX = 200
FILES_MAX = 100
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_in_hand = 0  # bytes of all bodies that are being read


class Body(BaseModel):
    """Strict and closed: a misspelled field is said, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    by: Short = BY
    id: Token | None = None


class Nothing(Body):
    """A command that is its own name."""


class Feedback(Body):
    wrong: Words = ""
    instead: Words = ""
    constraints: Words = ""


class Approval(Body):
    version: Annotated[int, Field(ge=1)] | None = None


class Editing(Body):
    text: Annotated[str, Field(min_length=1)]
    version: Annotated[int, Field(ge=1)] | None = None


class File(BaseModel):
    """A document: `text`, or `base64` for HTML and PDF as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=180)]
    text: str | None = None
    base64: str | None = None


class Starting(Body):
    """A run to be started. `llm` (or `endpoint`) is a model endpoint's name or URL."""

    task: Annotated[str, Field(min_length=1)]
    workflow: Name = "helix"
    review: bool = False
    files: Annotated[list[File], Field(max_length=FILES_MAX)] = Field(default_factory=list)
    llm: Short | None = None
    endpoint: Short | None = None
    model: Short | None = None
    budget_tokens: Annotated[int, Field(ge=1, le=2**53)] | None = None
    include: list[Name] = Field(default_factory=list, max_length=2_000)
    after: Name | None = None


B = TypeVar("B", bound=Body)


async def read(request: Request, shape: type[B], *, bytes_max: int = bounds.SMALL_BODY_BYTES_MAX) -> B:
    """The body of a request as this shape; none at all is an empty object. Raises Refusal."""
    data = await _bytes_of(request, bytes_max)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and (data or kind):
        raise Refusal(415, "not_json", "send JSON, with the header Content-Type: application/json")
    try:
        return shape.model_validate_json(data or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or None
    if first["type"] == "json_invalid":
        raise Refusal(400, "not_json", f"this is not valid JSON in UTF-8: {first['msg']}")
    raise Refusal(400, "bad_input", f"{place or 'the body'}: {first['msg']}", place)


async def _bytes_of(request: Request, bytes_max: int) -> bytes:
    too_large = Refusal(413, "too_large", f"this is more than {bytes_max:,} bytes, the most that is taken here")
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > bytes_max:
        raise too_large
    global _in_hand
    read = bytearray()
    seconds = bounds.BODY_S_MAX + int(said) / bounds.BODY_BYTES_PER_S_MIN
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                read += piece
                _in_hand += len(piece)
                if len(read) > bytes_max:
                    raise too_large
                if _in_hand > bounds.BODIES_BYTES_MAX:
                    raise Refusal(503, "busy", "too much is being sent at once: try again in a moment")
    except TimeoutError:
        sentence = f"the body did not come within {seconds:.0f} s: send it again on a faster line"
        raise Refusal(408, "slow_body", sentence) from None
    except ClientDisconnect:
        raise Refusal(400, "cut_off", "the body ended too soon") from None
    finally:
        _in_hand -= len(read)
    return bytes(read)


def command_id(request: Request, body: Body) -> str | None:
    """The id under which a command is done once: the body's, else one made of the header `Idempotency-Key`."""
    if body.id is not None:
        return body.id
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX:
        sentence = f"the Idempotency-Key has {len(key)} characters: give 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX}"
        raise Refusal(400, "bad_input", sentence, "Idempotency-Key")
    return key if _TOKEN.fullmatch(key) else f"k-{hashlib.sha256(key.encode()).hexdigest()[:32]}"

"""The streams: one of a run, and one without a run, of what concerns all.

Owns: how a stream begins, where one that comes back goes on, and that it is left as soon as its client has gone. Must
not: know what goes out when (`viewer.py` does).
"""

from __future__ import annotations

import asyncio
import contextlib
import re

from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from felixhub.core.coalescing import Batch, merged
from felixhub.core.errors import FelixError
from felixhub.core.events import Event, parse_event
from felixhub.core.messages import Replay
from felixhub.logs import get_log
from felixhub.transport.address import NoHub
from felixhub.transport.control import ControlClient, HubRefused, TooMuch, new_id
from felixhub.views.web import bounds
from felixhub.views.web.feed import Feed
from felixhub.views.web.gateway import Gateway
from felixhub.views.web.patience import let_go
from felixhub.views.web.places import number_of, run_of
from felixhub.views.web.refusal import Refusal
from felixhub.views.web.viewer import Viewer

TAIL_MAX = 10_000_000
_POSITION = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.]{0,63})-([0-9]{1,15})")


class Stream(EventSourceResponse):
    """One viewer's. A client that reads nothing for long is let go: that is no fault of ours, nor worth a traceback."""

    def __init__(self, gateway: Gateway, viewer: Viewer, catching_up: asyncio.Task[None] | None = None) -> None:
        self._gateway = gateway
        self._viewer = viewer
        self._catching_up = catching_up
        super().__init__(
            viewer.frames(),
            ping=0,  # Its own may come in the middle of a message that is sent in pieces: the viewer sends them.
            send_timeout=bounds.SEND_S_MAX,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            let_go(scope.get("client"))
            await asyncio.sleep(0)  # uvicorn hears of it.
        finally:
            # Here, not in the generator: that has perhaps never begun.
            self._gateway.feeds.shut(self._viewer)
            if self._catching_up is not None:
                self._catching_up.cancel()


async def events(request: Request) -> Response:
    """GET /api/runs/{run}/events"""
    gateway: Gateway = request.app.state.gateway
    run = run_of(request)
    tail = number_of(request, "tail", at_least=0, at_most=TAIL_MAX, otherwise=None)
    curve = request.query_params.get("curve") != "0"
    position = _position(request)
    feed = gateway.feeds.of(run)
    with feed.in_use(), contextlib.suppress(TimeoutError):
        # With the hub away the stream says so, and begins when it is back.
        await asyncio.wait_for(feed.settled.wait(), bounds.FEED_READY_S_MAX)
    if feed.over is not None:
        if position is not None and feed.over.status == 404:
            return Response(status_code=204)  # What EventSource takes as: do not come back.
        raise feed.over
    viewer = Viewer(feed, tail=tail, curve=curve)
    gateway.feeds.open(viewer, gateway.watch.frames())
    feed.attach(viewer)
    if position is None:
        return Stream(gateway, viewer)
    viewer.expect_missed()
    return Stream(gateway, viewer, asyncio.create_task(_catch_up(gateway, feed, viewer, *position)))


async def all_events(request: Request) -> Response:
    """GET /api/events"""
    gateway: Gateway = request.app.state.gateway
    viewer = Viewer(None)
    gateway.feeds.open(viewer, gateway.watch.frames())
    return Stream(gateway, viewer)


def _position(request: Request) -> tuple[str, int] | None:
    """Where a client that comes back was; what is no position is none."""
    given = request.headers.get("last-event-id") or request.query_params.get("last_event_id") or ""
    found = _POSITION.fullmatch(given)
    return (found[1], int(found[2])) if found else None


async def _catch_up(gateway: Gateway, feed: Feed, viewer: Viewer, boot: str, seq: int) -> None:
    """What a viewer has missed, from the hub; or the news that it must start over."""
    try:
        viewer.on_missed(await _missed(gateway, feed, boot, seq), after=seq)
    except TooMuch:
        viewer.on_not_missed("too much has happened since")
    except Refusal:
        viewer.on_not_missed("too many viewers come back at once")
    except FelixError as error:
        viewer.on_not_missed(str(error), another_log=isinstance(error, HubRefused) and error.code == "reset")
    except Exception:  # noqa: BLE001  (it would wait for ever)
        get_log("web").error("catch_up_failed", run=feed.id, exc_info=True)
        viewer.on_not_missed("the gateway failed to find what was missed: its log says more")


async def _missed(gateway: Gateway, feed: Feed, boot: str, seq: int) -> Batch | None:
    """All events after a position as one batch, None for nothing. Waits for a hub that is away or busy."""
    while True:
        await feed.settled.wait()
        if feed.over is not None or feed.position == f"{boot}-{seq}":
            return None
        try:
            found = await gateway.ask(lambda client: _replayed(client, feed.id, boot, seq))
        except NoHub:
            continue
        except HubRefused as error:
            if error.code != "busy":
                raise
            await asyncio.sleep(1.0)
            continue
        return Batch(found, feed.position_of(found[-1].seq)) if found else None


def _replayed(client: ControlClient, run: str, boot: str, seq: int) -> list[Event]:
    """Parsed here, in the desk's thread: many may come back at once."""
    request = Replay(id=new_id(), run=run, after=seq, boot=boot if seq else None)
    found = [parse_event(line) for line in client.pages(request, bytes_max=bounds.CATCH_UP_BYTES_MAX)]
    if found and found[0].prev != seq:
        raise HubRefused("reset", "this position is not one of this run: start over")
    return merged(found)

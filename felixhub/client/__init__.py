"""Runs, from a program or a notebook: start one by its workflow's name, follow it, wait for its result.

    run = felixhub.start("Compare the two plans", files=["plans.md"])
    for event in run:
        if event.kind == "thought.partial":
            print(event.agent, event.text, end="")
    print(run.wait().text)

Against a hub that is up, as `felixhub up --serve` starts it. With asyncio:

    run = await felixhub.start_async("Compare the two plans")
    async for event in run: ...
    result = await run.wait()

Owns: the public names. Must not: know a socket (`transport` does) or a screen (`views` do).
"""

from felixhub.client.result import RunResult
from felixhub.client.runs import AsyncRunClient, RunClient, attach, attach_async, start, start_async
from felixhub.client.starting import Wishes, build_start, choose_endpoint

__all__ = [
    "AsyncRunClient",
    "RunClient",
    "RunResult",
    "Wishes",
    "attach",
    "attach_async",
    "build_start",
    "choose_endpoint",
    "start",
    "start_async",
]

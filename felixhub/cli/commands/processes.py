"""The commands that run one process alone: hub, agent, offline-model.

Owns: names, options and help texts. Must not: do the work, or import what does it before a command runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from felixhub.cli.helping import Commands
from felixhub.cli.options import Data, Hub, Listen, Plain

app = Commands()


@app.command()
def hub(
    data: Data = None,
    listen: Listen = None,
    plain: Plain = False,
    pause_unfinished: Annotated[
        bool, typer.Option("--pause-unfinished", help="Pause what an earlier life left, instead of going on.")
    ] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Run the hub alone, without agents.

    \b
    felixhub hub
    felixhub hub --listen tcp://0.0.0.0:7800     for those with keys, see `felixhub keys`
    felixhub hub --listen tcp://127.0.0.1:7800 --plain
    """
    from felixhub.cli.processes import run_hub_process

    raise typer.Exit(
        run_hub_process(
            data=data, listen=listen, plain=plain, pause_unfinished=pause_unfinished, with_parent=with_parent
        )
    )


@app.command()
def agent(
    names: Annotated[list[str], typer.Argument(help="The agents this process hosts.", metavar="AGENT")],
    hub: Hub = None,
    llm: Annotated[
        str | None, typer.Option("--llm", help="The server that FELIXHUB_LLM_KEY may be sent to.", metavar="URL")
    ] = None,
    offline_url: Annotated[
        str | None, typer.Option("--offline-url", help="Where `felixhub offline-model` listens.", metavar="URL")
    ] = None,
) -> None:
    """Run one worker process that hosts these agents. Which model they use is said by the run.

    \b
    felixhub agent critic
    felixhub agent research analysis --hub felixhub-gpu-box.json
    """
    from felixhub.cli.processes import run_agent_process

    raise typer.Exit(run_agent_process(tuple(names), hub=hub, llm=llm, offline_url=offline_url))


@app.command("offline-model")
def offline_model(
    port: Annotated[int, typer.Option("--port", help="0 takes any free one.", min=0, max=65535, metavar="PORT")] = 0,
    tokens_per_s: Annotated[
        float, typer.Option("--tokens-per-s", help="How fast it writes.", min=0.1, metavar="RATE")
    ] = 60.0,
    first_token_s: Annotated[
        float, typer.Option("--first-token-s", help="How long it thinks first.", min=0.0, metavar="SECONDS")
    ] = 0.3,
) -> None:
    """Run the offline model alone, at an address of its own.

    \b
    felixhub offline-model --port 9000
    felixhub offline-model --tokens-per-s 500 --first-token-s 0

    An extractive writer behind an OpenAI-compatible server on loopback.
    """
    from felixhub.cli.processes import run_offline_model

    run_offline_model(port=port, tokens_per_s=tokens_per_s, first_token_s=first_token_s)

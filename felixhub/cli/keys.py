"""`felixhub keys`: give out keys to other machines, list them, revoke them.

Owns: the words. Must not: know the files (`transport/keys.py` does), or print a secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from felixhub.cli.helping import Commands
from felixhub.cli.options import Data, Json

if TYPE_CHECKING:
    from felixhub.core.grant import Role
    from felixhub.settings.settings import Settings
    from felixhub.transport.keys import Peer

ROLES = ("worker", "viewer", "operator")

app = Commands(
    help="""The keys of those who may reach this hub over the network.

\b
felixhub keys new laptop --role viewer
felixhub keys list
felixhub keys revoke laptop

A hub that listens (`felixhub up --serve --listen tcp://ADDRESS:PORT`) lets in whoever has a key, and a key may do what
its role says: a worker writes its agents' thoughts, a viewer reads, an operator reads and commands. Keys are looked at
while the hub runs: a new one is good at once, a revoked one ends at once.
""",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="What to call it: the person or machine it is for.", metavar="NAME")],
    role: Annotated[str, typer.Option("--role", help="worker, viewer or operator.", metavar="ROLE")],
    agent: Annotated[
        list[str] | None,
        typer.Option("--agent", help="A worker's: this agent only, or 'sec-*'; repeatable.", metavar="NAME"),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="A viewer's: this run only, or 'memo-*'; repeatable.", metavar="RUN"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Where others reach this hub: tcp://HOST:PORT.", metavar="ADDRESS"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write; felixhub-NAME.json here.", metavar="FILE")
    ] = None,
    data: Data = None,
) -> None:
    """Make a key, and the connection file that it leaves with.

    \b
    felixhub keys new anna --role viewer
    felixhub keys new gpu-box --role worker --agent research --agent 'sec-*'
    felixhub keys new ops --role operator --address tcp://10.0.0.5:7800

    Take the file to the other machine (scp, not mail: whoever has it has the key), and name it there with --hub:
    `felixhub watch --hub felixhub-anna.json`. The secret is in that file alone.
    """
    from felixhub.core.errors import ConfigError
    from felixhub.transport.address import write_key_file
    from felixhub.transport.keys import Curve, Keys, grant_of, hub_key

    if role not in ROLES:
        raise typer.BadParameter(f"'{role}' is no role: worker, viewer or operator", param_hint="--role")
    settings = _settings(data)
    granted_role: Role = role  # type: ignore[assignment]
    grant = grant_of(name, granted_role, agents=tuple(agent or ()), runs=tuple(run or ()))
    where = address or _reachable(settings)
    file = out if out is not None else Path(f"felixhub-{name}.json")
    if file.exists():
        raise ConfigError(f"{file} is there already: name another file with --out, or remove it")
    keys = Keys(settings.data_dir)
    server = hub_key(settings.data_dir).public
    secret = keys.add(grant)
    curve = Curve(server=server, public=keys.peer(name).public, secret=secret)
    try:
        write_key_file(file, address=where, key=name, curve=curve)
    except ConfigError:
        keys.revoke(name)
        raise
    article = "an" if role == "operator" else "a"
    typer.echo(f"{file}: {article} {role}'s key for {where}{_scope(keys.peer(name))}")
    typer.echo("Take the file to the other machine (scp; whoever has it has the key). There:")
    use = {
        "worker": f"felixhub agent {_an_agent(keys.peer(name))} --hub {file.name}",
        "viewer": f"felixhub watch --hub {file.name}",
        "operator": f"felixhub ps --hub {file.name}",
    }[role]
    typer.echo(f"  {use}")


@app.command("list")
def list_all(
    data: Data = None,
    json: Json = False,
) -> None:
    """List the keys that were given out and not revoked.

    \b
    felixhub keys list
    felixhub keys list --json
    """
    import time

    from felixhub.cli.printing import print_json
    from felixhub.core.errors import ConfigError
    from felixhub.transport.keys import Keys

    keys = Keys(_settings(data).data_dir)
    rows, faults = [], []
    for name in keys.names():
        try:
            rows.append((name, keys.peer(name)))
        except ConfigError as error:
            faults.append(str(error))
    if json:
        listed = [peer.grant.model_dump() | {"public": peer.public, "created_at": peer.created_at} for _, peer in rows]
        print_json({"keys": listed, "faults": faults})
        return
    if not rows and not faults:
        typer.echo("No keys: felixhub keys new NAME --role viewer makes one.")
    width = max((len(name) for name, _ in rows), default=0)
    for name, peer in rows:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(peer.created_at))
        typer.echo(f"{name:<{width}}  {peer.grant.role:<8}  {made}{_scope(peer)}")
    for fault in faults:
        typer.echo(f"not usable: {fault}", err=True)


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name.", metavar="NAME")],
    data: Data = None,
) -> None:
    """Take a key back. A running hub shuts its owner out within a second.

    \b
    felixhub keys revoke anna
    """
    from felixhub.core.errors import ConfigError
    from felixhub.transport.keys import Keys

    keys = Keys(_settings(data).data_dir)
    if not keys.revoke(name):
        known = ", ".join(keys.names()[:20]) or "none"
        raise ConfigError(f"there is no key '{name}'; there are: {known}")
    typer.echo(f"{name} is revoked.")


def _settings(data: Path | None) -> Settings:
    from felixhub.cli.processes import settings_for

    return settings_for(data_dir=data)


def _reachable(settings: Settings) -> str:
    """Where others reach the hub, as far as it can be known here."""
    from felixhub.core.errors import ConfigError
    from felixhub.transport.address import NoHub, find_hub, network_endpoints, reachable
    from felixhub.transport.keys import hub_key

    network = None
    try:
        network = find_hub(str(settings.data_dir), default=settings.data_dir).network
    except NoHub:
        if settings.listen:
            network = network_endpoints(settings.listen, server=hub_key(settings.data_dir).public)
    found = reachable(network) if network else None
    if found:
        return found
    why = "the hub listens on every address of this machine" if network else "no hub listens on the network here"
    raise ConfigError(f"{why}: say where others reach it, --address tcp://HOST:PORT")


def _scope(peer: Peer) -> str:
    from felixhub.core.grant import ALL

    for what, patterns in (("agents", peer.grant.agents), ("runs", peer.grant.runs)):
        if patterns != ALL:
            return f", {what} {', '.join(patterns)}"
    return ""


def _an_agent(peer: Peer) -> str:
    first = peer.grant.agents[0]
    return "AGENT" if first.endswith("*") else first

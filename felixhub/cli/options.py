"""Options that commands of more than one module take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path | None, typer.Option("--data", help="The hub's data directory.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Listen = Annotated[
    str | None,
    typer.Option(
        "--listen", help="Also listen on the network, for those with keys: tcp://HOST:PORT.", metavar="ADDRESS"
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="With --listen on a loopback address: ask nobody for a key.")]

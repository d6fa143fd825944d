"""`felixhub rm` and `felixhub prune`: runs that have ended go for good.

Owns: which runs are meant, and asking before they go. Must not: open the log, which belongs to the hub.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from felixhub.cli.printing import print_table, table
from felixhub.cli.runs import age, me, named, status_of
from felixhub.cli.steering import client_of
from felixhub.core.errors import ConfigError
from felixhub.transport.control import ControlClient, HubRefused
from felixhub.views import wording
from felixhub.views.safe_text import safe_line

BUSY_S_MAX = 30.0  # a hub that is too busy to remove is asked again for so long
BUSY_S = 0.3
KB = 1_000


def remove(runs: Sequence[str], *, hub: str | None, yes: bool) -> int:
    """`felixhub rm`: all of these runs, or none when one of them is unknown or goes on."""
    with client_of(hub) as client:
        wanted = list(dict.fromkeys(named(client, run) for run in runs))
        known = {str(row["run"]): row for row in _all_rows(client, until=set(wanted))}
        for run in wanted:
            if run not in known:
                raise ConfigError(f"there is no run '{run}' on this hub: `felixhub ps` lists them")
            if not _is_ended(known[run]):
                raise ConfigError(f"run '{run}' has not ended: `felixhub cancel {run}` first")
        return _remove(client, [known[run] for run in wanted], yes=yes)


def prune(*, hub: str | None, older_than_s: float | None, keep: int | None, dry_run: bool, yes: bool) -> int:
    """`felixhub prune`: the ended runs older than that, but never the newest `keep` of them."""
    if older_than_s is None and keep is None:
        raise ConfigError("say which runs: --older-than AGE, --keep N, or both")
    with client_of(hub) as client:
        ended = [row for row in _all_rows(client) if _is_ended(row)]
        meant = ended[: len(ended) - min(keep or 0, len(ended))]
        if older_than_s is not None:
            meant = [row for row in meant if float(row["ended_s_ago"]) > older_than_s]
        if not meant:
            print(f"nothing to prune: {wording.count(len(ended), 'ended run')}", file=sys.stderr)
            return 0
        if dry_run:
            print_table(_table(meant))
            print(f"would remove {_sum(meant)}", file=sys.stderr)
            return 0
        return _remove(client, meant, yes=yes)


def _all_rows(client: ControlClient, *, until: set[str] | None = None) -> list[dict[str, Any]]:
    """Every run, oldest first; with `until` no further back than needed to see all of these."""

    def pages() -> Iterator[list[dict[str, Any]]]:
        before, missing = None, None if until is None else set(until)
        while missing is None or missing:
            page = client.runs(before=before)
            if not page:
                return
            yield page
            before = str(page[0]["run"])
            if missing is not None:
                missing -= {str(row["run"]) for row in page}

    return [row for page in reversed(list(pages())) for row in page]


def _is_ended(row: dict[str, Any]) -> bool:
    return row.get("ended_s_ago") is not None


def _remove(client: ControlClient, rows: Sequence[dict[str, Any]], *, yes: bool) -> int:
    if not yes and not _is_wanted(rows):
        print("nothing is removed", file=sys.stderr)
        return 1
    for row in rows:
        _remove_one(client, str(row["run"]))
        print(f"removed {row['run']}", flush=True)
    if len(rows) > 1:
        print(f"removed {_sum(rows)}", file=sys.stderr)
    return 0


def _remove_one(client: ControlClient, run: str) -> None:
    deadline = time.monotonic() + BUSY_S_MAX
    while True:
        try:
            client.remove(run, by=me())
        except HubRefused as error:
            if error.code != "busy" or time.monotonic() >= deadline:
                raise
            time.sleep(BUSY_S)
            continue
        return


def _is_wanted(rows: Sequence[dict[str, Any]]) -> bool:
    """Ask a person. Raises ConfigError where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(f"this removes {_sum(rows)} for good: say --yes where nobody can be asked")
    print("\n".join(table(_table(rows))), file=sys.stderr)
    print(f"Remove {_sum(rows)} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def _table(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        ("RUN", "STATUS", "ENDED", "SIZE", "TASK"),
        *(
            (
                str(row["run"]),
                status_of(row),
                f"{age(float(row['ended_s_ago']))} ago",
                _bytes(int(row["bytes"])),
                safe_line(str(row.get("task", "")))[:60],
            )
            for row in rows
        ),
    ]


def _sum(rows: Sequence[dict[str, Any]]) -> str:
    return f"{wording.count(len(rows), 'run')}, {_bytes(sum(int(row['bytes']) for row in rows))}"


def _bytes(size: int) -> str:
    for unit, one in (("GB", KB**3), ("MB", KB**2), ("kB", KB)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size} bytes"

"""All benchmarks of the complete system, and the comparison with what one would take instead: `make bench`.

    python -m benchmarks.run [--quick] [--write] [--directory DIR] [NAME …]

Everything is measured on this machine with real processes. A median of several passes comes with their range; compare
ratios rather than figures. `--write` puts the result into docs/performance.md and draws docs/performance.svg; that of
one NAME goes between its own markers there. The event log alone: `benchmarks.eventlog`.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import (
    agents,
    compare,
    first_token,
    growth,
    latency,
    page,
    report,
    screens,
    snapshot,
    throughput,
    web_clients,
)
from benchmarks.harness import Measure, Options, Outcome, Row, end_politely, measured, note, written

BENCHMARKS: dict[str, Measure] = {
    "compare": compare.measure,
    "agents": agents.measure,
    "growth": growth.measure,
    "latency": latency.measure,
    "page": page.measure,
    "first_token": first_token.measure,
    "screens": screens.measure,
    "snapshot": snapshot.measure,
    "throughput": throughput.measure,
    "web_clients": web_clients.measure,
}
ONLY_WHEN_NAMED = ("throughput",)  # compare has it, beside the others
INTERRUPTED = 130


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", choices=[[], *BENCHMARKS], help=f"of {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--quick", action="store_true", help="shorter and less exact")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and docs/performance.svg")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="not on a tmpfs")
    arguments = parser.parse_args()
    end_politely()
    names = arguments.names or [name for name in BENCHMARKS if name not in ONLY_WHEN_NAMED]
    if report.file_system(arguments.directory) == "tmpfs":
        note("The directory is on a tmpfs, which has no fsync to speak of: give --directory DIR on a disk.")
    began = time.monotonic()
    try:
        outcome = run(names, Options(arguments.quick, arguments.directory))
    except KeyboardInterrupt:
        note("Interrupted; nothing is written.")
        sys.exit(INTERRUPTED)
    alone = names[0] if len(names) == 1 else None
    command = " ".join(["python -m benchmarks.run", *["--quick"] * arguments.quick, *arguments.names])
    text = report.generated(
        outcome,
        command=command,
        quick=arguments.quick,
        parent=arguments.directory,
        minutes=(time.monotonic() - began) / 60,
        name=alone,
    )
    print(f"{', '.join(report.versions(outcome))}\n\n{written(outcome)}", flush=True)
    if arguments.write:
        report.write(report.DOCUMENT, text, alone)
        if outcome.panels and importlib.util.find_spec("matplotlib") is not None:
            report.draw(outcome.panels, report.plot_of(alone))
        elif outcome.panels:
            note(f"{report.plot_of(alone)} is not drawn: the bench extra (matplotlib) is not installed.")
        note(f"Written to {report.DOCUMENT}.")


def run(names: list[str], options: Options) -> Outcome:
    together = Outcome()
    for name in names:
        began = time.monotonic()
        try:
            found = measured(BENCHMARKS[name], options)
        except (TimeoutError, EOFError, OSError, RuntimeError) as error:
            # What the others have found in half an hour must not be lost with it.
            found = Outcome(rows=[Row(name, f"failed: {type(error).__name__}: {error}".splitlines()[0], "—", False)])
        together.rows += found.rows
        together.tables += found.tables
        together.panels += found.panels
        together.versions += found.versions
        note(f"{name}: {time.monotonic() - began:.0f} s")
    return together


if __name__ == "__main__":
    main()

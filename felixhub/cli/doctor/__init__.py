"""`felixhub doctor`: whether everything is there that FelixHub needs, one line for each thing, with what to do.

Owns: the order of the checks, how they look, the exit code. Must not: change anything, or show a key.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from felixhub.cli.doctor.finding import Finding, Status
from felixhub.cli.printing import print_json
from felixhub.settings.settings import Settings, default_data_dir, load_settings
from felixhub.views.console_look import Look, Tone, detect_look
from felixhub.views.safe_text import safe_line

EXIT_WRONG = 1
CHECK_COLUMNS = 9
TONES: dict[Status, Tone] = {"ok": "good", "note": "warn", "wrong": "bad"}


def doctor(*, data: Path | None, llm: str | None, quick: bool, as_json: bool) -> int:
    """Look at everything; `quick` asks no model for an answer. 0 when nothing is wrong, else 1."""
    findings: list[Finding] = []
    look = detect_look(sys.stdout, os.environ)
    for finding in _findings(data=data, llm=llm, quick=quick):
        findings.append(finding)
        if not as_json:
            print(_line(finding, look), flush=True)  # Each at once: some take seconds.
    wrong = sum(finding.status == "wrong" for finding in findings)
    if as_json:
        print_json({"ok": wrong == 0, "checks": [finding._asdict() for finding in findings]})
    elif wrong:
        print(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong")
    else:
        print("all is well")
    return EXIT_WRONG if wrong else 0


def _findings(*, data: Path | None, llm: str | None, quick: bool) -> Iterator[Finding]:
    from felixhub.cli.doctor import endpoints, machine

    yield machine.python()
    flags = {"data_dir": data, "llm": llm}
    settings, faults = _settings(flags)
    yield from faults
    data_dir = settings.data_dir if settings else (data or default_data_dir(os.environ))
    yield machine.data_directory(data_dir)
    yield from machine.hub(data_dir, settings.hub if settings else None)
    if settings is not None:
        yield from machine.agents(settings)
        yield from endpoints.check(settings, os.environ, quick=quick)
    yield machine.terminal()
    yield from machine.pdf()
    yield machine.page()


def _settings(flags: Mapping[str, object]) -> tuple[Settings | None, Iterable[Finding]]:
    from felixhub.core.errors import ConfigError

    try:
        settings = load_settings(flags, dict(os.environ), Path.cwd())
    except ConfigError as error:
        fix = "put it right there; `felixhub config show` lists what is set when all can be read"
        return None, [Finding("settings", "wrong", line, fix) for line in str(error).split("\n")]
    places = {place.rpartition(":")[0] or place for place in settings.sources.values() if place != "default"}
    said = f"from {', '.join(sorted(places))}" if places else "all defaults: no file and no variable sets anything"
    return settings, [Finding("settings", "ok", said)]


def _line(finding: Finding, look: Look) -> str:
    sign = {"ok": look.signs.good, "note": look.signs.other, "wrong": look.signs.bad}[finding.status]
    said = finding.sentence
    if finding.fix:
        said += f": {finding.fix}" if finding.status == "wrong" else f" ({finding.fix})"
    head = look.paint(f"{sign} {finding.check:<{CHECK_COLUMNS}}", TONES[finding.status])
    return f"{head} {safe_line(said, ascii_only=look.ascii_only)}"

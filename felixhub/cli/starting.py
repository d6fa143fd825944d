"""From what a user typed to the `start` command: workflow, cards, documents, endpoint.

Owns: finding and reading these files, and refusing what cannot work before anything starts. Must not: talk to a hub.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from felixhub.core.errors import ConfigError, Place
from felixhub.core.limits import MIB
from felixhub.core.messages import Document, Start
from felixhub.core.workflow import EndpointLimit, RunSettings
from felixhub.settings.cards import load_cards
from felixhub.settings.settings import Settings
from felixhub.settings.workflows import check_workflow

TEXT_SUFFIXES = frozenset((".txt", ".md", ".markdown", ".text", ".rst", ""))
DOCUMENTS_BYTES_MAX = 3 * MIB  # a start is one control message of at most 4 MiB


def build_start(
    settings: Settings,
    *,
    task: str,
    workflow: str,
    files: Sequence[Path],
    endpoint: str,
    by: str = "command line",
) -> Start:
    """The `start` command. Raises ConfigError with file and line."""
    if not task.strip():
        raise ConfigError('the task is empty: say what to think about, for example "Compare the options"')
    cards = load_cards(settings.agents_dirs, settings.endpoints)
    made = check_workflow(workflow, settings.workflows_dirs, cards)
    needed = [cards[name] for name in made.agents()]
    limits = {
        name: EndpointLimit(max_concurrent=settings.endpoints[name].max_concurrent)
        for name in {endpoint, *(card.endpoint for card in needed)}
        if name in settings.endpoints
    }
    return Start(
        id=f"{made.name[:40]}-{secrets.token_hex(3)}",
        by=by,
        task=task,
        workflow=made,
        agents=tuple(needed),
        settings=RunSettings(
            endpoint=endpoint,
            model=settings.model,
            endpoints=limits,
            batch_interval_s=settings.batch_interval_s,
            streaming=settings.streaming,
        ),
        documents=tuple(read_documents(files)),
    )


def read_documents(files: Sequence[Path]) -> list[Document]:
    """The text of each file, as it is. Raises ConfigError for what is not text or too much."""
    documents: list[Document] = []
    total = 0
    for file in files:
        if file.suffix.lower() not in TEXT_SUFFIXES:
            raise ConfigError(
                f"cannot read {file.suffix} files yet: give it as text or Markdown", place=Place(str(file))
            )
        try:
            data = file.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read this document: {error.strerror}", place=Place(str(file))) from None
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise ConfigError("this is not UTF-8 text: save it as UTF-8", place=Place(str(file), line)) from None
        if not text.strip():
            raise ConfigError("this document is empty", place=Place(str(file)))
        total += len(data)
        if total > DOCUMENTS_BYTES_MAX:
            raise ConfigError(
                f"the documents come to {total} bytes, a run takes {DOCUMENTS_BYTES_MAX}: choose what matters",
                place=Place(str(file)),
            )
        documents.append(Document(name=_name_of(file, documents), text=text))
    return documents


def _name_of(file: Path, others: list[Document]) -> str:
    """The file's name; two of the same name are told apart by a number."""
    taken = {one.name for one in others}
    name = file.name[:180]
    return next(one for one in (name, *(f"{name} ({number})" for number in range(2, 1_000))) if one not in taken)


def choose_endpoint(settings: Settings, environ: Mapping[str, str]) -> tuple[str, str]:
    """The endpoint's name or URL, and a sentence for the user when it was found rather than named."""
    if settings.llm:
        settings.endpoint(settings.llm)  # Refused here when there is none of that name.
        return settings.llm, ""
    from felixhub.llm.endpoint import discover

    found, sentence = discover(environ, settings.endpoints)
    return found.name, sentence

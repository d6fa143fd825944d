"""The errors, each named for who is at fault. Our own faults are `assert`s.

Owns: the classes, their codes and sentences. Must not: log, retry or decide what follows from an error.
"""

from __future__ import annotations

from dataclasses import dataclass


class FelixError(Exception):
    """Anything a user may be shown: the message says what, why and what to do."""


class ProtocolViolation(FelixError):
    """A peer sent something that the protocol does not allow. It is answered and counted; nothing changes.

    `code` is one of the literal strings in `docs/protocol.md`; `field` names the part at fault, if one is.
    """

    def __init__(self, code: str, sentence: str, *, field: str | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.field = field


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file the operator has to look."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


class ConfigError(FelixError):
    """The operator's configuration is wrong. Raised before anything has started."""

    def __init__(self, sentence: str, *, place: Place | None = None) -> None:
        super().__init__(f"{place}: {sentence}" if place else sentence)
        self.sentence = sentence
        self.place = place


class ModelFailed(FelixError):
    """A model, or its server, did not give a whole answer. The thought is abandoned; its text is kept.

    `reason` is the `reason` of `thought.abandoned`. `lasting` means that trying again will not help.
    """

    def __init__(self, reason: str, sentence: str, *, lasting: bool = False) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
        self.lasting = lasting

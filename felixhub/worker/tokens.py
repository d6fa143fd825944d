"""Tokens estimated from bytes, for everything that no model's server has counted.

Owns: that one heuristic. Must not: pretend to be a count; whoever shows it says that it is an estimate.
"""

from __future__ import annotations

import math

BYTES_PER_TOKEN = 3.5  # A little under what English takes in common vocabularies, so that the estimate errs upward.


def tokens_in(byte_count: int) -> int:
    """UTF-8 bytes / 3.5, rounded up."""
    return math.ceil(byte_count / BYTES_PER_TOKEN)


def estimate_tokens(text: str) -> int:
    """The same for a text."""
    return tokens_in(len(text.encode(errors="replace")))

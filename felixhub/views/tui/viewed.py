"""What a screen of a run is told while it is to be seen.

Owns: the two calls. Must not: know any screen.
"""

from __future__ import annotations


class Viewed:
    """A screen that shows the run."""

    def refresh_view(self) -> None:
        """There is a new overview."""

    def draw(self, agents: set[str]) -> None:
        """These agents have said something, or their cursor blinks."""

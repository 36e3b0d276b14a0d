"""How a download tells what it does: one object with methods that do nothing unless overridden."""

from __future__ import annotations

from collections.abc import Sequence


class Reporter:
    """Says nothing and shows nothing. A command line shows bars instead."""

    def say(self, text: str) -> None:
        """A line for the person."""

    def begin(self, files: Sequence[tuple[str, int | None]]) -> None:
        """These files are wanted: (path, bytes; None where not known yet)."""

    def advance(self, path: str, done_bytes: int, total_bytes: int | None) -> None:
        """So much of a file is here."""

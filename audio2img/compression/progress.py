"""What is being done and how much of it is, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it is (0 to 1)."""


class Count:
    """Counts up to `total` (of anything) and tells each step."""

    def __init__(self, progress: Progress, label: str, total: int) -> None:
        self._progress, self._label, self._total = progress, label, total
        self._done = 0
        self.add(0)

    def add(self, n: int = 1) -> None:
        """So many more are done."""
        self._done += n
        self._progress(self._label, self._done / self._total if self._total else 1.0)

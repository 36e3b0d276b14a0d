"""What all the stages of one pipeline share: telling, being stopped, and how long each of them took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from audio2img.errors import CancelledError
from audio2img.pipeline.events import Event, Stage


class Progress:
    """on_event: called from whichever thread has news. `cancel` and `is_cancelled` suit any thread."""

    def __init__(self, on_event: Callable[[Event], None] | None = None) -> None:
        self._on_event = on_event
        self._cancelled = threading.Event()
        self._timings_s: dict[str, float] = {}

    def tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def warn(self, text: str, stage: Stage = "prompt") -> None:
        self.tell(Event(stage, None, text, warning=True))

    def cancel(self) -> None:
        """Stop the call that is running, or else the next one."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise CancelledError when somebody wants it to stop."""
        if self.is_cancelled():
            raise CancelledError("stopped")

    @contextmanager
    def cancellable(self) -> Iterator[None]:
        """Around a call: the next one after a cancelled one works again."""
        try:
            yield
        except CancelledError:
            self._cancelled.clear()
            raise

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Count the seconds inside for `stage`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._timings_s[stage] = self._timings_s.get(stage, 0.0) + time.perf_counter() - started

    def take_timings(self) -> dict[str, float]:
        """Seconds spent in each stage since this was last asked."""
        timings, self._timings_s = self._timings_s, {}
        return timings

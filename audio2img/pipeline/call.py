"""One call of a session: whom it tells, whether it should stop, and how long each stage of it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TypeVar

from audio2img.errors import CancelledError
from audio2img.pipeline.events import Event, Stage

Result = TypeVar("Result")

POLL_S = 0.05  # how soon somebody who waits notices that they should stop


class CancelToken:
    """Says to those who hold it that they should stop; for any thread, and for good."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._reason = ""

    def cancel(self, reason: str = "stopped") -> None:
        self._reason = self._reason or reason
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise CancelledError when somebody wants it to stop."""
        if self.is_cancelled():
            raise CancelledError(self._reason)


class Call:
    """on_event: called from whichever thread has news."""

    def __init__(self, token: CancelToken, on_event: Callable[[Event], None] | None = None) -> None:
        self.token = token
        self._spent_s: dict[str, float] = {}
        self._since_s: dict[str, float] = {}  # when the stages began that are under way
        self._on_event = on_event

    def tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def warn(self, text: str, stage: Stage = "prompt") -> None:
        self.tell(Event(stage, None, text, warning=True))

    def is_cancelled(self) -> bool:
        return self.token.is_cancelled()

    def check(self) -> None:
        """Raise CancelledError when somebody wants it to stop."""
        self.token.check()

    def wait(self, future: Future[Result]) -> Result:
        """The result of `future`, or what it raised. Raises CancelledError as soon as this is to stop."""
        while not wait([future], timeout=POLL_S).done:
            self.check()
        return future.result()

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Count the seconds inside for `stage`."""
        self._since_s[stage] = time.perf_counter()
        try:
            yield
        finally:
            took_s = time.perf_counter() - self._since_s.pop(stage)
            self._spent_s[stage] = self._spent_s.get(stage, 0.0) + took_s

    @property
    def timings_s(self) -> dict[str, float]:
        """Seconds spent in each stage so far."""
        now = time.perf_counter()
        under_way = {stage: now - since_s for stage, since_s in self._since_s.items()}
        stages = dict.fromkeys([*self._spent_s, *under_way])
        return {stage: self._spent_s.get(stage, 0.0) + under_way.get(stage, 0.0) for stage in stages}
